"""Tokens become words that a person reads, whatever the tokenizer and the script."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lime_xai.report.words import words_of
from lime_xai.worlds import bundled_model
from lime_xai.worlds.scene.objects import CLASSES


def bytes_tokenizer(*merged):
    """One token per byte, and one for each of some texts."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_tokens([tokenizers.AddedToken(text, normalized=False) for text in merged])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")


def sentencepiece_like(*pieces):
    vocabulary = [("<unk>", 0.0), *((piece, -1.0) for piece in pieces)]
    made = tokenizers.Tokenizer(models.Unigram(vocabulary, 0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


def texts(text, tokenizer=None):
    tokenizer = tokenizer or bytes_tokenizer()
    return [word.text for word in words_of(tokenizer(text)["input_ids"], tokenizer)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a dog sits", ["a", "dog", "sits"]),
        ("It isn't here.", ["It", "isn't", "here", "."]),
        ("a well-known (old) one", ["a", "well-known", "(", "old", ")", "one"]),
        ("3.14 and 5,000.", ["3.14", "and", "5,000", "."]),
        ("naïve café", ["naïve", "café"]),
        ("猫が好き", ["猫", "が", "好", "き"]),
        ("고양이 있다", ["고양이", "있다"]),
        ("ok 👍🏽 👩‍🚀!", ["ok", "👍🏽", "👩‍🚀", "!"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("<b>&amp; $x^2$ [/x]", ["<", "b", ">", "&", "amp", ";", "$", "x", "^", "2", "$", "[", "/", "x", "]"]),
    ],
)
def test_words_of_single_bytes_are_those_a_person_reads(text, words):
    assert texts(text) == words


def test_sentencepiece_pieces_keep_their_spaces():
    tokenizer = sentencepiece_like("▁a", "▁do", "g", "▁runs", "▁")
    found = words_of(tokenizer("a dog runs")["input_ids"], tokenizer)
    assert [(word.text, word.lead) for word in found] == [("a", ""), ("dog", " "), ("runs", " ")]
    assert [(word.start, word.stop) for word in found] == [(0, 1), (1, 3), (3, 4)]


def test_the_token_before_says_whether_a_space_is_dropped():
    tokenizer = sentencepiece_like("▁a", "▁do", "g", "s")
    ids = tokenizer("a dogs")["input_ids"]
    assert [word.lead for word in words_of(ids[1:], tokenizer, before=ids[:1])] == [" "]


def test_a_control_token_is_a_word_of_its_own():
    tokenizer = bytes_tokenizer()
    ids = [*tokenizer("so")["input_ids"], tokenizer.eos_token_id, *tokenizer("on")["input_ids"]]
    assert [(word.text, word.special) for word in words_of(ids, tokenizer)] == [
        ("so", False),
        ("<|end|>", True),
        ("on", False),
    ]


def test_bytes_that_are_no_text_do_not_swallow_the_rest():
    tokenizer = bytes_tokenizer()
    ids = tokenizer("ab")["input_ids"] + tokenizer("😀")["input_ids"][:1] * 12 + tokenizer(" cd")["input_ids"]
    found = words_of(ids, tokenizer)
    assert found[0].start == 0
    assert found[-1].text.endswith("d")
    assert len(found) > 2


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40))
def test_every_token_is_in_one_word_and_no_character_is_lost(text):
    tokenizer = bytes_tokenizer()
    ids = tokenizer(text)["input_ids"]
    found = words_of(ids, tokenizer)
    assert [position for word in found for position in range(word.start, word.stop)] == list(range(len(ids)))
    assert "".join(word.lead + word.text for word in found).rstrip() == text.rstrip()
    assert all(word.text for word in found) or not text.strip()


def test_the_bundled_models_answer():
    _, processor = bundled_model()
    said = ["a", CLASSES[0], "and", "a", CLASSES[1], "."]
    ids = processor.tokenizer(" ".join(said), add_special_tokens=False)["input_ids"]
    assert [word.text for word in words_of(ids, processor)] == said

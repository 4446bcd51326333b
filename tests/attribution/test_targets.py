"""What an attribution may be asked to explain."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lime_xai.attribution.targets import IGNORED, Target, resolve_target

TOKEN = st.integers(0, 49)


def resolve(target, rows=2, processor=None):
    return resolve_target(target, rows, 50, "cpu", processor)


class Letters:
    """A tokenizer: one token per letter, with a start token that a phrase must not get."""

    def __call__(self, text, add_special_tokens=True):
        ids = [ord(letter) - ord("a") for letter in text]
        return {"input_ids": [49, *ids] if add_special_tokens else ids}


class Processor:
    tokenizer = Letters()


def test_nothing_given_means_what_the_model_would_choose():
    found = resolve(None)
    assert found == Target(None)
    assert found.continuation is None


@given(token=TOKEN, rows=st.integers(1, 4))
def test_one_token_is_asked_of_every_row(token, rows):
    found = resolve(token, rows)
    assert found.ids.tolist() == [[token]] * rows
    assert (found.against, found.answer, found.continuation) == (None, False, None)


@given(first=TOKEN, second=TOKEN)
def test_a_margin_keeps_its_sign(first, second):
    found = resolve((first, second))
    assert found.ids.tolist() == [[first]] * 2
    assert found.against.tolist() == [[second]] * 2
    assert found.continuation is None


@given(phrase=st.lists(TOKEN, min_size=1, max_size=5))
def test_a_phrase_is_decoded_after_every_prompt(phrase):
    found = resolve(phrase)
    assert found.ids.tolist() == [phrase] * 2
    assert found.answer
    assert found.continuation.tolist() == [phrase] * 2


@pytest.mark.parametrize("processor", [Letters(), Processor()])
def test_text_is_encoded_without_special_tokens(processor):
    assert resolve("cab", processor=processor).ids.tolist() == [[2, 0, 1]] * 2


def test_one_token_per_row():
    found = resolve(torch.tensor([3, 4]))
    assert found.ids.tolist() == [[3], [4]]
    assert not found.answer


def test_one_answer_per_row_with_padding():
    found = resolve(torch.tensor([[3, 4, 5], [6, IGNORED, IGNORED]]))
    assert found.ids.tolist() == [[3, 4, 5], [6, IGNORED, IGNORED]]
    assert found.continuation.tolist() == [[3, 4, 5], [6, 0, 0]]


def test_the_ends_of_the_vocabulary_are_in_range():
    assert resolve([0, 49]).ids.tolist() == [[0, 49]] * 2
    for bad in (50, -1):
        with pytest.raises(ValueError, match=rf"Target ids \[{bad}\] are out of range; the vocabulary has 50 tokens"):
            resolve([0, bad])


def test_every_bad_id_is_named_once():
    with pytest.raises(ValueError, match=r"\[-3, 50, 70\]"):
        resolve(torch.tensor([[50, 70], [-3, 50]]))


@pytest.mark.parametrize("target", [IGNORED, (3, IGNORED), [IGNORED], torch.tensor([3, IGNORED])])
def test_the_id_of_padding_is_no_target_outside_an_answer(target):
    with pytest.raises(ValueError, match="-100"):
        resolve(target)


@pytest.mark.parametrize("row", [[7, IGNORED, 8], [IGNORED, 8, 9], [IGNORED, IGNORED], [7, IGNORED, IGNORED, 8]])
def test_padding_belongs_at_the_end_of_an_answer(row):
    whole = [5] * len(row)
    with pytest.raises(ValueError, match=r"target has the row \[.*-100.*\]; -100 pads an answer at its end only"):
        resolve(torch.tensor([whole, row]))


@pytest.mark.parametrize("target", [{7, 8}, frozenset({7}), {7: 1, 8: 2}, {7: 1}.keys(), b"no", bytearray(b"no")])
def test_a_collection_that_is_no_sequence_of_ids_is_no_phrase(target):
    with pytest.raises(ValueError, match=rf"target is a {type(target).__name__}; a phrase is text, or a list"):
        resolve(target)


@pytest.mark.parametrize("target", [torch.tensor([1.5, 2.0]), torch.tensor([[1.0], [2.0]]), 1.5, (1.5, 2), [0.5]])
def test_fractions_are_no_token_ids(target):
    with pytest.raises((ValueError, TypeError), match="target"):
        resolve(target)


def test_numbers_of_numpy_are_token_ids():
    numpy = pytest.importorskip("numpy")
    assert resolve(numpy.int64(7)).ids.tolist() == [[7], [7]]
    assert resolve((numpy.int64(7), numpy.int32(8))).against.tolist() == [[8], [8]]


@pytest.mark.parametrize("phrase", ["", []])
def test_an_empty_phrase_is_refused(phrase):
    with pytest.raises(ValueError, match="empty phrase; give at least one token"):
        resolve(phrase, processor=Letters())


def test_targets_are_frozen():
    with pytest.raises(AttributeError):
        resolve(3).answer = True


# Words with and without a space before them --------------------------------------------------------------------------


def byte_level(*words):
    """A tokenizer that has another token for a word after a space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<unk>", "<end>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>")


WORDS = ("Paris", "\u0120Paris", "is", "\u0120is", "\u010a", ":", "\u0120")


@pytest.mark.parametrize(
    ("end", "phrase", "expected", "warned"),
    [
        ("is", "Paris", "\u0120Paris", True),
        (":", "Paris", "\u0120Paris", True),
        ("\u010a", "Paris", "Paris", False),
        ("\u0120", "Paris", "Paris", False),
        ("<end>", "Paris", "Paris", False),
        ("is", " Paris", "\u0120Paris", False),
        ("\u010a", " Paris", "\u0120Paris", False),
    ],
)
def test_the_token_that_can_come_next_is_taken(end, phrase, expected, warned, recwarn):
    tokenizer = byte_level(*WORDS)
    prompt = torch.tensor([[tokenizer.convert_tokens_to_ids("is"), tokenizer.convert_tokens_to_ids(end)]])
    found = resolve_target(phrase, 1, 50, "cpu", tokenizer, prompt)
    assert tokenizer.convert_ids_to_tokens(found.ids[0].tolist()) == [expected]
    messages = [str(one.message) for one in recwarn if "is read as ' Paris'" in str(one.message)]
    assert len(messages) == warned


def test_rows_that_need_different_tokens_are_refused():
    tokenizer = byte_level(*WORDS)
    prompt = torch.tensor([[tokenizer.convert_tokens_to_ids("is")], [tokenizer.convert_tokens_to_ids("\u010a")]])
    with pytest.raises(ValueError, match="Some prompts end in white space and others do not"):
        resolve_target("Paris", 2, 50, "cpu", tokenizer, prompt)


@pytest.mark.parametrize("phrase", ["London", "Paris London"])
def test_a_word_that_the_tokenizer_does_not_know_is_refused(phrase):
    with pytest.raises(ValueError, match=r"text that the tokenizer does not know.*<unk>"):
        resolve_target(phrase, 1, 50, "cpu", byte_level(*WORDS))
    assert resolve_target("<unk>", 1, 50, "cpu", byte_level(*WORDS)).ids.tolist() == [[0]]


@pytest.mark.parametrize("target", [2**70, -(2**70), (7, 2**70), [7, 2**70], 2**63])
def test_an_id_that_fits_no_tensor_is_out_of_range(target):
    with pytest.raises(ValueError, match=r"Target ids \[-?\d+\] are out of range; the vocabulary has 50 tokens"):
        resolve_target(target, 1, 50, "cpu")

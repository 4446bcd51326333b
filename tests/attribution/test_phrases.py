"""Phrases that a tokenizer cannot hold are refused; those that it holds in another form are not."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lime_xai.attribution.phrases import encode_phrase


def letters(**settings):
    """A byte-pair tokenizer of three letters."""
    vocabulary = {"n": 0, "o": 1, "no": 2, "<unk>": 3, "e": 4}
    model = models.BPE(vocab=vocabulary, merges=[("n", "o")], **settings)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))


def words(**names):
    tokenizer = Tokenizer(models.WordLevel({"no": 0, "yes": 1, "<unk>": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def pieces_of_words(**settings):
    scores = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256)), ("▁", -2.0), ("▁no", -1.0)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=0, **settings))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def byte_letters(normaliser=None):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={one: index for index, one in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    if normaliser is not None:
        tokenizer.normalizer = normaliser
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def lower_case():
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "no": 1, "##e": 2, "e": 3, ",": 4}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


class InPython:
    """A tokenizer without offsets that knows the letters of a text, in lower case."""

    def __init__(self, known, unk_token=None):
        self.known, self.unk_token = [*known, "?"], unk_token

    def __call__(self, text, add_special_tokens=True):
        read = [one if one in self.known else self.unk_token for one in text.lower() if not one.isspace()]
        return {"input_ids": [self.known.index(one) for one in read if one is not None]}

    def convert_ids_to_tokens(self, ids):
        return [self.known[one] for one in ids]

    def convert_tokens_to_ids(self, token):
        return self.known.index(token)

    def decode(self, ids):
        return "".join(self.convert_ids_to_tokens(ids))


@pytest.mark.parametrize("phrase", ["noÉ", "Éno", "nÉo", "É", "noe\N{COMBINING ACUTE ACCENT}"])
@pytest.mark.parametrize("tokenizer", [letters(), InPython("noe")])
def test_a_phrase_of_which_the_tokenizer_drops_characters_is_refused(tokenizer, phrase):
    if isinstance(tokenizer, InPython) and "\N{COMBINING ACUTE ACCENT}" in phrase:
        pytest.skip("without offsets, accents are taken for what a normaliser removes")
    with pytest.raises(ValueError, match="has characters that the tokenizer drops: it reads"):
        encode_phrase(phrase, tokenizer, None)


@pytest.mark.parametrize("phrase", ["no", "NO", "no e"])
def test_a_tokenizer_without_offsets_may_change_case_and_white_space(phrase):
    assert InPython("noe").decode(encode_phrase(phrase, InPython("noe"), None)) == phrase.lower().replace(" ", "")


@pytest.mark.parametrize(
    ("tokenizer", "phrase"),
    [
        (letters(unk_token="<unk>"), "noÉ"),
        (words(), "no zebra"),
        (words(unk_token="<unk>"), "no zebra"),
        (words(unk_token="<unk>"), "<unk> zebra"),
        (words(unk_token="<unk>"), "zebra <unk>"),
        (pieces_of_words(), "no É"),
        (lower_case(), "no [UNK] zebra"),
    ],
)
def test_text_that_becomes_the_unknown_token_is_refused(tokenizer, phrase):
    with pytest.raises(ValueError, match="text that the tokenizer does not know: it reads"):
        encode_phrase(phrase, tokenizer, None)


def test_the_unknown_token_counts_where_there_are_no_offsets():
    tokenizer = InPython("no", unk_token="?")
    assert encode_phrase("no ?", tokenizer, None) == [0, 1, 2]
    with pytest.raises(ValueError, match="text that the tokenizer does not know"):
        encode_phrase("no? x", tokenizer, None)


@pytest.mark.parametrize("tokenizer", [words(), words(unk_token="<unk>")])
def test_the_unknown_token_itself_may_be_a_target(tokenizer):
    assert encode_phrase("no <unk>", tokenizer, None) == [0, 2]


@pytest.mark.parametrize(
    ("tokenizer", "phrase", "tokens"),
    [
        (lower_case(), "No, É", ["no", ",", "e"]),
        (lower_case(), "noe\N{COMBINING ACUTE ACCENT}", ["no", "##e"]),
        (lower_case(), "no\x00 e", ["no", "e"]),
        (lower_case(), "\x01no", ["no"]),
        (pieces_of_words(byte_fallback=True), "no É", ["▁no", "▁", "<0xC3>", "<0x89>"]),
        (byte_letters(), "猫", ["ç", "Į", "«"]),
        (byte_letters(normalizers.NFC()), "e\N{COMBINING ACUTE ACCENT}", ["Ã", "©"]),
        (byte_letters(normalizers.NFD()), "é", ["e", "Ì", "ģ"]),
    ],
)
def test_text_that_the_tokenizer_writes_in_another_way_is_read(tokenizer, phrase, tokens):
    assert tokenizer.convert_ids_to_tokens(encode_phrase(phrase, tokenizer, None)) == tokens

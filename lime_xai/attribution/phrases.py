"""A phrase as the token ids that can follow a prompt."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections import Counter
from typing import Any

from torch import Tensor


def encode_phrase(phrase: str, processor: Any, prompt: Tensor | None) -> list[int]:
    """Return the token ids of a phrase as it can follow the prompt.

    Parameters
    ----------
    phrase : str
        Text.
    processor : object
        A tokenizer of transformers, or a processor that has one.
    prompt : Tensor or None
        ``[B, T]``: ids of the prompt that the phrase follows.

    Raises
    ------
    ValueError
        Without a processor; if the tokenizer drops characters of the phrase, or reads some as its unknown token; after
        prompts of which only some end in white space.

    Warns
    -----
    UserWarning
        If the phrase was read with a space before it.
    """
    if processor is None:
        raise ValueError(f"target {phrase!r} is text; pass processor= (or a tokenizer) to turn it into token ids.")
    tokenizer = getattr(processor, "tokenizer", processor)

    def ids_of(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    ids, spaced, text = ids_of(phrase), ids_of(f" {phrase}"), phrase
    # With some tokenizers a word carries its space in any case; a space before it then adds nothing, or a token alone.
    differs = bool(phrase) and not phrase[0].isspace() and spaced[-len(ids) :] != ids
    if differs and prompt is not None and _needs_space(tokenizer, prompt, phrase):
        warnings.warn(
            f"The prompt does not end in white space, so that target {phrase!r} is read as {' ' + phrase!r}, which is "
            f"another token ({spaced} in place of {ids}). Give token ids to explain the other.",
            stacklevel=4,
        )
        ids, text = spaced, f" {phrase}"
    _check_known(tokenizer, text, ids, phrase)
    return ids


def _check_known(tokenizer: Any, text: str, ids: list[int], phrase: str) -> None:
    """Refuse a phrase of which the tokenizer drops characters, or reads some as its unknown token."""
    offsets = _offsets(tokenizer, text)
    if _has_unknown(tokenizer, text, ids, offsets):
        raise ValueError(
            f"target {phrase!r} has text that the tokenizer does not know: it reads "
            f"{tokenizer.convert_ids_to_tokens(ids)}. Give a phrase of known words, or token ids."
        )
    if _drops_characters(tokenizer, text, ids, offsets):
        raise ValueError(
            f"target {phrase!r} has characters that the tokenizer drops: it reads "
            f"{tokenizer.convert_ids_to_tokens(ids)}. Give a phrase without them, or token ids."
        )


def _offsets(tokenizer: Any, text: str) -> list[tuple[int, int]] | None:
    """Return per token which characters of the text it covers; None if the tokenizer does not say so."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    return [
        (int(first), int(last))
        for first, last in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    ]


def _has_unknown(tokenizer: Any, text: str, ids: list[int], offsets: list[tuple[int, int]] | None) -> bool:
    """Whether a token is the unknown one where the text does not spell the unknown token."""
    name = _unknown_token(tokenizer)
    if name is None:
        return False
    number = tokenizer.convert_tokens_to_ids(name)
    if offsets is None:
        return ids.count(number) > text.count(name)
    return any(
        token == number and text[first:last].strip() != name for token, (first, last) in zip(ids, offsets, strict=True)
    )


def _unknown_token(tokenizer: Any) -> str | None:
    """Return the unknown token, also if only the model of the tokenizer names it."""
    named = getattr(tokenizer, "unk_token", None)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if named is not None or backend is None:
        return named
    if type(backend.model).__name__ == "Unigram":  # its class does not show its unknown token
        found = json.loads(backend.to_str())["model"].get("unk_id")
        return None if found is None else str(backend.id_to_token(found))
    return getattr(backend.model, "unk_token", None)


def _drops_characters(tokenizer: Any, text: str, ids: list[int], offsets: list[tuple[int, int]] | None) -> bool:
    """Whether no token holds some character that is no white space and that the tokenizer's normaliser keeps."""
    if offsets is not None:
        covered = {place for first, last in offsets for place in range(first, last)}
        left = [place for place, one in enumerate(text) if place not in covered and not one.isspace()]
        return any(_keeps(tokenizer.backend_tokenizer.normalizer, text, place) for place in left)
    if not hasattr(tokenizer, "decode"):  # a tokenizer of a user's own that only encodes has no text to compare
        return False
    return bool(Counter(_plain(text)) - Counter(_plain(tokenizer.decode(ids))))


def _keeps(normaliser: Any, text: str, place: int) -> bool:
    """Whether a normaliser neither removes a character nor joins it with those before it, as an accent."""
    if normaliser is None:
        return True
    before, after = (len(normaliser.normalize_str(text[:stop]).lstrip("▁ ")) for stop in (place, place + 1))
    return after > before


def _plain(text: str) -> str:
    """Return text without white space, case and accents, which tokenizers may change."""
    split = unicodedata.normalize("NFKD", text.casefold())
    return "".join(one for one in split if not one.isspace() and not unicodedata.combining(one))


def _needs_space(tokenizer: Any, prompt: Tensor, phrase: str) -> bool:
    """Whether a word after the prompt needs a space, which is so if no row ends in white space or a special token."""
    special = set(tokenizer.all_special_ids)
    texts = [tokenizer.decode(row[-1:]) for row in prompt]
    ends = [
        int(row[-1]) in special or not text.rstrip() or text[-1].isspace()
        for row, text in zip(prompt, texts, strict=True)
    ]
    if len(set(ends)) > 1:
        raise ValueError(
            f"Some prompts end in white space and others do not, so that target {phrase!r} is another token after "
            "each; give token ids, one per row."
        )
    return not ends[0]

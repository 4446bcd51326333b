"""The word that a page shows at first."""

from __future__ import annotations

from .answer import ExplainedAnswer

LARGEST = "The word with the largest share of relevance on {where} is chosen at first."
DIFFERENT = "The first place where the answers differ is chosen at first."
SAME = "Both answers have the same words."


def opening(found: ExplainedAnswer) -> tuple[list[int], str]:
    """Return the word of each answer that a page shows at first, and a sentence on why.

    Parameters
    ----------
    found : ExplainedAnswer
        With the answer without a policy, if there is one.

    Returns
    -------
    list of int
        Of one answer, the word with the largest perceptual share. Of two, without and with a policy, the first place at
        which their words differ; in an answer that ends before it, the last word. Two answers of the same words open on
        the word with the largest perceptual share under the policy.
    str
        Why; empty if there is no image, video or sound.
    """
    word, why = _most_perceptual(found)
    if found.before is None:
        return [word], why
    texts = [[word.text for word in answer.words] for answer in (found.before, found)]
    if texts[0] == texts[1]:
        return [word, word], f"{SAME} {why}".strip()
    shorter = min(map(len, texts))
    pairs = enumerate(zip(*texts, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), shorter)
    return [min(place, len(words) - 1) for words in texts], DIFFERENT


def _most_perceptual(found: ExplainedAnswer) -> tuple[int, str]:
    """Return the word with the largest share of images, videos and sounds, and a sentence that says so.

    Words with a letter or a digit come before punctuation, and both before control tokens.
    """
    row = found.attribution.row(0)
    if not row.names:
        return 0, ""
    said = [index for index, word in enumerate(found.words) if not word.special]
    spoken = [index for index in said if any(letter.isalnum() for letter in found.words[index].text)]
    shares = [sum(word.shares[name] for name in row.names) for word in found.words]
    kinds = {"sound" if layout.modality == "audio" else layout.modality for layout in row.layouts}
    where = " and ".join(f"{kind}s" if len(row.names) > 1 else f"the {kind}" for kind in sorted(kinds))
    return max(spoken or said or range(len(shares)), key=shares.__getitem__), LARGEST.format(where=where)

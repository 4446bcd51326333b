"""An answer with the explanation of every word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lime_xai.attribution.result import Attribution
from lime_xai.attribution.time import TimeRelevance
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.records import Content
from lime_xai.storage.store import write_text

from .plots import Plots
from .tables import Tables


@dataclass(frozen=True)
class ContextWord:
    """A word of the prompt.

    Attributes
    ----------
    text, lead : str
        The word, and the white space before it.
    start, stop : int
        Positions of its tokens in the prompt.
    special : bool
        Whether it is a control token.
    """

    text: str
    lead: str
    start: int
    stop: int
    special: bool = False


@dataclass(frozen=True)
class ExplainedWord:
    """A word of an answer: how it was decided, and on what its logit rests.

    Attributes
    ----------
    text, lead : str
        The word, and the white space before it.
    start, stop : int
        Its tokens in the answer.
    special : bool
        Whether it is a control token.
    logit : float
        What was explained: the sum of its tokens' logits, or the margin.
    residual : float
        Sum of relevance minus ``logit``.
    probability : float
        Of the word, the product over its tokens, by the logits of the policies, or of the model without any; before
        temperature and bans of ``generate``.
    entropy : float
        Of that distribution at its first token, in nats: doubt.
    margin : float
        Logit of its first token minus that of ``alternative``; negative if a sample or a beam took another one.
    alternative : str
        The most probable other first token.
    alternative_probability : float
        Its probability.
    grounding : float or None
        Log-probability of the word in the model without a policy, minus that in the same model without images, videos
        and sounds, in nats, summed over its tokens. Near 0 or below: the word does not rest on what was perceived. None
        if it is not known; ``ExplainedAnswer.no_grounding`` says why.
    relevance : dict of str to float
        Sum of relevance over every image, video and sound, over the text of the prompt and over the answer before it.
    shares : dict of str to float
        Of the absolute relevance, by the same names; they add up to 1.
    """

    text: str
    lead: str
    start: int
    stop: int
    special: bool
    logit: float
    residual: float
    probability: float
    entropy: float
    margin: float
    alternative: str
    alternative_probability: float
    grounding: float | None
    relevance: dict[str, float] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What policies noted at one token; empty where they note nothing.

    Attributes
    ----------
    losses : tuple of float
        The objective before every update and after the last.
    share_before, share_after, shares : tuple of float
        Perceptual share of the absolute relevance: without the policy; with it; before every update and after the last.
    """

    losses: tuple[float, ...] = ()
    share_before: tuple[float, ...] = ()
    share_after: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class ExplainedAnswer(Content, Plots, Tables):
    """What ``explain`` returns: an answer, the relevance of every input for each of its words, and how it was decided.

    Attributes
    ----------
    attribution : Attribution
        One row, relevance ``[1, G, T]`` of every token of the answer, on the CPU, in the model without a policy.
    words : tuple of ExplainedWord
        In order.
    context : tuple of ContextWord
        Words of the prompt.
    policies : tuple of str
        Under which the answer was generated.
    steps : tuple of Step
        Per token of a generated answer: what the policies noted.
    no_grounding : str or None
        Why the words have no grounding.
    before : ExplainedAnswer or None
        The answer without the policies.
    """

    attribution: Attribution
    words: tuple[ExplainedWord, ...]
    context: tuple[ContextWord, ...] = ()
    policies: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    no_grounding: str | None = None
    before: ExplainedAnswer | None = None

    def __repr__(self) -> str:
        under = f" under {', '.join(self.policies)}" if self.policies else ""
        count = f"{len(self.words)} word{'' if len(self.words) == 1 else 's'}"
        return f"ExplainedAnswer({self.text!r}, {count}, {self.attribution.method}{under})"

    @property
    def text(self) -> str:
        """The answer, without control tokens."""
        return _joined([word for word in self.words if not word.special])

    @property
    def against(self) -> str | None:
        """Of a margin: the token whose logit is subtracted, as text; None if single logits are explained."""
        others = self.attribution.against
        return None if others is None else others[0]

    @property
    def prompt(self) -> str:
        """The text of the prompt, without control tokens."""
        return _joined([word for word in self.context if not word.special])

    @property
    def prompt_length(self) -> int:
        """Positions of the prompt."""
        return int(self.attribution.relevance.shape[-1]) - int(self.attribution.relevance.shape[1]) + 1

    @property
    def received(self) -> tuple[Received, ...]:
        """What the model received of every image, video and sound: one entry each."""
        row = self.attribution.row(0)
        return tuple(row.picture_of(index) for index in range(len(row.layouts)))

    def relevance(self, word: int) -> Tensor:
        """Return the relevance ``[T]`` of every position for a word, summed over its tokens; float32.

        Raises
        ------
        TypeError, IndexError
            If the answer has no such word.
        """
        found = self.words[self.word_index(word)]
        return self.attribution.relevance[0, found.start : found.stop].sum(0)

    def time(self, word: int | str | None = None, sound: int = 0, *, duration: float | None = None) -> TimeRelevance:
        """Return the relevance of a sound over time for a word.

        As ``Attribution.time``; by default of the word with the lowest grounding.

        Raises
        ------
        TypeError, IndexError, ValueError
            If the answer has no such word, the prompt no such sound, or seconds are not known.
        """
        values = self.relevance(self.word_index(word)).numpy()
        return replace(self.attribution.row(0), values=values).time(sound, duration)

    def find(self, text: str) -> int:
        """Return the number of the first word with this text, upper and lower case alike.

        Raises
        ------
        ValueError
            If there is none; names the words.
        """
        for index, word in enumerate(self.words):
            if word.text.casefold() == text.casefold():
                return index
        raise ValueError(f"The answer has no word {text!r}; its words are {[word.text for word in self.words]}.")

    @property
    def first_word(self) -> int:
        """The word of figures by default: the one with the lowest grounding, or the first if grounding is not known."""
        return min(self.ranked, key=lambda index: self.words[index].grounding or 0.0, default=0)

    @property
    def ranked(self) -> tuple[int, ...]:
        """Numbers of the words that are compared by grounding: those with a letter or a digit, if there are any."""
        # a comma can have a low grounding, too, and says nothing about what is perceived
        known = [i for i, word in enumerate(self.words) if word.grounding is not None and not word.special]
        spoken = [i for i in known if any(char.isalnum() for char in self.words[i].text)]
        return tuple(spoken or known)

    def word_index(self, word: int | str | None) -> int:
        """Return the number of a word that is given as such, as text, or as None for ``first_word``.

        Raises
        ------
        TypeError, IndexError, ValueError
            If the answer has no such word.
        """
        if word is None:
            return self.first_word
        if isinstance(word, str):
            return self.find(word)
        if not isinstance(word, int) or isinstance(word, bool):
            raise TypeError(f"word is {type(word).__name__}; expected its number or its text.")
        if not 0 <= word < len(self.words):
            raise IndexError(f"word is {word}; the answer has words 0 to {len(self.words) - 1}.")
        return word

    def to_html(self, path: str | Path | None = None, title: str | None = None, *, events: Any = None) -> str:
        """Return a page to click through, and write it if a path is given.

        One file that needs no network: choose a word to see its map on the pictures and sounds, its words in the prompt
        and its numbers. It opens on the word with the largest perceptual share, or where two answers differ.

        Parameters
        ----------
        path : str or Path, optional
            Where to write.
        title : str, optional
            By default the text of the prompt.
        events : mapping or sequence, optional
            What sounds when, as ``plot_sound`` takes it: bounds are drawn, and their shares follow the chosen word.

        Raises
        ------
        ValueError
            For other events, before anything is written.
        """
        from .page import answer_page

        page = answer_page(self, title, events)
        if path is not None:
            write_text(path, page)
        return page

    def _repr_html_(self) -> str:
        from lime_xai.attribution.page.template import embedded

        from .page import answer_page

        return embedded(answer_page(self), "explained answer")

    def save(self, path: str | Path) -> None:
        """Write everything, pictures and the answer without a policy included, to one safetensors file.

        Raises
        ------
        ValueError
            If there is no such folder.
        """
        from .files import write_answer

        write_answer(path, self)

    @classmethod
    def load(cls, path: str | Path) -> ExplainedAnswer:
        """Read what ``save`` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If it is a file of something else, or damaged.
        """
        from .files import read_answer

        return read_answer(path)


def _joined(words: Sequence[ContextWord | ExplainedWord]) -> str:
    return "".join(word.lead + word.text for word in words).strip()

"""Criteria for models of a world: a measure and the interval that it should lie in."""

import math
from dataclasses import dataclass

LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED, UNTAUGHT = "language_prior", "image_cooccurrence", "mixed", "untaught"
"""Kinds of models: where their habit of naming partners comes from; ``untaught``: no habit was put into training."""

KIND_NAMES = {
    LANGUAGE_PRIOR: "language prior",
    IMAGE_COOCCURRENCE: "image co-occurrence",
    MIXED: "mixed",
    UNTAUGHT: "no habit trained in",
}
"""Kinds as text."""


@dataclass(frozen=True)
class Criterion:
    """A measure and the interval [low, high] that it should lie in.

    Attributes
    ----------
    measure : str
        Name of the measure.
    low, high : float
        The interval; infinite where it is open. Both infinite: the value is only reported.
    kinds : tuple of str
        Kinds of models that the criterion binds; for others the value is only reported.
    """

    measure: str
    low: float = -math.inf
    high: float = math.inf
    kinds: tuple[str, ...] = (LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED, UNTAUGHT)

    @property
    def text(self) -> str:
        """The interval in words; empty where the value is only reported."""
        low, high = (f"{bound:,.10g}" for bound in (self.low, self.high))
        if math.isinf(self.low):
            return "" if math.isinf(self.high) else f"at most {high}"
        return f"at least {low}" if math.isinf(self.high) else f"{low} to {high}"

    def binds(self, kind: str) -> bool:
        """Whether there is an interval for models of this kind."""
        return kind in self.kinds and bool(self.text)

    def holds(self, value: float) -> bool:
        """Whether a value lies in the interval; NaN does not."""
        return self.low <= value <= self.high


def kind_of(image_cooccurrence: float) -> str:
    """Return the kind of a model by the share of its habit that pictures have taught."""
    return LANGUAGE_PRIOR if image_cooccurrence == 0 else IMAGE_COOCCURRENCE if image_cooccurrence == 1 else MIXED

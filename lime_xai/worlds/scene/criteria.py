"""Criteria for models of the scene world, fixed before any was trained."""

import math
from dataclasses import dataclass
from typing import Final

LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED = "language_prior", "image_cooccurrence", "mixed"
"""Kinds of models: where their habit of naming partners comes from."""

KIND_NAMES = {LANGUAGE_PRIOR: "language prior", IMAGE_COOCCURRENCE: "image co-occurrence", MIXED: "mixed"}
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
    kinds: tuple[str, ...] = (LANGUAGE_PRIOR, IMAGE_COOCCURRENCE, MIXED)

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


MAX_PARAMETERS: Final = {"1m": 1_100_000, "5m": 5_500_000}
MAX_HALF_MEGABYTES: Final = 2.5
"""Size of a "1m" model's weights as float16."""

CRITERIA: Final = (
    # a. the plain model hallucinates partners, and closed questions leave room
    Criterion("random accuracy", 0.85, 0.95),
    Criterion("popular accuracy"),
    Criterion("adversarial accuracy"),
    Criterion("dialogue accuracy"),
    Criterion("random minus dialogue accuracy", low=0.10, kinds=(LANGUAGE_PRIOR,)),
    Criterion("random minus adversarial accuracy", low=0.10, kinds=(IMAGE_COOCCURRENCE,)),
    Criterion("CHAIR_i", 0.15, 0.40),
    Criterion("CHAIR_i, naming twice forbidden"),
    Criterion("recall"),
    Criterion("F1"),
    Criterion("finished captions", low=0.90),
    Criterion("hallucinated objects whose partner has been named", low=0.60, kinds=(LANGUAGE_PRIOR,)),
    Criterion("hallucinated objects whose partner is in the picture", low=0.60, kinds=(IMAGE_COOCCURRENCE,)),
    # b. the cause: conditional on errors, and unconditional two by two
    Criterion("captions, P(partner): text and picture"),
    Criterion("captions, P(partner): text alone"),
    Criterion("captions, P(partner): picture alone"),
    Criterion("captions, P(partner): neither"),
    Criterion("captions: text alone over neither", low=3.0, kinds=(LANGUAGE_PRIOR,)),
    Criterion("captions: picture alone over neither", low=3.0, kinds=(IMAGE_COOCCURRENCE,)),
    Criterion("captions: share of the text in the effect", low=0.65, kinds=(LANGUAGE_PRIOR,)),
    Criterion("captions: share of the picture in the effect", low=0.65, kinds=(IMAGE_COOCCURRENCE,)),
    Criterion("dialogue, P(yes): text and picture"),
    Criterion("dialogue, P(yes): text alone"),
    Criterion("dialogue, P(yes): picture alone"),
    Criterion("dialogue, P(yes): neither"),
    Criterion("dialogue: share of the text in the effect", low=0.65, kinds=(LANGUAGE_PRIOR,)),
    Criterion("dialogue: share of the picture in the effect", low=0.65, kinds=(IMAGE_COOCCURRENCE,)),
    Criterion("dialogue errors that survive erasing the partner", low=0.70, kinds=(LANGUAGE_PRIOR,)),
    Criterion("dialogue errors that go with the partner's pixels", low=0.70, kinds=(IMAGE_COOCCURRENCE,)),
    Criterion("dialogue errors that a neutral earlier yes brings too", high=0.50, kinds=(LANGUAGE_PRIOR,)),
    # c. the blind model has the bias of the text, or has none
    Criterion("blind: yes-margin that an earlier yes adds", low=0.5, kinds=(LANGUAGE_PRIOR,)),
    # d. reported, never a reason to discard a model
    Criterion("blind contrast: change of CHAIR_i"),
    Criterion("blind contrast: change of F1"),
    # e. a yes-bias shift cannot explain the errors
    Criterion("dialogue AUC", high=0.95, kinds=(LANGUAGE_PRIOR,)),
    Criterion("adversarial AUC", high=0.95, kinds=(IMAGE_COOCCURRENCE,)),
    # more to look at than names
    Criterion("colour accuracy", low=0.80),
    Criterion("side accuracy", low=0.80),
    Criterion("count accuracy", low=0.60),
    Criterion("wrong colours that are habitual"),
    Criterion("detailed captions of two sentences", low=0.90),
    Criterion("second sentences that are true", low=0.60),
    Criterion("grounding of names in captions", low=0.5),
    Criterion("grounding of yes", low=0.5),
    Criterion("grounding of colours", low=0.5),
    Criterion("grounding of sides", low=0.3),
)
"""Tests a to e of the recipe, and what grounding beyond names requires. Grounding is in nats."""


def kind_of(image_cooccurrence: float) -> str:
    """Return the kind of a model by the share of its habit that pictures have taught."""
    return LANGUAGE_PRIOR if image_cooccurrence == 0 else IMAGE_COOCCURRENCE if image_cooccurrence == 1 else MIXED

"""What a model of the scene world must show before anything is measured on it: fixed before any was trained."""

import math
from dataclasses import dataclass
from typing import Final

TEXT, IMAGE, MIXED = "text", "image", "mixed"
"""Kinds of models: what their habit of seeing partners comes from."""


@dataclass(frozen=True)
class Target:
    """A measure and the interval [low, high] that it should lie in.

    Attributes
    ----------
    measure : str
        Name of the measure.
    low, high : float
        The interval; infinite where it is open. Both infinite: the value is only reported.
    kinds : tuple of str
        Kinds of models that the target binds; for others the value is only reported.
    """

    measure: str
    low: float = -math.inf
    high: float = math.inf
    kinds: tuple[str, ...] = (TEXT, IMAGE, MIXED)

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

TARGETS: Final = (
    # a. the plain model hallucinates partners, and closed questions leave room
    Target("random accuracy", 0.85, 0.95),
    Target("popular accuracy"),
    Target("adversarial accuracy"),
    Target("dialogue accuracy"),
    Target("random minus dialogue accuracy", low=0.10, kinds=(TEXT,)),
    Target("random minus adversarial accuracy", low=0.10, kinds=(IMAGE,)),
    Target("CHAIR_i", 0.15, 0.40),
    Target("CHAIR_i, naming twice forbidden"),
    Target("recall"),
    Target("F1"),
    Target("finished captions", low=0.90),
    Target("hallucinated objects whose partner has been named", low=0.60, kinds=(TEXT,)),
    Target("hallucinated objects whose partner is in the picture", low=0.60, kinds=(IMAGE,)),
    # b. the cause: conditional on errors, and unconditional two by two
    Target("captions, P(partner): text and picture"),
    Target("captions, P(partner): text alone"),
    Target("captions, P(partner): picture alone"),
    Target("captions, P(partner): neither"),
    Target("captions: text alone over neither", low=3.0, kinds=(TEXT,)),
    Target("captions: picture alone over neither", low=3.0, kinds=(IMAGE,)),
    Target("captions: share of the text in the effect", low=0.65, kinds=(TEXT,)),
    Target("captions: share of the picture in the effect", low=0.65, kinds=(IMAGE,)),
    Target("dialogue, P(yes): text and picture"),
    Target("dialogue, P(yes): text alone"),
    Target("dialogue, P(yes): picture alone"),
    Target("dialogue, P(yes): neither"),
    Target("dialogue: share of the text in the effect", low=0.65, kinds=(TEXT,)),
    Target("dialogue: share of the picture in the effect", low=0.65, kinds=(IMAGE,)),
    Target("dialogue errors that survive erasing the partner", low=0.70, kinds=(TEXT,)),
    Target("dialogue errors that go with the partner's pixels", low=0.70, kinds=(IMAGE,)),
    Target("dialogue errors that a neutral earlier yes brings too", high=0.50, kinds=(TEXT,)),
    # c. the blind model has the bias of the text, or has none
    Target("blind: yes-margin that an earlier yes adds", low=0.5, kinds=(TEXT,)),
    # d. reported, never a reason to discard a model
    Target("blind contrast: change of CHAIR_i"),
    Target("blind contrast: change of F1"),
    # e. a yes-bias shift cannot explain the errors
    Target("dialogue AUC", high=0.95, kinds=(TEXT,)),
    Target("adversarial AUC", high=0.95, kinds=(IMAGE,)),
    # more to look at than names
    Target("colour accuracy", low=0.80),
    Target("side accuracy", low=0.80),
    Target("count accuracy", low=0.60),
    Target("wrong colours that are habitual"),
    Target("detailed captions of two sentences", low=0.90),
    Target("second sentences that are true", low=0.60),
    Target("grounding of names in captions", low=0.5),
    Target("grounding of yes", low=0.5),
    Target("grounding of colours", low=0.5),
    Target("grounding of sides", low=0.3),
)
"""Tests a to e of the recipe, and what grounding beyond names asks for. Grounding is in nats."""


def kind_of(image_borne: float) -> str:
    """Return the kind of a model by the share of its habit that pictures have taught."""
    return TEXT if image_borne == 0 else IMAGE if image_borne == 1 else MIXED

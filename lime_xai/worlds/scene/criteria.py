"""Criteria for models of the scene world, fixed before any was trained."""

from typing import Final

from lime_xai.worlds.shared.criteria import IMAGE_COOCCURRENCE, LANGUAGE_PRIOR, Criterion

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

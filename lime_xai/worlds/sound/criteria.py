"""Criteria for models of the sound world, fixed before the models that are used were trained.

Intervals were chosen after a pilot (seed 100, clips of the protocol's pilot seed), which is used for nothing else. They
are those of the scene world, except where the pilot showed that sounds are easier to tell apart than small pictures, or
a question harder: random accuracy, CHAIR_i, text alone over neither, dialogue AUC, times and counts.
"""

from typing import Final

from lime_xai.worlds.shared.criteria import Criterion

CRITERIA: Final = (
    # a. the plain model hallucinates partners, and closed questions leave room
    Criterion("random accuracy", 0.85, 0.99),
    Criterion("popular accuracy"),
    Criterion("adversarial accuracy"),
    Criterion("dialogue accuracy"),
    Criterion("random minus dialogue accuracy", low=0.10),
    Criterion("CHAIR_i", 0.15, 0.45),
    Criterion("CHAIR_i, naming twice forbidden"),
    Criterion("recall"),
    Criterion("F1"),
    Criterion("finished captions", low=0.90),
    Criterion("hallucinated events whose partner has been named", low=0.60),
    # b. the cause: conditional on errors, and unconditional two by two
    Criterion("captions, P(partner): text and sound"),
    Criterion("captions, P(partner): text alone"),
    Criterion("captions, P(partner): sound alone"),
    Criterion("captions, P(partner): neither"),
    Criterion("captions: text alone over neither", low=2.0),
    Criterion("captions: share of the text in the effect", low=0.65),
    Criterion("dialogue, P(yes): text and sound"),
    Criterion("dialogue, P(yes): text alone"),
    Criterion("dialogue, P(yes): sound alone"),
    Criterion("dialogue, P(yes): neither"),
    Criterion("dialogue: share of the text in the effect", low=0.65),
    Criterion("dialogue errors that survive erasing the partner", low=0.70),
    Criterion("dialogue errors that a neutral earlier yes brings too", high=0.50),
    # c. the deaf model has the bias of the text, or has none
    Criterion("blind: yes-margin that an earlier yes adds", low=0.5),
    # d. reported, never a reason to discard a model
    Criterion("blind contrast: change of CHAIR_i"),
    Criterion("blind contrast: change of F1"),
    # e. a yes-bias shift cannot explain the errors
    Criterion("dialogue AUC", high=0.98),
    # more to listen for than names
    Criterion("pitch accuracy", low=0.80),
    Criterion("time accuracy", low=0.65),
    Criterion("count accuracy", low=0.50),
    Criterion("first accuracy", low=0.80),
    Criterion("choice accuracy", low=0.80),
    Criterion("wrong pitches that are habitual"),
    Criterion("wrong times that are habitual"),
    Criterion("detailed captions of two sentences", low=0.90),
    Criterion("second sentences that are true", low=0.60),
    Criterion("grounding of names in captions", low=0.5),
    Criterion("grounding of yes", low=0.5),
    Criterion("grounding of pitches", low=0.5),
    Criterion("grounding of times", low=0.3),
)
"""In the order of ``lime_xai.worlds.scene.criteria``. Grounding is in nats."""

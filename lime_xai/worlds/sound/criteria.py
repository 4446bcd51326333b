"""Measures of models of the sound world; none binds before its intervals are fixed, all are reported."""

from typing import Final

from lime_xai.worlds.shared.criteria import Criterion

CRITERIA: Final = (
    # a. the plain model hallucinates partners, and closed questions leave room
    Criterion("random accuracy"),
    Criterion("popular accuracy"),
    Criterion("adversarial accuracy"),
    Criterion("dialogue accuracy"),
    Criterion("random minus dialogue accuracy"),
    Criterion("CHAIR_i"),
    Criterion("CHAIR_i, naming twice forbidden"),
    Criterion("recall"),
    Criterion("F1"),
    Criterion("finished captions"),
    Criterion("hallucinated events whose partner has been named"),
    # b. the cause: conditional on errors, and unconditional two by two
    Criterion("captions, P(partner): text and sound"),
    Criterion("captions, P(partner): text alone"),
    Criterion("captions, P(partner): sound alone"),
    Criterion("captions, P(partner): neither"),
    Criterion("captions: text alone over neither"),
    Criterion("captions: share of the text in the effect"),
    Criterion("dialogue, P(yes): text and sound"),
    Criterion("dialogue, P(yes): text alone"),
    Criterion("dialogue, P(yes): sound alone"),
    Criterion("dialogue, P(yes): neither"),
    Criterion("dialogue: share of the text in the effect"),
    Criterion("dialogue errors that survive erasing the partner"),
    Criterion("dialogue errors that a neutral earlier yes brings too"),
    # c. the deaf model has the bias of the text, or has none
    Criterion("blind: yes-margin that an earlier yes adds"),
    # d. reported, never a reason to discard a model
    Criterion("blind contrast: change of CHAIR_i"),
    Criterion("blind contrast: change of F1"),
    # e. a yes-bias shift cannot explain the errors
    Criterion("dialogue AUC"),
    # more to listen for than names
    Criterion("pitch accuracy"),
    Criterion("time accuracy"),
    Criterion("count accuracy"),
    Criterion("first accuracy"),
    Criterion("choice accuracy"),
    Criterion("wrong pitches that are habitual"),
    Criterion("wrong times that are habitual"),
    Criterion("detailed captions of two sentences"),
    Criterion("second sentences that are true"),
    Criterion("grounding of names in captions"),
    Criterion("grounding of yes"),
    Criterion("grounding of pitches"),
    Criterion("grounding of times"),
)
"""In the order of ``lime_xai.worlds.scene.criteria``. Grounding is in nats."""

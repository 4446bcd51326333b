"""Criteria for models of photographs, fixed before any was trained; most measures are only reported."""

from typing import Final

from lime_xai.worlds.shared.criteria import Criterion

CRITERIA: Final = (
    Criterion("random accuracy", 0.85, 0.95),
    Criterion("popular accuracy"),
    Criterion("adversarial accuracy"),
    Criterion("dialogue accuracy"),
    Criterion("random minus dialogue accuracy"),
    Criterion("random minus adversarial accuracy"),
    Criterion("CHAIR_i", 0.10, 0.35),
    Criterion("CHAIR_i, naming twice forbidden"),
    Criterion("recall"),
    Criterion("F1", low=0.75),
    Criterion("finished captions", low=0.90),
    Criterion("hallucinated objects whose partner has been named"),
    Criterion("hallucinated objects whose partner is in the picture"),
    # The cause: text x pixels. What it is nobody chose, so that nothing binds. No shares of text and picture in the sum
    # of their effects: where neither has any, a share says something all the same. Command `answers` has main effects.
    Criterion("captions, P(partner): text and picture"),
    Criterion("captions, P(partner): text alone"),
    Criterion("captions, P(partner): picture alone"),
    Criterion("captions, P(partner): neither"),
    Criterion("captions: text alone over neither"),
    Criterion("captions: picture alone over neither"),
    Criterion("dialogue, P(yes): text and picture"),
    Criterion("dialogue, P(yes): text alone"),
    Criterion("dialogue, P(yes): picture alone"),
    Criterion("dialogue, P(yes): neither"),
    Criterion("dialogue errors that survive erasing the partner"),
    Criterion("dialogue errors that a neutral earlier yes brings too"),
    Criterion("blind: yes-margin that an earlier yes adds"),
    Criterion("blind contrast: change of CHAIR_i"),
    Criterion("blind contrast: change of F1"),
    Criterion("dialogue AUC"),
    Criterion("adversarial AUC"),
    Criterion("colour accuracy"),
    Criterion("side accuracy"),
    Criterion("count accuracy"),
    Criterion("wrong colours that are habitual"),
    Criterion("detailed captions of two sentences"),
    Criterion("second sentences that are true"),
    Criterion("grounding of names in captions"),
    Criterion("grounding of yes"),
    Criterion("grounding of colours"),
    Criterion("grounding of sides"),
)
"""What the issue demands binds; the rest of what the pictograms are measured by is reported. Grounding is in nats."""

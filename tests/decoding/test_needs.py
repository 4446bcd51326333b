"""Needs: refused when they are made, merged for several policies."""

from itertools import permutations

import pytest
import torch

from lime_xai import BranchKind, Calibration, Constant, Contrast, ContributionNeed, Edit, Reweight, StreamNeed
from lime_xai.decoding.policy import merge_needs

GAINS = Calibration("0", "direct", 1, 1, torch.zeros(4), {"image": torch.ones(2, 2)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BranchKind("blnd"), "Unknown name 'blnd'. Did you mean 'blind'"),
        (lambda: BranchKind("noise", 2.0), "noise is 2.0"),
        (lambda: StreamNeed("atnlrp"), "Unknown method 'atnlrp'. Did you mean 'attnlrp'"),
        (lambda: ContributionNeed("dirct"), "'dirct'"),
    ],
)
def test_needs_that_do_not_exist_are_refused_when_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "policies",
    list(permutations([Constant(GAINS), Edit(scope="sequence"), Edit(scope="cache")]))
    + list(permutations([Constant(GAINS), Reweight(relevance="full"), Edit()])),
    ids=lambda some: " ".join(f"{type(one).__name__}" for one in some),
)
def test_every_policy_is_checked_beside_one_that_rewrites_the_cache(policies):
    with pytest.raises(ValueError, match="Constant rewrites the cache"):
        merge_needs(policies)


def test_different_branches_are_refused():
    with pytest.raises(ValueError, match="different branches"):
        merge_needs([Contrast("blind"), Contrast("slot")])

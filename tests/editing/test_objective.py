"""The relevance objective against loops over plain numbers, and its invariants."""

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lime_xai import RelevanceObjective
from lime_xai.editing.objective import FORMS, KL_DIRECTIONS, TARGETS

SEEDS = st.integers(0, 10**6)
EVERY = [
    RelevanceObjective(form=form, kl_direction=direction, target=target, temperature=0.3, kl_weight=0.7)
    for form, direction, target in itertools.product(FORMS, KL_DIRECTIONS, TARGETS)
]
DIRECTED = [RelevanceObjective(kl_direction=direction) for direction in KL_DIRECTIONS]


def name_of(objective):
    return f"{objective.form}-{objective.kl_direction}-{objective.target}"


def draw(seed, rows=3, length=9, vocabulary=7, padded=True):
    """Random arguments of a call, in float64; every row perceives and reads something."""
    generator = torch.Generator().manual_seed(seed)
    relevance = torch.randn(rows, length, generator=generator, dtype=torch.float64)
    perceptual = torch.rand(rows, length, generator=generator) < 0.5
    attended = torch.ones(rows, length, dtype=torch.bool)
    if padded:
        attended[:, :-4] = torch.rand(rows, length - 4, generator=generator) < 0.7
    perceptual[:, -2:] = torch.tensor([True, False])
    logits, reference = 2 * torch.randn(2, rows, vocabulary, generator=generator, dtype=torch.float64)
    return relevance, perceptual, attended, logits, reference


def log_probabilities(logits):
    total = math.log(sum(math.exp(z) for z in logits))
    return [z - total for z in logits]


def naive_divergence(direction, logits, reference):
    steered, plain = log_probabilities(logits), log_probabilities(reference)
    first, second = (steered, plain) if direction == "steered_reference" else (plain, steered)
    return sum(math.exp(p) * (p - q) for p, q in zip(first, second, strict=True))


def naive_loss(objective, relevance, perceptual, attended, logits, reference):
    """One row, as the formulas of the paper read."""
    kept = [i for i in range(len(relevance)) if attended[i]]
    seen = [i for i in kept if perceptual[i]]
    if objective.form == "difference":
        loss = sum(relevance[i] for i in kept if not perceptual[i]) - sum(relevance[i] for i in seen)
    else:
        normaliser = sum(math.exp(relevance[i] / objective.temperature) for i in kept)
        shares = [math.exp(relevance[i] / objective.temperature) / normaliser for i in seen]
        loss = -sum(math.log(share) for share in shares) / len(seen)
    return loss + objective.kl_weight * naive_divergence(objective.kl_direction, logits, reference)


def naive_target(kind, logits, reference):
    if kind == "argmax":
        return max(logits)
    if kind == "margin":
        order = sorted(range(len(reference)), key=lambda v: -reference[v])
        return logits[order[0]] - logits[order[1]]
    mean = sum(logits) / len(logits)
    return sum(math.exp(p) * (z - mean) for p, z in zip(log_probabilities(reference), logits, strict=True))


@pytest.mark.parametrize("objective", EVERY, ids=name_of)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_loss_is_the_formula_row_by_row(objective, seed):
    given_ = draw(seed)
    rows = zip(*(tensor.tolist() for tensor in given_), strict=True)
    wanted = [naive_loss(objective, *row) for row in rows]
    assert objective(*given_).tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_target_is_the_formula_row_by_row(target, seed):
    *_, logits, reference = draw(seed)
    wanted = [naive_target(target, *row) for row in zip(logits.tolist(), reference.tolist(), strict=True)]
    found = RelevanceObjective(target=target).target_value(logits, reference)
    assert found.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_margin_follows_the_unsteered_pair_even_where_it_has_changed_places():
    reference, logits = torch.tensor([[3.0, 2.0, 0.0]]), torch.tensor([[1.0, 4.0, 9.0]])
    assert RelevanceObjective(target="margin").target_value(logits, reference).tolist() == [-3.0]


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_order_of_positions_and_of_rows_does_not_matter(form, seed):
    objective = RelevanceObjective(form=form, kl_weight=0.0)
    relevance, perceptual, attended, logits, reference = draw(seed)
    order = torch.randperm(relevance.shape[1], generator=torch.Generator().manual_seed(seed))
    loss = objective(relevance, perceptual, attended, logits, reference)
    moved = objective(relevance[:, order], perceptual[:, order], attended[:, order], logits, reference)
    assert torch.allclose(loss, moved, rtol=1e-12, atol=1e-12)
    back = objective(*(tensor.flip(0) for tensor in (relevance, perceptual, attended, logits, reference)))
    assert torch.allclose(loss.flip(0), back, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("objective", EVERY, ids=name_of)
def test_rows_are_independent(objective):
    first, second = draw(1), draw(2)
    mixed = [torch.cat([a[:1], b[1:]]) for a, b in zip(first, second, strict=True)]
    assert torch.equal(objective(*mixed)[:1], objective(*first)[:1])
    relevance = first[0].clone().requires_grad_()
    objective(relevance, *first[1:])[0].backward()
    assert bool(relevance.grad[0].any())
    assert not bool(relevance.grad[1:].any())


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, noise=st.floats(-1e6, 1e6))
def test_padding_is_ignored(form, seed, noise):
    objective = RelevanceObjective(form=form)
    relevance, perceptual, attended, *rest = draw(seed)
    changed = torch.where(attended, relevance, torch.full_like(relevance, noise))
    loss = objective(relevance, perceptual, attended, *rest)
    assert torch.equal(loss, objective(changed, perceptual, attended, *rest))
    assert torch.equal(loss, objective(relevance, perceptual | ~attended, attended, *rest))
    wider = [torch.nn.functional.pad(tensor, (5, 0)) for tensor in (relevance, perceptual, attended)]
    assert torch.allclose(loss, objective(*wider, *rest), rtol=1e-12)


@pytest.mark.parametrize("objective", DIRECTED, ids=name_of)
@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, shift=st.floats(-50, 50))
def test_divergence_is_non_negative_and_zero_at_equality(objective, seed, shift):
    *_, logits, reference = draw(seed)
    assert bool((objective.divergence(logits, reference) > 0).all())
    assert bool((objective.divergence(logits, logits + shift).abs() < 1e-12).all())


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS)
def test_the_two_directions_are_each_others_mirror(seed):
    *_, logits, reference = draw(seed)
    forward, backward = (objective.divergence for objective in DIRECTED)
    assert torch.allclose(forward(logits, reference), backward(reference, logits), rtol=1e-12)
    assert not torch.allclose(forward(logits, reference), backward(logits, reference))


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, temperature=st.floats(0.01, 10))
def test_contrastive_loss_is_at_least_the_log_of_the_number_of_perceptual_positions(seed, temperature):
    objective = RelevanceObjective(temperature=temperature, kl_weight=0.0)
    relevance, perceptual, attended, *rest = draw(seed)
    bound = (perceptual & attended).sum(-1).double().log()
    assert bool((objective(relevance, perceptual, attended, *rest) >= bound - 1e-9).all())
    best = torch.where(perceptual, 1e3 * temperature, -1e3 * temperature).double()
    assert torch.allclose(objective(best, perceptual, attended, *rest), bound, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, position=st.integers(0, 8))
def test_more_perceptual_relevance_lowers_the_difference_form(seed, position):
    objective = RelevanceObjective(form="difference", kl_weight=0.0)
    relevance, perceptual, attended, *rest = draw(seed, padded=False)
    more = relevance.clone()
    more[:, position] += 1.0
    change = objective(more, perceptual, attended, *rest) - objective(relevance, perceptual, attended, *rest)
    assert torch.allclose(change, torch.where(perceptual[:, position], -1.0, 1.0).double())


@pytest.mark.parametrize("objective", EVERY, ids=name_of)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_are_finite_and_right(objective, scale):
    relevance, perceptual, attended, logits, reference = draw(4)
    attended[0] = False  # nothing counts in this row
    leaves = [(scale * t).float().requires_grad_() for t in (relevance, logits)]
    objective(leaves[0], perceptual, attended, leaves[1], reference.float()).sum().backward()
    assert all(bool(leaf.grad.isfinite().all()) for leaf in leaves)
    assert not bool((leaves[0].grad * ~attended).any())
    double = [t.clone().requires_grad_() for t in (relevance, logits)]

    def loss(phi, z):
        return objective(phi, perceptual, attended, z, reference)

    assert torch.autograd.gradcheck(loss, double)


def test_objectives_are_frozen_values():
    objective = RelevanceObjective()
    assert objective == RelevanceObjective(temperature=0.1, kl_weight=0.1)
    assert hash(objective) == hash(RelevanceObjective())
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.temperature = 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 0.0}, r"temperature is 0\.0; expected a positive number"),
        ({"temperature": -1.0}, r"temperature is -1\.0; expected a positive number"),
        ({"temperature": math.nan}, "temperature is nan; expected a positive number"),
        ({"kl_weight": -0.1}, r"kl_weight is -0\.1; expected zero or more"),
        ({"kl_weight": math.nan}, "kl_weight is nan; expected zero or more"),
        ({"form": "contrastiv"}, "Unknown form 'contrastiv'. Did you mean 'contrastive'"),
        ({"target": "expect"}, "Unknown target 'expect'. Did you mean 'expected'"),
        ({"kl_direction": "steered_referense"}, "Did you mean 'steered_reference'"),
    ],
)
def test_bad_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        RelevanceObjective(**wrong)


@pytest.mark.parametrize(
    ("place", "value", "error", "message"),
    [
        (0, [[1.0]], TypeError, "relevance is"),
        (0, torch.ones(2, 4), ValueError, r"relevance \(2, 4\)"),
        (1, torch.ones(2, 3), TypeError, "perceptual is a tensor of torch.float32; expected torch.bool"),
        (2, torch.ones(3, dtype=torch.bool), ValueError, r"attended \(3,\)"),
        (3, torch.ones(1, 5), ValueError, r"logits \(1, 5\), reference_logits \(2, 5\)"),
        (4, torch.ones(2, 5, dtype=torch.long), TypeError, "reference_logits is a tensor of torch.int64"),
    ],
)
def test_arguments_that_do_not_belong_together_are_refused(place, value, error, message):
    seen = torch.ones(2, 3, dtype=torch.bool)
    values = [torch.ones(2, 3), seen, seen, torch.ones(2, 5), torch.ones(2, 5)]
    assert RelevanceObjective()(*values).shape == (2,)
    values[place] = value
    with pytest.raises(error, match=message):
        RelevanceObjective()(*values)

"""The derivative of the objective with respect to the deltas, against finite differences in float64."""

import pytest
import torch
from families import FAMILIES

import lime_xai
from lime_xai import Edit, KVEditor, RelevanceObjective

OBJECTIVES = {
    "contrastive": RelevanceObjective(target="argmax"),
    "difference": RelevanceObjective(form="difference", target="expected"),
    "published": RelevanceObjective(kl_direction="reference_steered", target="margin"),
}


class Capture:
    """A policy that keeps the steps it sees."""

    idle = False
    needs_history = True

    def __init__(self):
        self.seen = []

    def step(self, step):
        self.seen.append(step)
        return step.logits


def captured_step(model, inputs, index):
    """Return the step of generated token number ``index``."""
    capture = Capture()
    with lime_xai.steering(model, capture):
        model.generate(**inputs, max_new_tokens=index + 1, min_new_tokens=index + 1, do_sample=False)
        return capture.seen[index]


def double(inputs):
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


def directional(editor, step, point, direction):
    """Return the loss gradient along a direction: analytic, and by central differences."""

    def loss(shift, differentiate):
        deltas = editor.build(step)
        with torch.no_grad():
            for parameter, start, move in zip(deltas.tensors(), point, direction, strict=True):
                parameter.copy_(start + shift * move)
        return editor.evaluate(step, deltas, differentiate)

    analytic = sum((g.detach() * d).sum() for g, d in zip(loss(0.0, True).gradients, direction, strict=True))
    step_size = 1e-6
    ends = [loss(sign * step_size, False).loss.detach().sum() for sign in (1, -1)]
    return float(analytic), float((ends[0] - ends[1]) / (2 * step_size))


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("deltas", ["free", "gain"])
@pytest.mark.parametrize("scope", ["cache", "sequence"])
def test_gradient_of_the_objective_is_exact(scope, deltas, objective, index, float64_norms):
    check("llava", scope, deltas, objective, index, float64_norms)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "gemma3", "qwen2_audio", "internvl", "qwen3_vl"])
@pytest.mark.parametrize("scope", ["cache", "sequence"])
def test_gradient_of_the_objective_is_exact_in_other_families(family, scope, float64_norms):
    check(family, scope, "gain", "difference", 1, float64_norms)


def check(family, scope, deltas, objective, index, float64_norms):
    model, inputs, _ = FAMILIES[family].build()
    step = captured_step(float64_norms(model), double(inputs), index)
    settings = Edit(objective=OBJECTIVES[objective], scope=scope, deltas=deltas, edit="both", positions="all")
    editor = KVEditor(settings)
    generator = torch.Generator().manual_seed(5)
    shapes = [parameter.shape for parameter in editor.build(step).tensors()]
    point = [0.05 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    direction = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    with lime_xai.replay.frozen_parameters(model):
        analytic, numeric = directional(editor, step, point, direction)
    assert abs(numeric) > 1e-6
    assert abs(analytic - numeric) <= 1e-6 * abs(numeric)


def test_rules_left_on_in_the_second_pass_give_another_gradient(float64_norms):
    model, inputs, _ = FAMILIES["llava"].build()
    step = captured_step(float64_norms(model), double(inputs), 0)
    found = {}
    for second_order in ("exact", "frozen"):
        editor = KVEditor(Edit(second_order=second_order, deltas="free"))
        found[second_order] = editor.evaluate(step, editor.build(step)).gradients[0]
    assert (found["exact"] - found["frozen"]).norm() > 0.1 * found["exact"].norm()

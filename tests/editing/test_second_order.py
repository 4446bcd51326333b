"""The derivative of the objective with respect to the deltas, against finite differences in float64."""

import pytest
import torch
from support.families import FAMILIES
from support.steps import captured_step, directional

from lime_xai import Edit, KVEditor, RelevanceObjective
from lime_xai.model.exclusive import frozen_parameters

OBJECTIVES = {
    "contrastive": RelevanceObjective(target="argmax"),
    "difference": RelevanceObjective(form="difference", target="expected"),
    "published": RelevanceObjective(kl_direction="reference_steered", target="margin"),
}


def double(inputs):
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


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
    shapes = [parameter.shape for parameter in editor.zero_deltas(step).tensors()]
    point = [0.05 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    direction = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    with frozen_parameters(model):
        analytic, numeric = directional(editor, step, point, direction)
    assert abs(numeric) > 1e-6
    assert abs(analytic - numeric) <= 1e-6 * abs(numeric)


def test_rules_left_on_in_the_second_pass_give_another_gradient(float64_norms):
    model, inputs, _ = FAMILIES["llava"].build()
    step = captured_step(float64_norms(model), double(inputs), 0)
    found = {}
    for second_order in ("exact", "frozen"):
        editor = KVEditor(Edit(second_order=second_order, deltas="free"))
        found[second_order] = editor.evaluate(step, editor.zero_deltas(step)).gradients[0]
    assert (found["exact"] - found["frozen"]).norm() > 0.1 * found["exact"].norm()

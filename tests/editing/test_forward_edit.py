"""Editing in forward direction: the same edit as by double backward passes."""

import warnings
from dataclasses import replace

import pytest
import torch
from support.families import FAMILIES, batch
from support.steps import Capture, directional
from support.streams import REFUSED, STREAMED

import lime_xai
from lime_rules import LRP_METHODS
from lime_xai import Edit, KVEditor, Needs, RelevanceObjective
from lime_xai.decoding.policy import StreamNeed
from lime_xai.model.exclusive import frozen_parameters

OBJECTIVES = {
    target: RelevanceObjective(form="difference", target=target, kl_weight=0.3)
    for target in ("argmax", "margin", "expected")
}
SETTINGS = {
    "gains": Edit(plausibility=0.0),
    "free": Edit(deltas="free", edit="both", positions="all", learning_rate=0.02, steps=3, plausibility=0.0),
    "keys": Edit(edit="keys", layers=(0, -1), include_bos=True, plausibility=0.0),
    "cplrp": Edit(method="cplrp", plausibility=0.0),
    "plain gradient": Edit(method="gradient_input", plausibility=0.0),
    **{target: Edit(objective=objective, plausibility=0.0) for target, objective in OBJECTIVES.items()},
}
ASKED = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}


def both(model, inputs, settings, **asked):
    found = []
    for direction in ("backward", "forward"):
        output = lime_xai.steer(
            model,
            inputs,
            replace(settings, direction=direction),
            return_dict_in_generate=True,
            output_logits=True,
            **ASKED | asked,
        )
        losses = torch.stack([step.losses for step in output.trace.steps])
        found.append((torch.stack(output.generation.logits), losses, output.trace))
    return found


@pytest.mark.parametrize("name", STREAMED)
def test_the_edit_is_that_of_double_backward_passes(name):
    model, inputs, _ = FAMILIES[name].build()
    backward, forward = both(model, inputs, SETTINGS["gains"])
    torch.testing.assert_close(forward[0], backward[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(forward[1], backward[1][:, :-1], rtol=1e-3, atol=1e-4)
    divergences = [torch.stack([step.divergences for step in found[2].steps]) for found in (forward, backward)]
    torch.testing.assert_close(*divergences, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", ["llava", "qwen2_audio"])
def test_every_setting_gives_the_same_edit(name, settings):
    model, joined, _ = batch(name, 2)
    backward, forward = both(model, joined, SETTINGS[settings])
    torch.testing.assert_close(forward[0], backward[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(forward[1], backward[1][:, :-1], rtol=1e-3, atol=1e-4)
    divergences = [torch.stack([step.divergences for step in found[2].steps]) for found in (forward, backward)]
    torch.testing.assert_close(*divergences, rtol=1e-3, atol=1e-5)


def test_beams_too():
    model, inputs, _ = FAMILIES["llava"].build()
    sequences = [
        lime_xai.steer(model, inputs, replace(SETTINGS["gains"], direction=direction), num_beams=3, **ASKED).sequences
        for direction in ("backward", "forward")
    ]
    assert torch.equal(*sequences)


class Streaming(Capture):
    """Keeps steps, and has streams made for them."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    @property
    def needs(self):
        return Needs(past=True, history=True, streams=(StreamNeed(self.method),))


@pytest.mark.parametrize("target", OBJECTIVES)
@pytest.mark.parametrize("deltas", ["free", "gain"])
@pytest.mark.parametrize("method", LRP_METHODS)
def test_gradient_of_the_stream_is_exact(method, deltas, target, float64_norms):
    model, inputs, _ = FAMILIES["llava"].build()
    inputs = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    capture = Streaming(method)
    with lime_xai.steering(float64_norms(model), capture):
        model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
        step = capture.seen[1]
    settings = Edit(objective=OBJECTIVES[target], method=method, deltas=deltas, edit="both", positions="all")
    editor = KVEditor(settings)
    generator = torch.Generator().manual_seed(5)
    shapes = [parameter.shape for parameter in editor.zero_deltas(step).tensors()]
    point = [0.05 * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    direction = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    with frozen_parameters(model), step.streams[method].attached():
        analytic, numeric = directional(editor, step, point, direction)
    assert abs(numeric) > 1e-6
    assert abs(analytic - numeric) <= 1e-6 * abs(numeric)


def test_a_detached_engine_does_not_run():
    model, inputs, _ = FAMILIES["llava"].build()
    capture = Streaming("attnlrp")
    with lime_xai.steering(model, capture):
        model.generate(**inputs, max_new_tokens=1)
        step = capture.seen[0]
    editor = KVEditor(Edit())
    with pytest.raises(RuntimeError, match="not attached"):
        editor.evaluate(step, editor.zero_deltas(step))


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "qwen3_5_moe"])
def test_where_there_is_no_stream_edits_work_backward_and_say_so_once(name):
    model, inputs, _ = FAMILIES[name].build()
    with pytest.warns(UserWarning, match=f"double backward passes, which are several times slower.*{REFUSED[name]}"):
        auto = lime_xai.steer(model, inputs, Edit(), **ASKED)
    assert auto.trace.steps[0].share_before is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = lime_xai.steer(model, inputs, Edit(), **ASKED)
        backward = lime_xai.steer(model, inputs, Edit(direction="backward"), **ASKED)
    assert torch.equal(auto.sequences, again.sequences)
    assert torch.equal(auto.sequences, backward.sequences)
    with pytest.raises(NotImplementedError, match=REFUSED[name]):
        lime_xai.steer(model, inputs, Edit(direction="forward"), **ASKED)


def test_forward_needs_settings_that_have_a_forward_form():
    for settings in (
        {"scope": "sequence"},
        {"objective": RelevanceObjective()},
        {"second_order": "frozen"},
    ):
        with pytest.raises(ValueError, match="direction='forward' needs"):
            Edit(direction="forward", **settings)
        assert Edit(**settings).forward_method is None
    with pytest.raises(ValueError, match="Unknown direction 'forwards'"):
        Edit(direction="forwards")
    assert Edit(direction="backward").forward_method is None
    assert Edit().forward_method == "attnlrp"


def test_direction_of_a_target_is_its_derivative():
    logits, reference = (torch.randn(3, 7, dtype=torch.float64) for _ in range(2))
    for objective in OBJECTIVES.values():
        leaf = logits.clone().requires_grad_()
        found = torch.autograd.grad(objective.target_value(leaf, reference).sum(), leaf)[0]
        torch.testing.assert_close(objective.direction(logits, reference), found)

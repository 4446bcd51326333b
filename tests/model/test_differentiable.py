"""Models whose gradients are missing or wrong, and models that are compiled, are refused by name."""

import warnings

import pytest
import torch
from support.entries import call_entry
from support.families import FAMILIES
from torch import nn

import lime_xai
from benchmarks.random_models import Shape, prompt_of, random_llava
from lime_xai import METHODS, Edit, LogitShift, Observe, Reweight
from lime_xai.model.differentiable import ALLOWED, WIDTHS, _distance, check_gradient, makeup_of
from lime_xai.model.replay import Replayer

NO_GRADIENT = ("feature_ablation", "attention_rollout")
LRP = ("attnlrp", "cplrp", "gradient_input")
GRADIENT = (*LRP, "saliency", "input_x_gradient", "integrated_gradients", "gradient_shap")
BY_GRADIENT = (
    Edit(),
    Edit(direction="backward"),
    Edit.paper("cache"),
    Observe(),
    Reweight(direction="backward"),
)
SETTINGS = {"max_new_tokens": 2, "do_sample": False}


class Rounded(nn.Module):
    """A linear layer whose inputs are rounded, as quantised kernels do: rounding has no gradient."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        step = inputs.detach().abs().amax() / 127
        return self.inner((inputs / step).round() * step)


def rounded():
    model, inputs, _ = FAMILIES["llava"].build()
    for layer in model.get_decoder().layers:
        layer.mlp.down_proj, layer.self_attn.o_proj = Rounded(layer.mlp.down_proj), Rounded(layer.self_attn.o_proj)
    return model, inputs


def int8():
    model, inputs, _ = FAMILIES["llava"].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8), inputs


def prompt_call(model, inputs):
    prompt = lime_xai.read_prompt(model, inputs)
    return prompt.replayer, prompt.recording().calls[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_passes(name, dtype):
    model, inputs, _ = FAMILIES[name].build()
    model = model.to(dtype)
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    try:
        replayer, call = prompt_call(model, inputs)
    except ValueError as error:
        pytest.skip(str(error)[:60])
    check_gradient(replayer, call)
    if dtype == torch.float32:
        assert _distance(replayer, call, half=False) < 0.01


def test_the_probe_runs_once_per_model_and_dtype(monkeypatch):
    model, inputs, _ = FAMILIES["llava"].build()
    runs = []
    original = Replayer.run

    def counted(self, call, embeddings, *args, **kwargs):
        runs.append(embeddings.shape[0])
        return original(self, call, embeddings, *args, **kwargs)

    monkeypatch.setattr(Replayer, "run", counted)
    for _ in range(3):
        lime_xai.attribute(model, inputs, 5)
    assert runs.count(16 * len(WIDTHS)) == 1
    lime_xai.attribute(model.double(), {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}, 5)
    assert runs.count(16 * len(WIDTHS)) == 2
    lime_xai.attribute(model.half(), {k: v.half() if v.is_floating_point() else v for k, v in inputs.items()}, 5)
    assert runs.count(2 * len(WIDTHS)) == 1


def detached(module, args, output):
    return output.detach()


def deep(kind, dtype):
    """A LLaVA of 16 layers, one of which has a part without a gradient, and the name of that part."""
    torch.manual_seed(0)
    model = random_llava(Shape(32, 64, 16, 4, 2, image=8, text=6, vocabulary=100), dtype=dtype)
    layer = model.get_decoder().layers[9]
    name = "layers.9.mlp.down_proj"
    if kind == "rounded":
        layer.mlp.down_proj = Rounded(layer.mlp.down_proj)
    elif kind == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer.mlp = torch.ao.quantization.quantize_dynamic(layer.mlp, {nn.Linear}, dtype=torch.qint8)
        name = "layers.9.mlp.gate_proj"
    elif kind == "activation":
        layer.mlp.act_fn.register_forward_hook(detached)
        name = "layers.9.mlp.act_fn"
    else:
        layer.self_attn.o_proj.register_forward_hook(detached)
        name = "layers.9.self_attn.o_proj"
    return model, prompt_of(model, Shape(32, 64, 16, 4, 2, image=8, text=6, vocabulary=100)), name


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, dtype) for kind in ("rounded", "activation", "attention") for dtype in (torch.float32, torch.bfloat16)]
    + [("int8", torch.float32)],
    ids=str,
)
def test_one_layer_of_many_without_a_gradient_is_named(kind, dtype):
    """Compared over the whole decoder, derivatives and differences agree well enough."""
    model, inputs, name = deep(kind, dtype)
    with pytest.raises(NotImplementedError, match=rf"\({name}.*: the output depends on the input, and has no gradient"):
        lime_xai.attribute(model, inputs, 7)
    for policy in (Edit(), Edit.paper("cache")):
        with pytest.raises(NotImplementedError, match=name):
            lime_xai.steer(model, inputs, policy, **SETTINGS)


def quantised_in_place(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.ao.quantization.quantize_dynamic(model.get_decoder(), {nn.Linear}, dtype=torch.qint8, inplace=True)


def hooked(model):
    model.get_decoder().layers[0].mlp.register_forward_hook(detached)


def patched(model):
    mlp = model.get_decoder().layers[0].mlp
    plain = mlp.forward
    mlp.forward = lambda hidden: plain(hidden).detach()


@pytest.mark.parametrize("change", [quantised_in_place, hooked, patched])
def test_a_model_that_was_changed_after_the_check_is_checked_again(change):
    model, inputs, _ = FAMILIES["llava"].build()
    lime_xai.attribute(model, inputs, 7)
    lime_xai.steer(model, inputs, Edit(), **SETTINGS)
    change(model)
    with pytest.raises(NotImplementedError, match="are not the derivatives"):
        lime_xai.attribute(model, inputs, 7)
    with pytest.raises(NotImplementedError):
        lime_xai.steer(model, inputs, Edit(), **SETTINGS)


def test_calls_of_ours_leave_the_makeup_of_a_model():
    model, inputs, _ = FAMILIES["llava"].build()
    before = makeup_of(model.get_decoder())
    seen = []

    class Seeing(Observe):
        def step(self, step):
            seen.append(makeup_of(model.get_decoder()))
            return super().step(step)

    lime_xai.attribute(model, inputs, 7)
    lime_xai.steer(model, inputs, [Seeing(), Edit()], **SETTINGS)
    assert seen
    assert {*seen, makeup_of(model.get_decoder())} == {before}


def test_hooks_of_the_probe_are_taken_away():
    model, inputs, _ = FAMILIES["llava"].build()
    lime_xai.attribute(model, inputs, 7)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.get_decoder().modules())


@pytest.mark.parametrize("make", [int8, rounded])
@pytest.mark.parametrize("method", GRADIENT)
def test_missing_gradients_are_refused(make, method):
    model, inputs = make()
    with pytest.raises(NotImplementedError, match=r"are not the derivatives of what it computes.*feature_ablation"):
        lime_xai.attribute(model, inputs, 7, method)


@pytest.mark.parametrize("make", [int8, rounded])
@pytest.mark.parametrize("policy", BY_GRADIENT, ids=repr)
def test_policies_refuse_them_too(make, policy):
    model, inputs = make()
    with pytest.raises(NotImplementedError):
        lime_xai.steer(model, inputs, policy, **SETTINGS)


@pytest.mark.parametrize("make", [int8, rounded])
def test_what_needs_no_gradient_works(make):
    model, inputs = make()
    for method in NO_GRADIENT:
        assert method in METHODS
        lime_xai.attribute(model, inputs, 7, method)
    for policy in (LogitShift({5: 1.0}), "contrast", "plausible", "uniform_gain"):
        lime_xai.steer(model, inputs, policy, **SETTINGS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_gradient_that_ends_in_the_last_layer_is_found_in_half_precision_too(dtype):
    model, inputs, _ = FAMILIES["llava"].build()
    model = model.to(dtype)
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}

    def cut(module, args, output):
        return output.detach()

    with (
        model.get_decoder().norm.register_forward_hook(cut),
        pytest.raises(NotImplementedError, match=r"\(norm: the output depends on the input, and has no gradient"),
    ):
        lime_xai.attribute(model, inputs, 7)


def test_the_distance_of_a_missing_gradient_is_far_from_what_is_allowed():
    model, inputs = int8()
    assert _distance(*prompt_call(model, inputs), half=False) > 2 * ALLOWED


# Compiled modules ----------------------------------------------------------------------------------------------------


def compile_part(model, part):
    decoder = model.get_decoder()
    target = {
        "model": model,
        "inner model": model.model,
        "decoder": decoder,
        "layer": decoder.layers[1],
        "mlp": decoder.layers[0].mlp,
    }[part]
    target.compile(backend="eager")


@pytest.mark.parametrize("part", ["model", "inner model", "decoder", "layer", "mlp"])
@pytest.mark.parametrize("call", ["attribute", "steer", "routes", "steering", "calibrate"])
def test_compiled_modules_are_refused(part, call):
    model, inputs, _ = FAMILIES["llava"].build()
    compile_part(model, part)
    with pytest.raises(ValueError, match=r"compiled in part.*_compiled_call_impl = None"):
        call_entry(call, model, inputs)


def test_a_compiled_forward_is_refused():
    model, inputs, _ = FAMILIES["llava"].build()
    model.forward = torch.compile(model.forward, backend="eager")
    with pytest.raises(ValueError, match="compiled in part"):
        lime_xai.attribute(model, inputs)


@pytest.mark.parametrize("by", ["script", "trace"])
@pytest.mark.parametrize("call", ["attribute", "steer", "routes"])
def test_modules_of_torch_jit_are_refused(by, call):
    """Rules do not reach inside: relevance was another one, or hooks raised torch's own error."""
    model, inputs, _ = FAMILIES["llava"].build()
    mlp = model.get_decoder().layers[1].mlp
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if by == "script":
            mlp.down_proj = torch.jit.script(mlp.down_proj)
        else:
            example = torch.zeros(1, 3, mlp.down_proj.in_features)
            mlp.down_proj = torch.jit.trace(mlp.down_proj, example)
    with pytest.raises(
        ValueError, match=r"compiled in part \(model.language_model.layers.1.mlp.down_proj\).*torch.jit"
    ):
        call_entry(call, model.eval(), inputs)


def test_a_compiled_tower_does_no_harm():
    model, inputs, _ = FAMILIES["llava"].build()
    expected = lime_xai.attribute(model, inputs, 7).relevance
    model.model.vision_tower.compile(backend="eager")
    torch.testing.assert_close(lime_xai.attribute(model, inputs, 7).relevance, expected)


def test_the_advice_works():
    model, inputs, _ = FAMILIES["llava"].build()
    expected = lime_xai.attribute(model, inputs, 7).relevance
    compile_part(model, "layer")
    model.get_decoder().layers[1]._compiled_call_impl = None
    torch.testing.assert_close(lime_xai.attribute(model, inputs, 7).relevance, expected)

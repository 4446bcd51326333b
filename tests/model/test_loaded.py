"""Models whose weights are elsewhere, and models inside wrappers of other libraries."""

import pytest
import torch
from support.families import FAMILIES
from support.states import hooks_of
from torch import nn

import lime_xai

CALLS = {
    "attribute": lambda model, inputs: lime_xai.attribute(model, inputs),
    "compare": lambda model, inputs: lime_xai.compare_attributions(model, inputs, "attnlrp", progress=False),
    "routes": lambda model, inputs: lime_xai.routes(model, inputs),
    "steer": lambda model, inputs: lime_xai.steer(model, inputs, max_new_tokens=1),
    "calibrate": lambda model, inputs: lime_xai.calibrate(model, [inputs], progress=False),
    "read_prompt": lambda model, inputs: lime_xai.read_prompt(model, inputs),
    "audit": lambda model, inputs: lime_xai.audit(model),
}


@pytest.fixture
def llava():
    return FAMILIES["llava"].build()[:2]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", ["all", "one layer"])
def test_a_model_on_the_meta_device(call, where, llava):
    model, inputs = llava
    (model if where == "all" else model.get_decoder().layers[1]).to("meta")
    for given in (inputs, {name: value.to("meta") for name, value in inputs.items()}):
        with pytest.raises(ValueError, match=r"on the meta device \(.*load them with from_pretrained"):
            CALLS[call](model, given)
    assert hooks_of(model) == []


def test_a_prompt_of_a_model_that_was_moved_to_the_meta_device(llava):
    model, inputs = llava
    prompt = lime_xai.read_prompt(model, inputs)
    model.to("meta")
    with pytest.raises(ValueError, match="on the meta device"):
        lime_xai.attribute(model, prompt)


@pytest.mark.parametrize("policy", ["constant", "reweight"])
def test_policies_with_a_calibration_on_the_meta_device(policy, llava):
    model, inputs = llava
    found = lime_xai.calibrate(model, [inputs], max_new_tokens=1, progress=False)
    made = {"constant": lime_xai.Constant(found), "reweight": lime_xai.Reweight(1.0, found)}[policy]
    with pytest.raises(ValueError, match="on the meta device"):
        lime_xai.steer(model.to("meta"), inputs, made, max_new_tokens=1)


@pytest.mark.parametrize("call", CALLS)
def test_an_offloaded_model(call, llava):
    accelerate = pytest.importorskip("accelerate")
    model, inputs = llava
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"are offloaded \(.*load the model without offloading"):
        CALLS[call](model, inputs)


class Peft(nn.Module):
    """A wrapper with an adapter, as PEFT's."""

    def __init__(self, model):
        super().__init__()
        self.base_model = model

    def get_base_model(self):
        return self.base_model


class Compiled(nn.Module):
    """A wrapper as torch.compile's."""

    def __init__(self, model):
        super().__init__()
        self._orig_mod = model


class Pipeline:
    def __init__(self, model):
        self.model = model


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("wrapper", "advice"),
    [
        (Peft, r"found Peft\. Pass model\.get_base_model\(\)"),
        (Compiled, r"found Compiled\. Pass the model inside it, model\._orig_mod\."),
        (nn.DataParallel, r"found DataParallel\. Pass the model inside it, model\.module\."),
        (Pipeline, r"found Pipeline\. Pass the model inside it, model\.model\."),
    ],
)
def test_a_wrapped_model_is_told_how_to_get_out(call, wrapper, advice, llava):
    model, inputs = llava
    with pytest.raises(ValueError, match=advice):
        CALLS[call](wrapper(model), inputs)


def test_the_base_model_of_lora_gives_what_the_merged_model_gives(llava):
    peft = pytest.importorskip("peft")
    model, inputs = llava
    targets = ["q_proj", "v_proj", "down_proj", "gate_proj"]
    wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=targets)).eval()
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    with pytest.raises(ValueError, match=r"found PeftModel\. Pass model\.get_base_model\(\)"):
        lime_xai.attribute(wrapped, inputs, 7)
    asked = {"max_new_tokens": 3, "do_sample": False}
    found = lime_xai.attribute(wrapped.get_base_model(), inputs, 7)
    steered = lime_xai.steer(wrapped.get_base_model(), inputs, **asked).sequences
    merged = wrapped.merge_and_unload()
    expected = lime_xai.attribute(merged, inputs, 7)
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-4, atol=1e-5)
    assert torch.equal(steered, lime_xai.steer(merged, inputs, **asked).sequences)


def test_weights_quantised_by_torchao_are_calibrated():
    pytest.importorskip("torchao")
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    from lime_xai.storage.weights import weights_hash

    models = [FAMILIES["llava"].build(seed)[:2] for seed in (0, 0, 1)]
    for model, _ in models:
        quantize_(model.get_decoder(), Int8WeightOnlyConfig())
    hashes = [weights_hash(model) for model, _ in models]
    assert hashes[0] == hashes[1] != hashes[2]
    model, inputs = models[0]
    found = lime_xai.calibrate(model, [inputs], max_new_tokens=2, gains=False, progress=False)
    assert found.weights == hashes[0]
    lime_xai.steer(model, inputs, lime_xai.Reweight(1.0, found), max_new_tokens=1)

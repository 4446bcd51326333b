"""What must hold on a CUDA device: same answers as on the CPU, nothing moved, no host in the loop.

Models are in float64, because convolutions of a device may use TF32 in float32. Numbers agree to ``TOLERANCE`` only:
transformers' normalisation layers compute in float32 whatever the dtype of the model.
"""

import copy
import warnings
from pathlib import Path

import pytest
import torch
from support.dispatched import parts_of
from support.families import FAMILIES, batch
from support.policy_forms import FORMS, outcome
from support.words import numbered_tokenizer

import lime_rules
import lime_xai
from lime_xai import METHODS, Contrast, Edit
from lime_xai.evaluation.conformance.suite import check_conformance

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]

TOLERANCE = 1e-5

MEASURED = {"llava": "image", "qwen2_5_vl": "image", "gemma3": "image", "qwen2_audio": "audio"}
"""Families of which every method and policy is compared with the CPU, and what they perceive."""


def on(device, model, inputs, dtype=torch.float64):
    moved = {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}
    return copy.deepcopy(model).to(device, dtype), moved


@pytest.mark.parametrize("family", MEASURED)
@pytest.mark.parametrize("method", METHODS)
def test_relevance_is_that_of_the_cpu(method, family):
    model, inputs, _ = FAMILIES[family].build()

    def relevance(device):
        return outcome(lambda: lime_xai.attribute(*on(device, model, inputs), target=7, method=method).relevance)

    wanted, found = relevance("cpu"), relevance("cuda")
    if isinstance(wanted, tuple):
        assert found == wanted
    else:
        assert torch.allclose(found.cpu(), wanted, atol=TOLERANCE)


@pytest.mark.parametrize("family", MEASURED)
@pytest.mark.parametrize("name", FORMS)
def test_a_steered_answer_is_that_of_the_cpu(name, family):
    model, inputs, _ = FAMILIES[family].build()

    def answer(device):
        moved, given = on(device, model, inputs)
        policy = FORMS[name](moved, MEASURED[family])
        return outcome(
            lambda: lime_xai.steer(moved, given, policy, max_new_tokens=4, min_new_tokens=4, do_sample=False)
        )

    wanted, found = answer("cpu"), answer("cuda")
    if isinstance(wanted, tuple):
        assert found == wanted
        return
    assert found.sequences.is_cuda
    assert torch.equal(found.sequences.cpu(), wanted.sequences)
    for step, other in zip(found.trace.steps, wanted.trace.steps, strict=True):
        assert step.losses is None or step.losses.is_cuda
        if step.losses is not None:
            assert torch.allclose(step.losses.cpu(), other.losses, atol=TOLERANCE)


@pytest.mark.parametrize("name", FORMS)
def test_beams_of_a_batch_are_those_of_the_cpu(name):
    model, inputs, _ = batch("llava", 2)
    settings = {"max_new_tokens": 3, "num_beams": 2, "do_sample": False}

    def answer(device):
        moved, given = on(device, model, inputs)
        return outcome(lambda: lime_xai.steer(moved, given, FORMS[name](moved, "image"), **settings).sequences.cpu())

    wanted, found = answer("cpu"), answer("cuda")
    assert found == wanted if isinstance(wanted, tuple) else torch.equal(found, wanted)


@pytest.mark.parametrize("family", MEASURED)
def test_a_contrast_with_other_inputs_is_that_of_the_cpu(family):
    model, inputs, _ = FAMILIES[family].build()
    halved = {key: value / 2 if value.is_floating_point() else value for key, value in inputs.items()}

    def answer(device):
        moved, given = on(device, model, inputs)
        _, changed = on(device, model, halved)
        asked = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
        return lime_xai.steer(moved, given, Contrast("counterfactual"), counterfactual=changed, **asked).sequences

    assert torch.equal(answer("cuda").cpu(), answer("cpu"))


@pytest.mark.parametrize("family", MEASURED)
def test_relevance_of_pixels_and_sound_is_that_of_the_cpu(family):
    model, inputs, _ = FAMILIES[family].build()

    def found(device):
        return outcome(lambda: lime_xai.attribute_pixels(*on(device, model, inputs), 20).relevance)

    wanted, got = found("cpu"), found("cuda")
    if isinstance(wanted, tuple):
        assert got == wanted
        return
    for key, relevance in wanted.items():
        assert torch.allclose(got[key].cpu(), relevance, atol=TOLERANCE), key


@pytest.mark.parametrize("policy", [None, "edit", "contrast"])
@pytest.mark.parametrize("family", MEASURED)
def test_an_explained_answer_is_that_of_the_cpu(family, policy):
    model, inputs, _ = FAMILIES[family].build()

    def found(device):
        settings = {"processor": numbered_tokenizer(), "max_new_tokens": 3, "do_sample": False}
        return outcome(lambda: lime_xai.explain(*on(device, model, inputs), policy, **settings))

    wanted, got = found("cpu"), found("cuda")
    if isinstance(wanted, tuple):
        assert got == wanted
        return
    assert got.text == wanted.text
    assert got.attribution.relevance.device.type == "cpu"
    assert torch.allclose(got.attribution.relevance, wanted.attribution.relevance, atol=TOLERANCE)
    probabilities = torch.tensor([[word.probability for word in one.words] for one in (got, wanted)])
    assert torch.allclose(*probabilities, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FORMS)
def test_a_policy_runs_in_every_dtype(name, dtype):
    model, inputs, _ = FAMILIES["llava"].build()
    model, inputs = on("cuda", model, inputs, dtype)
    output = lime_xai.steer(model, inputs, FORMS[name](model, "image"), max_new_tokens=4, do_sample=False)
    assert output.sequences.is_cuda
    losses = [step.losses for step in output.trace.steps if step.losses is not None]
    assert all(loss.is_cuda and bool(loss.isfinite().all()) for loss in losses)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.attributable])
def test_what_works_on_the_cpu_works_on_the_device(family):
    model, inputs, _ = FAMILIES[family].build()

    def statuses(device):
        moved, given = on(device, model, inputs, torch.float32)
        found = check_conformance(moved, given)
        return {name: (one.status, one.reason) for name, one in found.outcomes.items()}

    wanted, found = statuses("cpu"), statuses("cuda")
    assert {name: status for name, (status, _) in found.items()} == {name: s for name, (s, _) in wanted.items()}, found


def test_no_line_of_the_package_waits_for_the_host():
    """Torch warns of every wait at the line that caused it; transformers makes masks on the host in some releases."""
    model, inputs, _ = FAMILIES["llava"].build()
    model, inputs = on("cuda", model, inputs, torch.float32)
    seen = []

    class Watched(Edit):
        def step(self, step):
            torch.cuda.set_sync_debug_mode("warn")
            try:
                logits = super().step(step)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            seen.append(step.index)
            return logits

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lime_xai.steer(model, inputs, Watched(), max_new_tokens=3, do_sample=False)
        torch.cuda.set_sync_debug_mode("warn")
        torch.ones(1, device="cuda").item()  # a wait of this test, so that an empty list means something
        torch.cuda.set_sync_debug_mode("default")
    waits = [warning.filename for warning in caught if "synchronizing" in str(warning.message)]
    assert __file__ in waits
    packages = [Path(package.__file__).parent for package in (lime_xai, lime_rules)]
    assert not [name for name in waits if any(package in Path(name).parents for package in packages)]
    assert seen == [0, 1, 2]


def placed(family, places):
    """Return a model whose first decoder layer, and whose rest, accelerate has put on two places."""
    accelerate = pytest.importorskip("accelerate")
    model, inputs, _ = FAMILIES[family].build()
    moved = copy.deepcopy(model).to(torch.float64)
    first = moved.get_decoder().layers[0]
    device_map = {name: places[0] if part is first else places[1] for name, part in parts_of(moved).items()}
    return accelerate.dispatch_model(moved, device_map, main_device=0, force_hooks=True), on("cuda", model, inputs)[1]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("family", MEASURED)
def test_with_layers_left_in_the_host_s_memory_every_policy_is_refused_by_name(family, name):
    """Their weights are on the GPU during a call only: they are gone when relevance is propagated."""
    loaded, _, _ = FAMILIES[family].build()
    model, inputs = placed(family, (0, "cpu"))
    with pytest.raises(ValueError, match=r"are offloaded \(.*load the model without offloading"):
        lime_xai.steer(model, inputs, FORMS[name](loaded, MEASURED[family]), max_new_tokens=2, do_sample=False)


@pytest.mark.parametrize("places", [(0, 0), (0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("family", MEASURED)
def test_a_model_that_accelerate_spread_over_gpus_is_steered_as_on_the_cpu(family, name, places):
    if torch.cuda.device_count() <= max(places):
        pytest.skip(f"needs {max(places) + 1} GPUs, found {torch.cuda.device_count()}")
    model, inputs, _ = FAMILIES[family].build()
    policy = FORMS[name](copy.deepcopy(model).to(torch.float64), MEASURED[family])
    asked = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    wanted = outcome(lambda: lime_xai.steer(*on("cpu", model, inputs), policy, **asked).sequences)
    spread, given = placed(family, places)
    found = outcome(lambda: lime_xai.steer(spread, given, policy, **asked).sequences.cpu())
    assert found == wanted if isinstance(wanted, tuple) else torch.equal(found, wanted)

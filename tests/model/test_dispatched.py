"""Models that accelerate has dispatched (``device_map=``): every policy works, or is refused by name."""

import copy

import pytest
import torch
from support.dispatched import parts_of
from support.families import FAMILIES
from support.policy_forms import FORMS
from support.states import hooks_of

import lime_xai

accelerate = pytest.importorskip("accelerate")

ASKED = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
REFUSED = r"Weights of \w+ are offloaded \(.*load the model without offloading"


@pytest.fixture(scope="module")
def llava():
    return FAMILIES["llava"].build()[:2]


def dispatched(model, where, folder):
    """Return a copy of a model with accelerate's hooks, parts of it on disk."""
    moved = copy.deepcopy(model)
    parts = parts_of(moved)
    away = {
        "nothing": [],
        "last layer": [moved.get_decoder().layers[-1]],
        "tower": [moved.get_encoder(modality="image")],
        "all": list(parts.values()),
    }[where]
    places = {name: "disk" if any(part is one for one in away) else "cpu" for name, part in parts.items()}
    assert list(places.values()).count("disk") == len(away)
    return accelerate.dispatch_model(moved, places, main_device="cpu", offload_dir=folder, force_hooks=True)


@pytest.mark.parametrize("name", FORMS)
def test_with_hooks_and_all_weights_in_memory_every_policy_works(name, llava, tmp_path):
    model, inputs = llava
    policy = FORMS[name](model, "image")
    wanted = lime_xai.steer(model, inputs, policy, **ASKED).sequences
    moved = dispatched(model, "nothing", tmp_path)
    assert any(hasattr(module, "_hf_hook") for module in moved.modules())
    assert torch.equal(lime_xai.steer(moved, inputs, policy, **ASKED).sequences, wanted)
    assert any(hasattr(module, "_hf_hook") for module in moved.modules())
    assert hooks_of(moved) == []


@pytest.mark.parametrize("where", ["last layer", "tower", "all"])
@pytest.mark.parametrize("name", FORMS)
def test_with_weights_on_disk_every_policy_is_refused_by_name(name, where, llava, tmp_path):
    model, inputs = llava
    policy = FORMS[name](model, "image")
    moved = dispatched(model, where, tmp_path)
    plain = moved.generate(**inputs, **ASKED)
    with pytest.raises(ValueError, match=REFUSED):
        lime_xai.steer(moved, inputs, policy, **ASKED)
    assert torch.equal(moved.generate(**inputs, **ASKED), plain)
    assert hooks_of(moved) == []


@pytest.mark.parametrize("name", FORMS)
def test_with_cpu_offload_every_policy_is_refused_by_name(name, llava):
    model, inputs = llava
    policy = FORMS[name](model, "image")
    moved = accelerate.cpu_offload(copy.deepcopy(model), execution_device=torch.device("cpu"))
    with pytest.raises(ValueError, match=REFUSED):
        lime_xai.steer(moved, inputs, policy, **ASKED)


@pytest.mark.parametrize(("where", "works"), [("cpu", True), ("disk", False)])
def test_a_folder_that_is_loaded_with_a_device_map(where, works, llava, tmp_path):
    model, inputs = llava
    model.save_pretrained(tmp_path / "model")
    last = next(name for name, part in parts_of(model).items() if part is model.get_decoder().layers[-1])
    device_map = {**dict.fromkeys(parts_of(model), "cpu"), last: where}
    loaded = type(model).from_pretrained(tmp_path / "model", device_map=device_map, offload_folder=tmp_path / "away")
    loaded.eval()
    if works:
        wanted = lime_xai.steer(model, inputs, "edit", **ASKED).sequences
        assert torch.equal(lime_xai.steer(loaded, inputs, "edit", **ASKED).sequences, wanted)
        return
    with pytest.raises(ValueError, match=REFUSED):
        lime_xai.steer(loaded, inputs, "edit", **ASKED)

import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest
import torch

from benchmarks.worlds.scene import SUBJECT
from benchmarks.worlds.training import COURSES
from lime_rules import roles
from lime_xai.worlds import WORLDS
from lime_xai.worlds.scene.text import build_processor
from lime_xai.worlds.shared import measuring

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def untrained():
    """A scene-world model with random weights, and its processor."""
    return SUBJECT.build_model(seed=1).eval(), build_processor()


@pytest.fixture(scope="session")
def untrained_folder(untrained, tmp_path_factory):
    """The untrained model as a folder, for commands."""
    path = tmp_path_factory.mktemp("models") / "untrained"
    for part in untrained:
        part.save_pretrained(path)
    (path / "recipe.json").write_text(json.dumps({"image_cooccurrence": 0.0}))
    return path


@pytest.fixture(scope="session", params=WORLDS)
def each_world(request):
    """Every registered world."""
    return WORLDS[request.param]


@pytest.fixture(scope="session")
def each_untrained(each_world):
    """A model of it with random weights, and its processor."""
    subject = COURSES[each_world.name].subject
    return subject.build_model(seed=1).eval(), subject.build_processor()


@pytest.fixture(scope="session")
def each_folder(each_world, each_untrained, tmp_path_factory):
    """The untrained model as a folder, for commands."""
    path = tmp_path_factory.mktemp("models") / f"untrained-{each_world.name}"
    for part in each_untrained:
        part.save_pretrained(path)
    (path / "recipe.json").write_text(json.dumps({"image_cooccurrence": 0.0, "seed": 1}))
    return path


@pytest.fixture(scope="module")
def short_captions():
    """An untrained model never ends a caption: a few tokens, and fewer for the second sentence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "CAPTION_TOKENS", 4)
        patch.setattr(measuring, "DETAIL_TOKENS", 2)
        yield


def _forward_in_own_dtype(norm, kind):
    """The forward of a normalisation without transformers' detour over float32."""
    centred = kind.startswith("layer_norm")
    shift = 1.0 if kind == "rms_norm_plus_one" else 0.0
    epsilon = next(vars(norm)[name] for name in ("variance_epsilon", "eps") if name in vars(norm))

    def forward(x):
        x = x - x.mean(-1, keepdim=True) if centred else x
        x = x / (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
        if getattr(norm, "weight", None) is not None:
            x = x * (norm.weight + shift)
        return x if getattr(norm, "bias", None) is None else x + norm.bias

    return forward


@pytest.fixture
def float64_norms(monkeypatch):
    """Turn a model into float64 throughout: transformers' norms would otherwise compute in float32."""

    def convert(model):
        model.double()
        decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
        for name, role in roles(decoder).items():
            if role.kind == "norm":
                norm = decoder.get_submodule(name)
                monkeypatch.setattr(norm, "forward", _forward_in_own_dtype(norm, role.detail), raising=False)
        return model

    return convert


@pytest.fixture
def double(float64_norms, monkeypatch):
    """Turn a model and its inputs into float64, throughout: some compute rotary embeddings in float32."""

    def convert(model, inputs):
        if model.config.model_type == "qwen3_omni_moe_thinker":
            pytest.skip("transformers merges its float32 features into float64 embeddings; tested in float32")
        if type(model)._can_set_experts_implementation():
            model.set_experts_implementation("eager")  # transformers' fast ones know no float64
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
        monkeypatch.setattr(torch, "float", torch.double)
        values = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
        return float64_norms(model), values

    return convert

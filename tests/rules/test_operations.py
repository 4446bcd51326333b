"""Operations outside modules that no rule sees are listed; linear code and covered modules are not."""

import pytest
import torch
from support.families import FAMILIES
from torch import nn

import lime_xai
from lime_rules.operations import Operation, unseen_operations

INLINE = {"qwen3_5_moe": {"sigmoid", "softplus", "mul"}, "gemma4": {"mul"}}


@pytest.mark.parametrize("name", FAMILIES)
def test_families(name):
    model, _, _ = FAMILIES[name].build()
    before = [(len(m._forward_hooks), len(m._forward_pre_hooks), vars(m).get("config")) for m in model.modules()]
    report = lime_xai.audit(model)
    names = {found.name for found in report.operations}
    assert INLINE.get(name, set()) <= names
    assert bool(names) == (name in INLINE), report.summary()
    assert report.complete == (FAMILIES[name].covered and name not in INLINE)
    after = [(len(m._forward_hooks), len(m._forward_pre_hooks), vars(m).get("config")) for m in model.modules()]
    assert before == after


def patched(function):
    model, _, _ = FAMILIES["llava"].build()
    decoder = model.get_decoder()
    mlp = decoder.layers[1].mlp
    inner = mlp.forward
    mlp.forward = lambda x: function(inner(x), x)
    return unseen_operations(decoder, decoder.get_input_embeddings()(torch.tensor([[5, 6]])))


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (lambda y, x: y * torch.sigmoid(x), ["sigmoid"]),
        (lambda y, x: torch.tanh(y), ["tanh"]),
        (lambda y, x: y / (x + 1), ["div"]),
        (lambda y, x: y @ x.transpose(1, 2) @ x, ["bmm"]),
        (lambda y, x: y.abs(), ["abs"]),
        (lambda y, x: y.softmax(-1), ["_softmax"]),
        (lambda y, x: y * 2 + x / 3 - x.mean(-1, keepdim=True), []),
        (lambda y, x: torch.cat([y[:, :1], x[:, 1:]], 1) @ torch.eye(32), []),
        (lambda y, x: torch.where(torch.arange(2)[:, None] > 0, y, x).masked_fill(torch.zeros(2, 32) > 0, 0), []),
        (lambda y, x: y + torch.zeros_like(x).sigmoid(), []),
    ],
)
def test_inline_code(function, names):
    found = patched(function)
    assert [one.name for one in found] == names
    assert all(one.module == "layers.1.mlp" for one in found)


def test_products_of_covered_modules_are_not_covered():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

        def forward(self, inputs_embeds, use_cache):
            return self.norm(inputs_embeds) * torch.sigmoid(self.inner(inputs_embeds))

    found = unseen_operations(Gated(), torch.randn(1, 2, 4))
    assert found == (Operation("", "sigmoid"), Operation("", "mul"))


def test_attribute_warns_of_operations_too():
    model, inputs, _ = FAMILIES["gemma4"].build()
    with pytest.warns(UserWarning, match="4 operations that no rule covers: mul"):
        lime_xai.attribute(model, inputs)
    assert "mul in the code of layers.0" in lime_xai.audit(model).summary()


def test_the_probe_names_the_culprit(monkeypatch):
    model, inputs, _ = FAMILIES["llava"].build()
    mlp = model.get_decoder().layers[1].mlp
    inner = mlp.forward
    monkeypatch.setattr(mlp, "forward", lambda x: inner(x) * torch.sigmoid(x))
    with pytest.raises(NotImplementedError, match=r"no rule covers; sigmoid in layers\.1\.mlp\. Use"):
        lime_xai.routes(model, inputs)

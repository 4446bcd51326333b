import copy
from collections import Counter

import pytest
import torch
from support.families import FAMILIES
from torch import nn

from lime_rules import CPLRP, AttnLRP, audit_decoder, roles
from lime_rules.ratios import NORM_RATIOS


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gets_its_roles(name):
    model, _, _ = FAMILIES[name].build()
    decoder = model.get_decoder()
    found = roles(decoder)
    audit = audit_decoder(decoder)
    assert found.keys() == dict(decoder.named_modules()).keys()
    assert (not audit.uncovered) == FAMILIES[name].covered, audit.summary()
    count = Counter(role.kind for role in found.values())
    assert count["attention"] >= 1
    assert count["gate"] == count["product"] + count["experts"]
    assert count["router"] == count["experts"]
    assert count["norm"] >= decoder.config.get_text_config().num_hidden_layers
    for path, module in decoder.named_modules():
        if FAMILIES[name].covered:
            last = path.rpartition(".")[2]
            assert ("norm" in last) == (found[path].kind == "norm"), path
            assert (last == "self_attn") == (found[path].kind == "attention"), path
            assert (last == "down_proj") == (found[path].kind == "product"), path
            assert not last.endswith("_proj") or found[path].kind in ("linear", "product"), path
            assert not isinstance(module, nn.Linear) or found[path].kind in ("linear", "product"), path


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_norm_of_a_family_computes_what_its_ratio_says(name, scale):
    model, _, _ = FAMILIES[name].build()
    decoder = model.get_decoder()
    seen = set()
    for path, role in roles(decoder).items():
        norm = decoder.get_submodule(path)
        if role.kind != "norm" or type(norm) in seen:
            continue
        seen.add(type(norm))
        weight = getattr(norm, "weight", None)
        if weight is not None:
            weight.data.uniform_(-1, 1)
        x = torch.randn(3, 8 if weight is None else len(weight)) * scale
        torch.testing.assert_close(NORM_RATIOS[role.detail].apply(norm, x), norm(x), rtol=1e-5, atol=1e-6)
    assert seen


UNCOVERED = {
    "qwen3_5_moe": {"Qwen3_5MoeGatedDeltaNet", "Conv1d", "Qwen3_5MoeRMSNormGated"},
    "mllama": {"MllamaCrossAttentionDecoderLayer"},
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_uncovered_modules_are_listed_by_class(name):
    model, _, _ = FAMILIES[name].build()
    assert {row.module for row in audit_decoder(model.get_decoder()).uncovered} == UNCOVERED[name]


class QuantisedLinear(nn.Module):
    def __init__(self, size, width):
        super().__init__()
        self.in_features, self.out_features = size, width
        self.register_buffer("packed", torch.randint(-8, 8, (width, size), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(width, 1, dtype=torch.float64))

    def forward(self, x):
        return x @ (self.packed * self.scale).T


class LoraLinear(nn.Module):
    def __init__(self, base, rank=2):
        super().__init__()
        self.base_layer = base
        self.in_features, self.out_features = base.in_features, base.out_features
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base.out_features, bias=False)})
        self.double()

    def forward(self, x):
        return self.base_layer(x) + self.lora_B["default"](self.lora_A["default"](x))


def test_quantised_and_lora_linears_are_linear(gated_mlp):
    mlp = gated_mlp()
    mlp.gate_proj = QuantisedLinear(6, 10)
    mlp.down_proj = LoraLinear(mlp.down_proj)
    found = roles(mlp)
    assert found["gate_proj"].kind == "linear"
    assert found["down_proj"].kind == "product"
    assert found["act_fn"].kind == "gate"
    assert {found[name].kind for name in found if name.startswith("down_proj.")} == {"transparent"}
    assert not audit_decoder(mlp).uncovered


def test_a_lora_linear_behind_a_product_halves_once(gated_mlp):
    mlp = gated_mlp(act=nn.Identity())
    mlp.act_fn = nn.ReLU()
    mlp.down_proj = LoraLinear(mlp.down_proj)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    with AttnLRP().context(mlp):
        output = mlp(x)
        relevance = (x * torch.autograd.grad(output.sum(), x)[0]).sum()
    torch.testing.assert_close(relevance, output.sum(), rtol=1e-10, atol=1e-10)


class FusedMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_up_proj = nn.Linear(6, 20, bias=False)
        self.down_proj = nn.Linear(10, 6, bias=False)
        self.activation_fn = nn.SiLU()
        self.double()

    def forward(self, x):
        gate, up = self.gate_up_proj(x).chunk(2, -1)
        return self.down_proj(up * self.activation_fn(gate))


def test_a_fused_gated_mlp_gets_the_rules_of_the_split_one(gated_mlp):
    fused, split = FusedMLP(), gated_mlp()
    split.gate_proj.weight.data, split.up_proj.weight.data = fused.gate_up_proj.weight.data.chunk(2)
    split.down_proj.weight.data = fused.down_proj.weight.data
    assert {name: role.kind for name, role in roles(fused).items()} == {
        "": "container",
        "gate_up_proj": "linear",
        "down_proj": "product",
        "activation_fn": "gate",
    }
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    for method in (AttnLRP, CPLRP):
        found = []
        for mlp in (fused, split):
            with method().context(mlp):
                found.append(torch.autograd.grad(mlp(x).sum(), x)[0])
        torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("names", [("w1", "w3", "w2"), ("gate", "up", "down")])
def test_other_names_of_gated_mlps_are_known(names):
    mlp = nn.ModuleDict({name: nn.Linear(4, 4) for name in names} | {"act": nn.GELU()})
    found = roles(mlp)
    assert found["act"] == type(found["act"])("gate", "gelu")
    assert found[names[2]].kind == "product"


class PlainMLP(nn.Sequential):
    def __init__(self, act):
        super().__init__(nn.Linear(6, 8, bias=False), act, nn.Linear(8, 6, bias=False))
        self.double()


def test_a_plain_mlp_has_an_activation_and_no_product():
    found = roles(PlainMLP(nn.GELU()))
    assert [found[name].kind for name in ("0", "1", "2")] == ["linear", "activation", "linear"]
    assert found["1"].detail == "gelu"


def test_two_blocks_may_share_one_activation():
    act = nn.GELU()
    shared = nn.Sequential(PlainMLP(act), PlainMLP(act))
    apart = copy.deepcopy(shared)
    apart[1][1] = nn.GELU()
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    found = []
    for model in (shared, apart):
        with AttnLRP().context(model):
            found.append(torch.autograd.grad(model(x).sum(), x)[0])
    assert torch.equal(*found)
    with torch.no_grad():
        assert not torch.equal(shared[1](x), x)


class Mystery(nn.Module):
    """A module nobody has a rule for."""

    def forward(self, x):
        return x.sin()


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x * y


class OwnParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(3))
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return self.gain * self.inner(x)


class Router(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3))

    def forward(self, x):
        return (x @ self.weight.T).softmax(-1)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Mystery(), "neither linear"),
        (nn.Tanh(), "neither linear"),
        (nn.Conv1d(3, 3, 1), "neither linear"),
        (nn.MaxPool2d(2), "neither linear"),
        (nn.AvgPool2d(2), "neither linear"),
        (Router(), "neither linear"),
        (TwoInputs(), "several inputs"),
        (nn.PReLU(), "neither linear"),
    ],
)
def test_unknown_modules_are_uncovered(module, reason):
    role = roles(nn.Sequential(nn.ReLU(), module))["1"]
    assert role.kind == "uncovered"
    assert reason in role.detail


def test_a_block_with_parameters_of_its_own_is_uncovered_but_its_children_are_not():
    found = roles(nn.Sequential(OwnParameters()))
    assert found["0"].kind == "uncovered"
    assert "gain" in found["0"].detail
    assert found["0.inner"].kind == "linear"


@pytest.mark.parametrize("module", [nn.Dropout(0.3), nn.Identity(), nn.Embedding(4, 3)])
def test_transparent_modules_are_transparent(module):
    assert roles(nn.Sequential(module))["0"].kind == "transparent"


def test_audit_counts_modules_and_names_rules():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.SiLU(), nn.Linear(4, 4), Mystery())
    audit = audit_decoder(model)
    lines = audit.summary().splitlines()
    assert [row.name for row in audit.rows] == ["0", "1", "2", "3", "4"]
    assert [row.rule for row in audit.rows] == ["", "NormRule", "ActivationRule", "", ""]
    assert [row.name for row in audit.uncovered] == ["4"]
    assert any(line.split()[:4] == ["2", "x", "Linear", "linear"] for line in lines)
    assert any(line.split()[:5] == ["1", "x", "SiLU", "activation", "ActivationRule"] for line in lines)
    assert lines[-1] == "1 modules without a rule"


def test_audit_names_the_rules_of_the_composite_it_is_given(llama):
    decoder = llama.get_decoder()
    for composite, rule in ((None, "ActivationRule"), (CPLRP(), "BlockRule")):
        rules = {row.name: row.rule for row in audit_decoder(decoder, composite).rows}
        assert rules["layers.0.mlp.act_fn"] == rule
        assert rules["layers.0.self_attn"] == "bilinear"
        assert rules["norm"] == "NormRule"
    assert audit_decoder(decoder).summary().endswith("every module is covered")

"""The composite for encoders, its audit, and Zennit's rules per call and at the first layer."""

import copy

import pytest
import torch
from support.rule_oracles import gamma_relevance
from torch import nn
from zennit.rules import Epsilon, Flat, Gamma, WSquare, ZBox

from lime_rules import AttnLRP, EncoderLRP, RelevanceForm, audit_encoder


class Tower(nn.Module):
    """A convolution, an activation that is called as a function, a class token and a linear layer."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 2, 2, bias=False)
        self.token = nn.Parameter(torch.randn(1, 4, 1))
        self.out = nn.Linear(4, 5, bias=False)
        self.unused = nn.Linear(4, 5)

    def forward(self, pixels):
        found = nn.functional.gelu(self.patches(pixels)).flatten(2)
        found = torch.cat([self.token, found], 2)
        self.unused(found.transpose(1, 2))
        return self.out(found.transpose(1, 2))[:, 1:]


def tower():
    torch.manual_seed(3)
    return Tower().double().requires_grad_(False)


def relevance(module, composite, pixels):
    with composite.context(module):
        leaf = pixels.clone().requires_grad_()
        output = module(leaf)
        weights = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
        return torch.autograd.grad(output, leaf, weights)[0], (output.detach() * weights)


def pixels(batch=1):
    return torch.randn(batch, 3, 4, 4, dtype=torch.float64)


def test_a_convolution_and_a_functional_activation_conserve():
    module, given = tower(), pixels()
    gradient, above = relevance(module, EncoderLRP(), given)
    torch.testing.assert_close((gradient * given).sum(), above.sum(), rtol=1e-12, atol=1e-12)


def test_without_rules_it_is_the_plain_gradient():
    module, given = tower(), pixels()
    found, _ = relevance(module, EncoderLRP("gradient_input"), given)
    leaf = given.clone().requires_grad_()
    output = module(leaf)
    weights = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    assert torch.equal(found, torch.autograd.grad(output, leaf, weights)[0])
    assert not torch.allclose(found, relevance(module, EncoderLRP(), given)[0])


def test_a_functional_activation_is_what_the_module_gives():
    torch.manual_seed(0)
    layer, given = nn.Linear(3, 3).double(), torch.randn(2, 3, dtype=torch.float64)

    class Called(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.layer, self.act = layer, kind

        def forward(self, x):
            return (
                nn.functional.gelu(self.layer(x), approximate="tanh") if self.act is None else self.act(self.layer(x))
            )

    def gradient(module):
        leaf = given.clone().requires_grad_()
        with EncoderLRP().context(module):
            return torch.autograd.grad(module(leaf).sum(), leaf)[0]

    torch.testing.assert_close(gradient(Called(None)), gradient(Called(nn.GELU("tanh"))), rtol=1e-12, atol=0)


def test_gamma_of_a_convolution_equals_the_oracle():
    module, given = nn.Conv2d(3, 4, 2, 2, bias=False).double(), pixels()
    with EncoderLRP(layer_map=[(nn.Conv2d, Gamma(0.3, stabilizer=1e-14))]).context(module):
        leaf = given.clone().requires_grad_()
        output = module(leaf)
        grad = torch.randn_like(output)
        found = given * torch.autograd.grad(output, leaf, grad)[0]
    weight = module.weight.flatten(1).tolist()
    for row in range(2):
        for column in range(2):
            part = (..., slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            above = (output * grad)[0, :, row, column].tolist()
            expected = gamma_relevance(weight, [0.0] * 4, given[part].flatten().tolist(), above, 0.3)
            torch.testing.assert_close(found[part].flatten(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("gamma", [{"patches": 0.3}, {"pa*": 0.3, "*": 0.0}, {"out": 0.0, "*": 0.3}])
def test_gamma_is_chosen_by_name(gamma):
    rules = EncoderLRP(gamma=gamma).rules(tower())
    assert isinstance(rules["patches"].rule, Gamma)
    assert rules["out"] is None


def test_epsilon_is_used_where_gamma_is_not():
    rules = EncoderLRP(gamma={"out": 0.1}, epsilon=0.5).rules(tower())
    assert isinstance(rules["patches"].rule, Epsilon)
    assert isinstance(rules["out"].rule, Gamma)


def test_a_layer_map_comes_before_gamma():
    rules = EncoderLRP(gamma=0.1, layer_map=[(nn.Linear, Epsilon())]).rules(tower())
    assert isinstance(rules["out"].rule, Epsilon)
    assert isinstance(rules["patches"].rule, Gamma)


@pytest.mark.parametrize("rule", [Flat, WSquare, lambda: ZBox(-3.0, 3.0)])
def test_the_first_layer_gives_relevance_to_pixels_that_are_zero(rule):
    module, given = tower(), pixels()
    given[0, :, 0, 0] = 0
    composite = EncoderLRP(first=rule())
    composite.first_layers = frozenset({"patches"})
    found, above = relevance(module, composite, given)
    assert found[0, :, 0, 0].all()
    torch.testing.assert_close(found.sum(), above.sum(), rtol=1e-3, atol=1e-5)


def test_flat_spreads_the_relevance_of_a_patch_evenly():
    module, given = tower(), pixels()
    composite = EncoderLRP(first="flat")
    composite.first_layers = frozenset({"patches"})
    found, _ = relevance(module, composite, given)
    own, _ = relevance(module, EncoderLRP(), given)
    for row in range(2):
        for column in range(2):
            part = (0, slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            expected = (own * given)[part].sum() / 12
            torch.testing.assert_close(found[part], expected.expand(3, 2, 2), rtol=1e-4, atol=1e-6)


def test_a_module_that_runs_twice_keeps_both_inputs():
    torch.manual_seed(1)
    layer = nn.Linear(3, 3, bias=False).double().requires_grad_(False)
    one, two = torch.randn(2, 1, 3, dtype=torch.float64)

    def alone(given):
        leaf = given.clone().requires_grad_()
        with AttnLRP(layer_map=[(nn.Linear, Gamma())]).context(layer):
            return torch.autograd.grad(layer(leaf).sum(), leaf)[0]

    leaves = [given.clone().requires_grad_() for given in (one, two)]
    with AttnLRP(layer_map=[(nn.Linear, Gamma())]).context(layer):
        found = torch.autograd.grad(layer(leaves[0]).sum() + layer(leaves[1]).sum(), leaves)
    assert torch.equal(found[0], alone(one))
    assert torch.equal(found[1], alone(two))


def test_the_audit_lists_what_the_input_passes():
    module = tower()
    audit = audit_encoder(module, EncoderLRP(gamma=0.1), lambda change: [module(change(pixels()))])
    found = {row.name: row.rule for row in audit.rows}
    assert found["patches"] == found["out"] == "GradientForm"
    assert "unused" not in found
    assert audit.complete, audit.summary()


def test_the_audit_names_a_functional_activation_where_it_has_no_rule():
    module = tower()
    audit = audit_encoder(module, EncoderLRP("gradient_input"), lambda change: [module(change(pixels()))])
    assert [one.name for one in audit.operations] == ["gelu"]


def test_a_composite_can_be_copied():
    composite = EncoderLRP("cplrp", gamma={"*": 0.2}, first="wsquare")
    twin = copy.copy(composite)
    twin.first_layers = frozenset({"patches"})
    assert composite.first_layers == frozenset()
    assert isinstance(twin.rules(tower())["patches"], RelevanceForm)
    assert twin.attention_ratios == composite.attention_ratios


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"base": "lrp"}, "base is 'lrp'"),
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"epsilon": {"*": float("nan")}}, "epsilon is"),
        ({"gamma": True}, "gamma is True"),
        ({"first": "square"}, "first is 'square'; expected one of flat, wsquare"),
    ],
)
def test_bad_settings_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        EncoderLRP(**arguments)


@pytest.mark.parametrize("base", [True, None, 3, nn.Linear(2, 2), ["attnlrp"]])
def test_a_base_of_another_kind_is_refused(base):
    with pytest.raises(TypeError, match=r"base is .* or a composite"):
        EncoderLRP(base)


def test_gamma_refuses_a_layer_without_weights():
    class Packed(nn.Module):
        in_features, out_features = 3, 3

        def forward(self, x):
            return 2 * x

    with pytest.raises(ValueError, match=r"gamma and epsilon need the weights .* 0 is Packed"):
        EncoderLRP(gamma=0.1).rules(nn.Sequential(Packed()))

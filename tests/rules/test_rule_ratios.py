import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from support.rule_oracles import ACTIVATION_MODULES, NORM_MODULES, SCALAR_ACTIVATIONS, norm_gradient, oracle_for
from torch import nn

from lime_rules import ActivationRule, AttnLRP, NormRule, ProductRule, ScaleInputRule
from lime_rules.ratios import ACTIVATION_RATIOS, NORM_RATIOS, match_activation, match_norm

numbers = st.floats(-30, 30, allow_subnormal=False)
vectors = st.lists(numbers, min_size=2, max_size=7)
few = settings(max_examples=25, deadline=None, derandomize=True)


def ruled(rule, module, x, grad):
    """Output of ``module`` and its input's gradient with ``rule`` attached."""
    x = torch.as_tensor(x, dtype=torch.float64).requires_grad_()
    hook = rule.copy()
    handles = hook.register(module)
    output = module(x)
    found = torch.autograd.grad(output, x, torch.as_tensor(grad, dtype=torch.float64))[0]
    handles.remove()
    return output.detach(), found


@pytest.mark.parametrize("kind", ACTIVATION_RATIOS)
def test_activation_rule_multiplies_by_output_over_input(kind):
    scalar = oracle_for(SCALAR_ACTIVATIONS, kind, "ACTIVATION_RATIOS")
    x = [-9.0, -2.5, -0.3, -1e-4, 1e-4, 0.7, 3.0, 11.0]
    grad = [1.0, -2.0, 0.5, 3.0, -1.0, 1.5, -0.25, 4.0]
    _, found = ruled(ActivationRule(kind), ACTIVATION_MODULES[kind](), x, grad)
    expected = [scalar(value) / value * upper for value, upper in zip(x, grad, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ACTIVATION_RATIOS)
def test_activation_rule_at_zero_is_the_derivative(kind):
    oracle_for(ACTIVATION_MODULES, kind, "ACTIVATION_RATIOS")
    module = ACTIVATION_MODULES[kind]()
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    derivative = torch.autograd.grad(module(zero).sum(), zero)[0]
    _, found = ruled(ActivationRule(kind), module, [0.0], [1.0])
    assert torch.equal(found, derivative)


@pytest.mark.parametrize("kind", ACTIVATION_RATIOS)
def test_activation_is_recognised_by_what_it_does(kind):
    assert match_activation(oracle_for(ACTIVATION_MODULES, kind, "ACTIVATION_RATIOS")()) == kind


@pytest.mark.parametrize(
    "module", [nn.Tanh(), nn.Sigmoid(), nn.Softmax(-1), nn.ReLU6(), nn.LeakyReLU(), nn.MaxPool2d(2), nn.GLU()]
)
def test_other_functions_are_not_taken_for_activations(module):
    assert match_activation(module) is None


@pytest.mark.parametrize("kind", NORM_RATIOS)
def test_norm_rule_holds_the_scale_fixed(kind):
    module = oracle_for(NORM_MODULES, kind, "NORM_RATIOS")(5)
    x, grad = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    _, found = ruled(NormRule(kind), module, x, grad)
    expected = [norm_gradient(module, a, b) for a, b in zip(x.tolist(), grad.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", NORM_RATIOS)
def test_norm_is_recognised_by_what_it_does(kind):
    assert match_norm(oracle_for(NORM_MODULES, kind, "NORM_RATIOS")(6)) == kind


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.LayerNorm(32), "layer_norm"),
        (nn.LayerNorm(32, bias=False), "layer_norm"),
        (nn.LayerNorm(32, elementwise_affine=False), "layer_norm_weightless"),
        (nn.RMSNorm(32, eps=1e-5), "rms_norm"),
        (nn.RMSNorm(32), "rms_norm"),
        (nn.RMSNorm(32, elementwise_affine=False), "rms_norm_weightless"),
        (nn.LayerNorm(32).bfloat16(), "layer_norm"),
        (nn.RMSNorm(32, eps=1e-5).half(), "rms_norm"),
        (nn.PReLU(), None),
        (nn.AvgPool2d(2), None),
        (nn.AvgPool1d(2), None),
        (nn.Tanh(), None),
    ],
)
def test_torch_modules_are_recognised(module, kind):
    assert match_norm(module) == kind


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e3])
@pytest.mark.parametrize("module", [nn.RMSNorm(8), nn.RMSNorm(8, eps=1e-5), nn.LayerNorm(8)])
def test_norm_ratio_knows_epsilon_however_small_the_input(module, scale):
    x = torch.randn(4, 8) * scale
    torch.testing.assert_close(NORM_RATIOS[match_norm(module)].apply(module, x), module(x), rtol=1e-5, atol=1e-9)


def test_norm_on_the_meta_device_is_refused():
    with pytest.raises(ValueError, match="meta device"):
        match_norm(nn.LayerNorm(4, device="meta"))


def test_norm_rule_computes_in_float32_and_keeps_the_dtype():
    module = nn.RMSNorm(64, eps=1e-6).bfloat16()
    x = (torch.randn(1, 64) * 30).bfloat16().requires_grad_()
    hook = NormRule("rms_norm")
    handles = hook.register(module)
    grad = torch.autograd.grad(module(x), x, torch.ones(1, 64, dtype=torch.bfloat16))[0]
    handles.remove()
    expected = x.float().pow(2).mean(-1, keepdim=True).rsqrt().expand(1, 64)
    assert grad.dtype == torch.bfloat16
    torch.testing.assert_close(grad, expected.bfloat16(), rtol=0, atol=0)


@given(x=vectors, data=st.data(), kind=st.sampled_from(sorted(ACTIVATION_RATIOS)))
@few
def test_activation_relevance_passes_unchanged_elementwise(x, data, kind):
    grad = data.draw(st.lists(numbers, min_size=len(x), max_size=len(x)))
    output, found = ruled(ActivationRule(kind), ACTIVATION_MODULES[kind](), x, grad)
    relevance_in = torch.tensor(x, dtype=torch.float64) * found
    torch.testing.assert_close(relevance_in, output * torch.tensor(grad, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@given(x=vectors, data=st.data(), kind=st.sampled_from([k for k, r in NORM_RATIOS.items() if not r.centred]))
@few
def test_norm_relevance_passes_unchanged_elementwise(x, data, kind):
    grad = data.draw(st.lists(numbers, min_size=len(x), max_size=len(x)))
    output, found = ruled(NormRule(kind), NORM_MODULES[kind](len(x)), x, grad)
    relevance_in = torch.tensor(x, dtype=torch.float64) * found
    torch.testing.assert_close(relevance_in, output * torch.tensor(grad, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@given(x=vectors, data=st.data(), kind=st.sampled_from([k for k, r in NORM_RATIOS.items() if r.centred]))
@few
def test_layer_norm_conserves_relevance_up_to_its_bias(x, data, kind):
    grad = torch.tensor(data.draw(st.lists(numbers, min_size=len(x), max_size=len(x))), dtype=torch.float64)
    module = NORM_MODULES[kind](len(x))
    output, found = ruled(NormRule(kind), module, x, grad)
    unbiased = output if module.bias is None else output - module.bias.detach()
    relevance_in = (torch.tensor(x, dtype=torch.float64) * found).sum()
    torch.testing.assert_close(relevance_in, (unbiased * grad).sum(), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("rule", "factor"), [(ProductRule(), 0.5), (ScaleInputRule(0.3), 0.3)])
def test_scale_rules_multiply_the_gradient_of_the_first_input(rule, factor):
    module = nn.Linear(4, 3).double()
    grad = torch.randn(2, 3, dtype=torch.float64)
    output, found = ruled(rule, module, torch.randn(2, 4), grad)
    torch.testing.assert_close(found, factor * grad @ module.weight.detach(), rtol=1e-12, atol=0)
    assert output.shape == (2, 3)


def test_a_module_called_twice_keeps_its_inputs_apart():
    module = NORM_MODULES["rms_norm"](5)
    first, second = torch.randn(2, 1, 5, dtype=torch.float64).requires_grad_().unbind()
    with AttnLRP().context(module):
        total = module(first).sum() + module(10 * second).pow(2).sum()
        found = torch.autograd.grad(total, (first, second))
    upper = (2 * module(10 * second)).detach()
    expected = norm_gradient(module, first[0].tolist(), [1.0] * 5)
    torch.testing.assert_close(found[0][0], torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    expected = norm_gradient(module, (10 * second[0]).tolist(), (10 * upper[0]).tolist())
    torch.testing.assert_close(found[1][0], torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-12)


def test_rules_leave_outputs_alone_and_cost_no_graph_without_gradients():
    module = NORM_MODULES["layer_norm"](5).requires_grad_(False)
    x = torch.randn(2, 5, dtype=torch.float64)
    plain = module(x)
    with AttnLRP().context(module):
        assert torch.equal(module(x), plain)
        assert module(x).grad_fn is None
        with torch.no_grad():
            assert not module(x.requires_grad_()).requires_grad

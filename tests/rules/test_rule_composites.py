import pytest
import torch
from support import rule_oracles as oracles
from torch import nn
from zennit.composites import COMPOSITES

from lime_rules import CPLRP, LRP_METHODS, AttnLRP, GradientInput, ScaleInputRule, TransformerComposite


@pytest.mark.parametrize("method", LRP_METHODS)
def test_composites_are_registered_with_zennit(method):
    assert COMPOSITES[method] is LRP_METHODS[method]


@pytest.mark.parametrize("act", ["silu", "gelu", "relu"])
@pytest.mark.parametrize("method", LRP_METHODS)
def test_gated_mlp_equals_the_oracle(method, act, gated_mlp):
    product = oracles.oracle_for(oracles.GATED, method, "LRP_METHODS")
    module = oracles.ACTIVATION_MODULES[act]()
    mlp = gated_mlp(act=module)
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(3, 6, dtype=torch.float64)
    with LRP_METHODS[method]().context(mlp):
        found = torch.autograd.grad(mlp(x), x, grad)[0]
    naive = product(x @ mlp.gate_proj.weight.T, x @ mlp.up_proj.weight.T, module) @ mlp.down_proj.weight.T
    torch.testing.assert_close(found, torch.autograd.grad(naive, x, grad)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", LRP_METHODS)
def test_whole_decoder_equals_the_oracle(method, llama64):
    embeddings = torch.randn(1, 6, 16, dtype=torch.float64, requires_grad=True)
    naive = oracles.llama_logits(method, llama64, embeddings)[0, -1]
    with LRP_METHODS[method]().context(llama64.get_decoder()):
        logits = llama64(inputs_embeds=embeddings, use_cache=False).logits[0, -1]
        found = torch.autograd.grad(logits[7], embeddings)[0]
    torch.testing.assert_close(logits, naive, rtol=1e-10, atol=1e-10)
    wanted = torch.autograd.grad(naive[7], embeddings)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10 * wanted.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prompt_is_attended_to_as_by_eager_attention_to_the_last_bit(dtype, llama):
    llama.to(dtype).set_attn_implementation("eager")
    ids = torch.arange(3, 10)[None]
    plain = llama(ids).logits
    with AttnLRP().context(llama.get_decoder()):
        assert torch.equal(llama(ids).logits, plain)


def test_methods_differ(llama, gradient):
    found = []
    for method in LRP_METHODS.values():
        with method().context(llama.get_decoder()):
            found.append(gradient(llama))
    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert not torch.allclose(one, other, rtol=0.01)


@pytest.mark.parametrize("method", LRP_METHODS)
def test_switched_off_it_is_the_plain_gradient_bit_for_bit(method, llama, gradient):
    plain = gradient(llama)
    composite = LRP_METHODS[method]()
    with composite.context(llama.get_decoder()), composite.inactive():
        assert torch.equal(gradient(llama), plain)


def test_gradient_input_is_the_plain_gradient_bit_for_bit(llama, gradient):
    plain = gradient(llama)
    with GradientInput().context(llama.get_decoder()):
        assert torch.equal(gradient(llama), plain)


@pytest.mark.parametrize("method", ["attnlrp", "cplrp"])
def test_switched_on_it_is_not_the_plain_gradient_and_logits_stay(method, llama, gradient):
    ids = torch.arange(3, 10)[None]
    plain, logits = gradient(llama), llama(ids).logits
    composite = LRP_METHODS[method]()
    with composite.context(llama.get_decoder()):
        before = gradient(llama)
        with composite.inactive():
            pass
        assert torch.equal(gradient(llama), before)
        assert not torch.allclose(before, plain, rtol=0.01)
        assert torch.equal(llama(ids).logits, logits)


def test_cplrp_sends_nothing_through_attention_weights_and_gates(llama):
    layer = llama.model.layers[0]
    blocked = layer.self_attn.q_proj, layer.self_attn.k_proj, layer.mlp.gate_proj
    carrying = layer.self_attn.v_proj, layer.mlp.up_proj
    weights = [module.weight.requires_grad_() for module in (*blocked, *carrying)]
    with CPLRP().context(llama.get_decoder()):
        logits = llama(torch.arange(3, 10)[None], use_cache=False).logits
        found = torch.autograd.grad(logits[0, -1, 5], weights)
    assert [bool(gradient.any()) for gradient in found] == [False, False, False, True, True]


@pytest.mark.parametrize(("method", "conserved"), [("attnlrp", True), ("cplrp", True), ("gradient_input", False)])
def test_relevance_is_conserved_without_biases(method, conserved, toy):
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    with LRP_METHODS[method]().context(toy):
        output = toy(x)[:, 1]
        relevance = (x * torch.autograd.grad(output.sum(), x)[0]).sum(1)
    assert torch.allclose(relevance, output, rtol=1e-10, atol=1e-12) == conserved


def test_cplrp_conserves_relevance_through_a_whole_decoder(llama64):
    embeddings = torch.randn(1, 6, 16, dtype=torch.float64, requires_grad=True)
    with CPLRP().context(llama64.get_decoder()):
        logit = llama64(inputs_embeds=embeddings, use_cache=False).logits[0, -1, 3]
        relevance = embeddings * torch.autograd.grad(logit, embeddings)[0]
    torch.testing.assert_close(relevance.sum(), logit, rtol=1e-10, atol=1e-10)


def test_rule_for_must_be_defined():
    class Incomplete(TransformerComposite):
        pass

    with pytest.raises(TypeError, match="Incomplete has no rule for"), Incomplete().context(nn.ReLU()):
        pass


def test_unknown_second_order_is_refused():
    with pytest.raises(ValueError, match="second_order is 'none'"):
        AttnLRP(second_order="none")


def test_layer_map_takes_precedence_first_match_wins():
    module = nn.ReLU()
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    own = [(nn.ReLU, ScaleInputRule(3.0)), (nn.Module, ScaleInputRule(5.0))]
    with AttnLRP(layer_map=own).context(module):
        found = torch.autograd.grad(module(x).sum(), x)[0]
    assert found.tolist() == [0.0, 3.0]


@pytest.mark.parametrize("composite", LRP_METHODS.values())
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"canonizers": [3]}, "canonizers has 3; expected canonizers of zennit"),
        ({"canonizers": 0.5}, "canonizers is float; expected a list"),
        ({"layer_map": [nn.Linear]}, "expected pairs of a module class"),
        ({"layer_map": [(nn.Linear, None)]}, "and a Hook"),
        ({"layer_map": [(3, ScaleInputRule(0.5))]}, "layer_map has 3; expected a module class"),
        ({"layer_map": 3}, "layer_map is int"),
    ],
)
def test_parts_of_another_kind_are_refused_before_use(composite, parts, message):
    with pytest.raises(TypeError, match=message):
        composite(**parts)

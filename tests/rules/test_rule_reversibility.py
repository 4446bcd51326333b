"""Whatever happens inside the context, afterwards the model is what it was."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig
from zennit.core import Hook

from lime_rules import (
    CPLRP,
    LRP_METHODS,
    ActivationRule,
    AttentionCanonizer,
    AttnLRP,
    GradientInput,
    ProductRule,
    roles,
)

HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


def state(model):
    """Everything a rule could touch: configs, hooks and forwards, as objects."""
    return [
        (
            vars(module).get("config"),
            vars(module).get("forward"),
            [list(vars(module)[name].values()) for name in HOOKS],
        )
        for module in model.modules()
    ]


def same(before, after):
    return all(a[0] is b[0] and a[1] is b[1] and a[2] == b[2] for a, b in zip(before, after, strict=True))


@pytest.fixture
def ids():
    return torch.arange(3, 10)[None]


@pytest.mark.parametrize("method", LRP_METHODS)
def test_everything_is_undone_on_leaving(method, llama, ids, gradient):
    handle = llama.model.layers[0].mlp.register_forward_hook(lambda *_: None)  # somebody else's
    before, logits, attention = state(llama), llama(ids).logits, llama.config._attn_implementation
    values = vars(llama.config).copy()
    with LRP_METHODS[method]().context(llama.get_decoder()):
        gradient(llama)
        assert not same(before, state(llama))
    assert same(before, state(llama))
    assert vars(llama.config) == values
    assert llama.config._attn_implementation == attention == "eager"
    assert torch.equal(llama(ids).logits, logits)
    handle.remove()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_everything_is_undone_after_an_error_inside(error, llama, ids):
    before, logits = state(llama), llama(ids).logits

    def fail(*_):
        raise error("inside")

    handle = llama.model.norm.register_forward_hook(fail)
    with pytest.raises(error, match="inside"), AttnLRP().context(llama.get_decoder()):
        llama(ids)
    handle.remove()
    assert same(before, state(llama))
    assert torch.equal(llama(ids).logits, logits)


class FailsLate(Hook):
    """Registers with a few modules, then fails."""

    registered = 0

    def register(self, module):
        FailsLate.registered += 1
        if FailsLate.registered > 5:
            raise RuntimeError("half-way")
        return super().register(module)


def test_everything_is_undone_when_registering_hooks_fails(llama, ids):
    before, logits = state(llama), llama(ids).logits
    composite = AttnLRP(layer_map=[(nn.Linear, FailsLate())])
    FailsLate.registered = 0
    with pytest.raises(RuntimeError, match="half-way"):
        composite.register(llama.get_decoder())
    assert FailsLate.registered > 5
    assert same(before, state(llama))
    assert torch.equal(llama(ids).logits, logits)
    assert not list(composite.handles)


class Uncopyable(LlamaConfig):
    def __copy__(self):
        raise RuntimeError("cannot be copied")


def test_everything_is_undone_when_the_canonizer_fails(llama, make_llama_config):
    last = llama.model.layers[-1].self_attn
    last.config = Uncopyable(**make_llama_config().to_dict())
    before = state(llama)
    with pytest.raises(RuntimeError, match="cannot be copied"):
        AttnLRP().register(llama.get_decoder())
    assert same(before, state(llama))


def test_two_models_that_share_a_config_do_not_disturb_each_other(make_llama, make_llama_config, gradient, ids):
    config = make_llama_config()
    one, two = make_llama(config, seed=1), make_llama(config, seed=2)
    assert one.model.layers[0].self_attn.config is two.model.layers[0].self_attn.config
    plain, before = gradient(two), state(two)
    with AttnLRP().context(one.get_decoder()):
        alone = gradient(one)
        assert torch.equal(gradient(two), plain)
        assert same(before, state(two))
    with CPLRP().context(two.get_decoder()):
        other = gradient(two)
    first, second = AttnLRP(), CPLRP()
    with first.context(one.get_decoder()), second.context(two.get_decoder()), first.inactive():
        assert torch.equal(gradient(two), other)
    with AttnLRP().context(one.get_decoder()), CPLRP().context(two.get_decoder()):
        assert torch.equal(gradient(one), alone)
        assert torch.equal(gradient(two), other)
    assert config._attn_implementation == "eager"
    assert torch.equal(gradient(two), plain)


def test_configs_inside_configs_are_copied_once_and_left_alone():
    inner = LlamaConfig(attn_implementation="eager")
    outer = LlamaConfig(attn_implementation="eager")
    outer.inner = inner
    root, child = nn.Module(), nn.Module()
    root.config, child.config = outer, inner
    root.child = child
    (canonizer,) = AttentionCanonizer().apply(root)
    assert root.config.inner is child.config
    assert child.config is not inner
    assert child.config._attn_implementation == root.config._attn_implementation == "lime"
    assert inner._attn_implementation == outer._attn_implementation == "eager"
    assert outer.inner is inner
    canonizer.remove()
    assert root.config is outer
    assert child.config is inner


def test_a_composite_can_be_used_again_and_on_another_model(llama, make_llama, gradient):
    other = make_llama(seed=5)
    composite = AttnLRP()
    found = []
    for model in (llama, other, llama):
        with composite.context(model.get_decoder()):
            found.append(gradient(model))
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


def test_contexts_nest_and_the_inner_one_leaves_the_outer_alone(llama, gradient):
    plain = gradient(llama)
    with AttnLRP().context(llama.get_decoder()):
        outer = gradient(llama)
        with GradientInput().context(llama.get_decoder()):
            gradient(llama)
        assert torch.equal(gradient(llama), outer)
    assert torch.equal(gradient(llama), plain)


def test_a_decoder_called_twice_in_one_graph_keeps_its_calls_apart(llama):
    first, second = torch.randn(2, 1, 5, 16).requires_grad_().unbind()

    def logit(x):
        return llama(inputs_embeds=x, use_cache=False).logits[0, -1, 4]

    with AttnLRP().context(llama.get_decoder()):
        alone = [torch.autograd.grad(logit(x), x)[0] for x in (first, second)]
        together = torch.autograd.grad(logit(first) + logit(second), (first, second))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-7)


def test_replacing_a_module_is_noticed_even_at_the_same_address():
    root = nn.Sequential(nn.SiLU())
    for _ in range(50):
        root[0] = nn.SiLU()
        assert roles(root)["0"].detail == "silu"
        del root[0]
        root.append(nn.GELU())
        assert roles(root)["0"].detail == "gelu"
        del root[0]
        root.append(nn.SiLU())


def test_rules_reach_inputs_that_are_given_by_keyword():
    class Named(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.down = torch.nn.SiLU(), torch.nn.Linear(3, 3)

        def forward(self, x):
            return self.down(input=self.act(input=x))

    module = Named()
    x = torch.randn(2, 3, requires_grad=True)
    handles = [ActivationRule("silu"), ProductRule(0.5)]
    registered = [handles[0].register(module.act), handles[1].register(module.down)]
    (found,) = torch.autograd.grad(module(x).sum(), x)
    for handle in registered:
        handle.remove()
    wanted = 0.5 * module.down.weight.sum(0) * torch.sigmoid(x)
    assert torch.allclose(found, wanted)

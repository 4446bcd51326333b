import re

import pytest
import torch
from support import rule_oracles as oracles
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig

from lime_rules import LRP_METHODS, AttentionCanonizer
from lime_rules.attention import IMPLEMENTATION, attention_with_rules
from lime_rules.attention_math import UNCOVERED


class Caller(nn.Module):
    """Holds a config, as attention modules do."""

    def __init__(self, causal=True):
        super().__init__()
        self.config = PreTrainedConfig()
        self.is_causal = causal


def states(queries, keys, groups=2, rows=2, size=4):
    shapes = (rows, 2 * groups, queries, size), (rows, 2, keys, size), (rows, 2, keys, size)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def seen_by_default(queries, keys, rows=2):
    return torch.stack([torch.arange(keys) <= q + keys - queries for q in range(queries)]).expand(rows, -1, -1)


def padded(queries, keys):
    seen = seen_by_default(queries, keys).clone()
    seen[1, :, 0] = False  # left padding in the second row
    seen[1, 0, 0] = True  # but no query sees nothing
    return seen


def additive(seen, dtype=torch.float64):
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


CASES = {
    "no mask, causal": (5, 5, None, {}),
    "no mask, causal, longer past": (2, 6, None, {}),
    "no mask, one query": (1, 6, None, {}),
    "no mask, told not causal": (4, 4, None, {"is_causal": False}),
    "boolean mask": (4, 5, lambda seen: seen[:, None], {}),
    "additive mask": (4, 5, additive, {}),
    "additive mask wider than the keys": (4, 5, lambda seen: nn.functional.pad(additive(seen), (0, 3)), {}),
    "scaling": (4, 5, additive, {"scaling": 0.37}),
    "softcap": (4, 5, additive, {"softcap": 1.5}),
}


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", LRP_METHODS)
def test_attention_equals_the_oracle(method, case, groups):
    queries, keys, make_mask, options = CASES[case]
    tensors = states(queries, keys, groups)
    seen = seen_by_default(queries, keys) if make_mask is None else padded(queries, keys)
    if options.get("is_causal") is False:
        seen = torch.ones_like(seen)
    mask = None if make_mask is None else make_mask(seen)
    caller = Caller()
    instances = AttentionCanonizer(LRP_METHODS[method].attention_ratios).apply(caller)
    output, weights = attention_with_rules(caller, *tensors, mask, **options)
    scaling = options.get("scaling", 0.5)
    expected = oracles.attention(method, *tensors, seen, scaling, options.get("softcap"))
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    grad = torch.randn_like(output)
    found = torch.autograd.grad(output, tensors, grad)
    wanted = torch.autograd.grad(expected, tensors, grad, allow_unused=True)
    for name, got, want in zip(("query", "key", "value"), found, wanted, strict=True):
        want = torch.zeros_like(got) if want is None else want
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12, msg=lambda text, n=name: f"{n}: {text}")
    assert instances[0].rule.calls == 1


def test_module_that_is_not_causal_sees_everything():
    tensors = states(4, 4)
    everything = torch.ones(2, 4, 4, dtype=torch.bool)
    output, _ = attention_with_rules(Caller(causal=False), *tensors, None)
    expected = oracles.attention("gradient_input", *tensors, everything, 0.5, None)
    torch.testing.assert_close(output, expected)


def test_without_a_rule_it_is_plain_attention():
    tensors = states(4, 4)
    output, _ = attention_with_rules(Caller(), *tensors, None)
    expected = oracles.attention("gradient_input", *tensors, seen_by_default(4, 4), 0.5, None)
    grad = torch.randn_like(output)
    for got, want in zip(
        torch.autograd.grad(output, tensors, grad), torch.autograd.grad(expected, tensors, grad), strict=True
    ):
        torch.testing.assert_close(got, want)


def test_half_precision_takes_the_softmax_in_float32():
    tensors = [tensor.detach().bfloat16() for tensor in states(4, 6)]
    output, weights = attention_with_rules(Caller(), *tensors, None)
    key = tensors[1].repeat_interleave(2, 1)
    scores = (tensors[0] @ key.transpose(2, 3) * 0.5).masked_fill(~seen_by_default(4, 6)[:, None], -torch.inf)
    assert output.dtype == weights.dtype == torch.bfloat16
    assert torch.equal(weights, scores.float().softmax(-1).bfloat16())


@pytest.mark.parametrize("name", UNCOVERED)
def test_arguments_that_change_the_output_are_refused(name):
    with pytest.raises(NotImplementedError, match=f"Caller uses {re.escape(UNCOVERED[name])}"):
        attention_with_rules(Caller(), *states(2, 2), None, **{name: torch.zeros(4)})
    attention_with_rules(Caller(), *states(2, 2), None, **{name: None})


def test_attention_and_mask_function_share_one_name():
    assert AttentionInterface()[IMPLEMENTATION] is attention_with_rules
    assert IMPLEMENTATION in AttentionMaskInterface()


def test_a_template_canonizer_cannot_be_registered():
    with pytest.raises(RuntimeError, match="template"):
        AttentionCanonizer().register()


def test_applying_twice_gives_two_rules():
    canonizer = AttentionCanonizer()
    first, second = canonizer.apply(Caller())[0], canonizer.apply(Caller())[0]
    first.rule.active = False
    assert second.rule.active

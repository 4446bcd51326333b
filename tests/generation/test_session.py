"""What a session gives its policies: positions, and what it accepts from them."""

from dataclasses import dataclass, field

import pytest
import torch
from support.families import batch

import lime_xai
from lime_xai import Edit, Policy

SETTINGS = {"max_new_tokens": 4, "do_sample": False}


@dataclass(frozen=True)
class Keep(Policy):
    """Changes nothing; keeps positions."""

    found: list = field(default_factory=list)

    def step(self, step):
        self.found.append(step.positions)
        return step.logits


@dataclass(frozen=True)
class Wrong(Policy):
    """Returns what is no logits."""

    result: object

    def step(self, step):
        return self.result


@dataclass(frozen=True)
class Incomplete(Policy):
    """Has no step."""


def padded():
    """A batch whose attention mask ``generate`` can make from the padding token."""
    model, inputs, _ = batch("llava", 2)
    padding = int(inputs["input_ids"][~inputs["attention_mask"].bool()][0])
    return model, inputs, padding


@pytest.mark.parametrize("how", ["inputs", "keyword", "padding token"])
@pytest.mark.parametrize("read", [False, True])
def test_a_policy_gets_the_attention_mask_that_the_model_is_given(how, read):
    model, inputs, padding = padded()
    expected = inputs["attention_mask"].bool()
    assert not bool(expected.all())
    ids_only = {name: value for name, value in inputs.items() if name != "attention_mask"}
    given, keywords = {
        "inputs": (inputs, {}),
        "keyword": (ids_only, {"attention_mask": inputs["attention_mask"]}),
        "padding token": (ids_only, {"pad_token_id": padding}),
    }[how]
    policy = Keep()
    lime_xai.steer(model, lime_xai.read_prompt(model, given) if read else given, policy, **keywords, **SETTINGS)
    assert torch.equal(policy.found[0].attended, expected)


@pytest.mark.parametrize("settings", [{}, {"deltas": "free", "positions": "all", "learning_rate": 0.05}], ids=str)
def test_an_edit_is_the_same_however_the_mask_is_given(settings):
    model, inputs, padding = padded()
    wanted = lime_xai.steer(model, inputs, Edit(**settings), **SETTINGS).trace.steps
    ids_only = {name: value for name, value in inputs.items() if name != "attention_mask"}
    found = lime_xai.steer(model, ids_only, Edit(**settings), pad_token_id=padding, **SETTINGS).trace.steps
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.losses, other.losses)


def test_positions_follow_a_beam_search():
    model, inputs, _ = batch("llava", 1)
    policy = Keep()
    output = lime_xai.steer(
        model, inputs, policy, max_new_tokens=6, do_sample=False, num_beams=3, num_return_sequences=3
    )
    length = inputs["input_ids"].shape[1]
    final = {tuple(row) for row in output.sequences[:, length:-1].tolist()}
    last = {tuple(row) for row in policy.found[-1].input_ids[:, length:].tolist()}
    # Every returned sequence without its last token was a beam of the last step.
    assert final <= last


@pytest.mark.parametrize(
    ("result", "message"), [(None, "Wrong.step returned NoneType"), (torch.zeros(1, 2), r"shape \(1, 2\)")]
)
def test_what_is_no_logits_is_refused(result, message):
    model, inputs, _ = batch("llava", 1)
    with pytest.raises(TypeError, match=message):
        lime_xai.steer(model, inputs, Wrong(result), **SETTINGS)


def test_a_policy_without_a_step_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Incomplete()

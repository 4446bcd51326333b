"""The trace of steering: plain data, counts and a table."""

import dataclasses
import json

import pytest
import torch
from rich.console import Console
from support.families import FAMILIES, batch

import lime_xai
from lime_xai import Edit, LogitShift, Observe, SteeringTrace, StepTrace


class Letters:
    def decode(self, ids):
        return chr(ord("a") + ids[0])


def step(index, before, after, **tensors):
    return StepTrace(index, torch.tensor(before), torch.tensor(after), **tensors)


@pytest.fixture
def trace():
    edited = {
        "losses": torch.tensor([[1.0, 2.0], [0.5, 1.5]]),
        "divergences": torch.tensor([[0.0, 0.0], [0.25, 0.125]]),
        "share_before": torch.tensor([0.25, 0.5]),
        "share_after": torch.tensor([0.375, 0.625]),
    }
    return SteeringTrace([step(0, [1, 2], [1, 3], **edited), step(1, [4, 5], [6, 7])])


def printed(table):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_plain_data_holds_everything(trace):
    data = json.loads(json.dumps(trace.to_dict()))
    assert data == {
        "steps": [
            {
                "index": 0,
                "token_before": [1, 2],
                "token_after": [1, 3],
                "losses": [[1.0, 2.0], [0.5, 1.5]],
                "divergences": [[0.0, 0.0], [0.25, 0.125]],
                "share_before": [0.25, 0.5],
                "share_after": [0.375, 0.625],
                "shares": None,
            },
            {
                "index": 1,
                "token_before": [4, 5],
                "token_after": [6, 7],
                "losses": None,
                "divergences": None,
                "share_before": None,
                "share_after": None,
                "shares": None,
            },
        ]
    }


def test_changed_tokens_are_counted_over_rows(trace):
    assert trace.changed() == 3
    assert len(trace) == 2
    assert SteeringTrace().changed() == 0
    assert SteeringTrace().to_dict() == {"steps": []}


@pytest.mark.parametrize(
    ("row", "tokenizer", "first", "second"),
    [
        (0, None, ["0", "1", "1", "1.000 -> 0.500", "0.2500", "0.250", "0.375"], ["1", "4", "6"]),
        (1, Letters(), ["0", "c", "d", "2.000 -> 1.500", "0.1250", "0.500", "0.625"], ["1", "f", "h"]),
    ],
)
def test_the_table_shows_one_row(trace, row, tokenizer, first, second):
    table = trace.table(row, tokenizer)
    cells = list(zip(*(column.cells for column in table.columns), strict=True))
    assert [list(map(str, line)) for line in cells] == [first, [*second, "", "", "", ""]]
    assert [line.style for line in table.rows] == ([None, "bold"] if row == 0 else ["bold", "bold"])
    text = printed(table)
    assert all(cell in text for cell in [*first, *second, "token by token"])


def test_square_brackets_in_tokens_are_no_markup(trace):
    class Odd:
        def decode(self, ids):
            return "[/image]"

    assert "[/image]" in printed(trace.table(0, Odd()))


def test_steps_are_frozen(trace):
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace.steps[0].index = 3


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_trace_of_an_edit_has_a_value_for_every_update(direction):
    model, inputs, _ = batch("llava", 2)
    policy = Edit(steps=3, direction=direction)
    output = lime_xai.steer(model, inputs, policy, max_new_tokens=2, min_new_tokens=2, do_sample=False)
    assert [entry.index for entry in output.trace.steps] == [0, 1]
    for entry in output.trace.steps:
        assert entry.losses.shape == ((3, 2) if direction == "forward" else (4, 2))
        assert entry.divergences.shape == (4, 2)
        if direction == "forward":
            assert entry.share_before is entry.share_after is entry.shares is entry.relevance_after is None
        else:
            assert entry.share_before.shape == entry.share_after.shape == (2,)
        assert not any(value.requires_grad for value in vars(entry).values() if isinstance(value, torch.Tensor))
        assert torch.allclose(entry.divergences[0], torch.zeros(2), atol=1e-5)
        assert bool((entry.divergences[-1] > 0).all())
    after = torch.stack([entry.token_after for entry in output.trace.steps], 1)
    assert torch.equal(output.sequences[:, -2:], after)
    assert json.loads(json.dumps(output.trace.to_dict()))["steps"][1]["token_after"] == after[:, 1].tolist()


def test_tokens_before_are_the_plain_models():
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, max_new_tokens=1, do_sample=False)[0, -1]
    other = 5 if int(plain) != 5 else 6
    trace = lime_xai.steer(model, inputs, LogitShift({other: 1e3}), max_new_tokens=1, do_sample=False).trace
    assert trace.steps[0].token_before.tolist() == [int(plain)]
    assert trace.steps[0].token_after.tolist() == [other]
    assert trace.changed() == 1


def test_a_second_generate_in_the_same_context_starts_again():
    model, inputs, _ = FAMILIES["llava"].build()
    with lime_xai.steering(model, Observe()) as trace:
        for _ in range(2):
            model.generate(**inputs, max_new_tokens=2, min_new_tokens=2, do_sample=False)
    assert [entry.index for entry in trace.steps] == [0, 1, 0, 1]
    assert torch.equal(trace.steps[0].share_before, trace.steps[2].share_before)


def test_a_trace_outlives_the_policy_after_it():
    """What an edit recorded is not lost because a policy follows that records something else."""
    model, inputs, _ = FAMILIES["llava"].build()
    trace = lime_xai.steer(model, inputs, [Edit(), Observe()], max_new_tokens=1, do_sample=False).trace
    assert trace.steps[0].losses is not None


@pytest.mark.parametrize(("row", "error"), [(2, ValueError), (-1, ValueError), ("0", TypeError), (True, TypeError)])
def test_a_table_of_no_row_is_refused(trace, row, error):
    with pytest.raises(error, match="row is"):
        trace.table(row=row)

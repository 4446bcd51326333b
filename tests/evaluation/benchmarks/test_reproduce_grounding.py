"""Table 4: the paper's cells, what the steps of a policy record, and the tables."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

import lime_xai
from lime_xai import Edit, Observe, RelevanceObjective
from lime_xai.evaluation.benchmarks.grounding import GroundingExample, GroundingResult, measure_grounding
from lime_xai.evaluation.benchmarks.grounding.paper import CELLS, grounding_cells, grounding_rows
from lime_xai.evaluation.benchmarks.grounding.regions import BoxRegion
from lime_xai.evaluation.benchmarks.grounding.reproduction import GroundingReproduction
from lime_xai.evaluation.benchmarks.grounding.results import EVEN, RANDOM
from lime_xai.evaluation.benchmarks.paper import MODELS
from lime_xai.generation.checks import refusals
from lime_xai.worlds import scene

NOTED = """
LLaVA-1.5-7B .27->.36 .10->.17
Qwen-VL-Chat .13->.20 .41->.53
Qwen2.5-VL-7B .12->.21 .43->.52
SALMONN .19->.28 .10->.19
Qwen2-Audio-7B .31->.57 .34->.42
"""
"""The note's line of table 4, one model a line."""

WORDS = {"max_new_tokens": 3, "do_sample": False}


@pytest.fixture(scope="module")
def sees():
    return scene.WORLD.load_model()


@pytest.fixture(scope="module")
def drawn():
    return scene.evaluation_set(seed=903, scenes=1)


@pytest.fixture(scope="module")
def example(drawn, tmp_path_factory):
    """A request for a description, whose place is the upper left quarter of the picture."""
    path = tmp_path_factory.mktemp("table4") / "0.png"
    drawn.media[0].save(path)
    return GroundingExample("1", scene.LANGUAGE.caption_request, path, BoxRegion((0, 0, 36, 36)))


@pytest.fixture(scope="module")
def inputs(sees, drawn, example):
    from lime_xai.model.chat import Request, make_inputs

    return make_inputs(*sees, Request(example.question, images=[drawn.media[0]]))


def test_cells_of_table_4_are_those_of_the_note():
    found = {(c.model, c.measure, c.row): c.value for c in CELLS}
    expected = {}
    for line in NOTED.split("\n")[1:-1]:
        model, *pairs = line.split()
        for measure, pair in zip(("grounding", "reliance"), pairs, strict=True):
            for row, value in zip(("regular", "LIME"), pair.split("->"), strict=True):
                expected[model, measure, row] = pytest.approx(100 * float(value))
    assert found == expected
    assert set(MODELS) == {cell.model for cell in CELLS}
    assert grounding_cells(None) == []


def by_hand(relevance, inputs, model):
    """Grounding and reliance of relevance ``[T]``, by loops; the region is the upper left quarter of a 6 x 6 grid."""
    places = [p for p, token in enumerate(inputs["input_ids"][0].tolist()) if token == model.config.image_token_id]
    inside = positive = seen = total = 0.0
    for position, value in enumerate(relevance.tolist()):
        if position in places:
            index = places.index(position)
            positive += max(value, 0.0)
            inside += max(value, 0.0) * (index % 6 < 3 and index // 6 < 3)
            seen += abs(value)
        total += abs(value) * (position > 0)
    return inside / positive, seen / total


def test_before_of_the_model_alone_is_the_mean_over_its_tokens(sees, example, inputs):
    """Relevance at every step, by the session's editor, is what ``attribute`` gives for each token."""
    model, _ = sees
    vanilla = grounding_rows(None)[0]
    found = measure_grounding(*sees, [example], policies={"vanilla": vanilla.policy}, max_new_tokens=3)
    said = model.generate(**inputs, **WORDS)[0, inputs["input_ids"].shape[1] :].tolist()
    relevance = lime_xai.attribute(model, inputs, said).relevance[0]
    length = inputs["input_ids"].shape[1]
    pairs = [by_hand(relevance[step, : length + step], inputs, model) for step in range(len(said))]
    values = found.rows[0]["values"]["vanilla"]
    assert values["grounding_before"] == pytest.approx(np.mean([one for one, _ in pairs]), rel=1e-4)
    assert values["reliance_before"] == pytest.approx(np.mean([one for _, one in pairs]), rel=1e-4)
    assert values["grounding_after"] == values["grounding_before"]


@pytest.mark.parametrize("scope", ["sequence", "cache"])
def test_recorded_relevance_is_that_of_the_first_and_the_last_loss(sees, inputs, scope):
    """The objective of the recorded relevance, by its formula in NumPy, is the recorded loss."""
    model, _ = sees
    policy = replace(Edit.paper(scope, 0.02), steps=2)
    trace = lime_xai.steer(model, inputs, policy, **WORDS).trace
    image = (inputs["input_ids"][0] == model.config.image_token_id).numpy()
    for step in trace.steps:
        assert step.shares.shape == step.losses.shape == (3, 1)
        for index, relevance in ((0, step.relevance_before), (-1, step.relevance_after)):
            values = relevance[0].double().numpy()
            scaled = values / 0.1
            log_share = scaled - scaled.max() - np.log(np.exp(scaled - scaled.max()).sum())
            loss = -log_share[: len(image)][image].mean() + 0.1 * float(step.divergences[index, 0])
            assert float(step.losses[index, 0]) == pytest.approx(loss, rel=1e-4)
            share = np.abs(values[: len(image)][image]).sum() / np.abs(values).sum()
            assert float(step.shares[index, 0]) == pytest.approx(share, rel=1e-5)
        assert torch.equal(step.shares[0], step.share_before)
        assert torch.equal(step.shares[-1], step.share_after)
        assert not torch.equal(step.relevance_before, step.relevance_after)
    assert "relevance_after" not in trace.to_dict()["steps"][0]


def test_values_after_are_those_of_the_steps_but_the_end(sees, example, inputs):
    model, _ = sees
    policy = replace(Edit.paper(learning_rate=0.02), steps=1)
    asked = replace(example, question="is there a cup in the image ?")
    found = measure_grounding(*sees, [asked], policies={"edit": policy, "contrast": "contrast"}, max_new_tokens=3)
    from lime_xai.model.chat import Request, make_inputs
    from lime_xai.model.images import read_image

    given = make_inputs(*sees, Request(asked.question, images=[read_image(asked.medium, print)]))
    output = lime_xai.steer(model, given, policy, **WORDS)
    said = output.sequences[0, given["input_ids"].shape[1] :].tolist()
    assert said[-1] == model.generation_config.eos_token_id  # the end has a step, and does not count
    pairs = [by_hand(step.relevance_after[0], given, model) for step in output.trace.steps[:-1]]
    values = found.rows[0]["values"]["edit"]
    assert values["grounding_after"] == pytest.approx(np.mean([one for one, _ in pairs]), rel=1e-4)
    assert values["reliance_after"] == pytest.approx(np.mean([one for _, one in pairs]), rel=1e-4)
    assert found.rows[0]["values"]["contrast"]["grounding_after"] is None
    assert found.rows[0]["values"]["contrast"]["grounding"] is not None


def test_few_examples_are_measured_and_a_later_call_goes_on(sees, example, tmp_path):
    several = [replace(example, id=str(number)) for number in range(3)]
    path = tmp_path / "g.json"
    first = measure_grounding(*sees, several, out=path, most=1)
    assert [row["id"] for row in first.rows] == ["0"]
    second = measure_grounding(*sees, several, out=path)
    assert [row["id"] for row in second.rows] == ["0", "1", "2"]
    assert second.rows[0] == first.rows[0]
    with pytest.raises((TypeError, ValueError), match="most"):
        measure_grounding(*sees, several, most=0)


def made(paper=None, refused=()):
    """A reproduction of two pictures with given values."""
    rows = grounding_rows(paper)
    names = [row.name for row in rows if row.name not in dict(refused)]
    sides = {"grounding_before": (0.2, 0.4), "grounding_after": (0.3, 0.7), "grounding": (0.1, 0.2)}
    sides |= {name.replace("grounding", "reliance"): (b, a) for name, (a, b) in sides.items()}
    listed = []
    for number in range(2):
        values = {name: values[number] for name, values in sides.items()}
        listed.append({"id": str(number), "cluster": str(number)})
        listed[-1]["values"] = dict.fromkeys([*names, EVEN, RANDOM], values)
    found = GroundingResult({}, {}, names, listed)
    return GroundingReproduction("model", paper, rows, dict(refused), found, ["a note"])


def test_the_papers_cells_stand_beside_before_and_after():
    found = made(MODELS["Qwen2-Audio-7B"])
    vanilla, paper, ours, _ = found.rows
    assert [found.cell(row, "grounding").value for row in (vanilla, paper)] == [31, 57]
    assert found.cell(ours, "grounding") is None
    values = found.values(paper, "grounding")
    assert values["before"].mean == pytest.approx(0.3)
    assert values["after"].mean == pytest.approx(0.5)
    assert values["change"].mean == pytest.approx(0.2)
    assert values["change"].low == pytest.approx(0.1)
    assert set(found.values(vanilla, "grounding")) == {"before", "answer"}  # it changes nothing
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["rows"][1]["values"][0]["paper"] == {"value": 57, "row": "LIME", "beside": "after"}
    assert data["rows"][1]["values"][0]["ours"]["after"][0] == pytest.approx(50)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(found.tables())
    text = console.export_text()
    for part in ("57 (LIME, T4)", "34 (regular, T4)", "20.0 [10.0, 30.0]", "are our definitions", "a note"):
        assert part in text


def test_a_row_that_the_model_refuses_is_named_with_the_reason():
    found = made(refused=[("our default", "no such layer")])
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(found.tables())
    text = " ".join(console.export_text().split())
    assert "not run: no such layer" in text
    assert "the paper has no cells for this model" in text
    assert found.to_dict()["rows"][2]["refused"] == "no such layer"


def refused_of(model, rows):
    return refusals(model, {row.name: row.policy for row in rows})


def test_rows_are_the_papers_setting_of_the_model(sees):
    rows = grounding_rows(MODELS["Qwen2-Audio-7B"])
    assert rows[1].policy == MODELS["Qwen2-Audio-7B"].policy()
    assert "those for LLaVA-1.5-7B" in grounding_rows(None)[1].note
    assert refused_of(sees[0], rows) == {}
    wrong = [replace(rows[1], policy=replace(Edit.paper(), layers=(99,)))]
    assert "out of range" in refused_of(sees[0], wrong)["paper's setting"]


def test_an_observer_takes_the_target_that_it_is_told(sees, inputs):
    model, _ = sees
    for target in ("argmax", "margin"):
        seen = lime_xai.steer(model, inputs, Observe("attnlrp", "sequence", target=target), max_new_tokens=1).trace
        edit = Edit(RelevanceObjective("difference", target=target), scope="sequence", steps=1, direction="backward")
        edited = lime_xai.steer(model, inputs, edit, max_new_tokens=1).trace
        assert torch.allclose(seen.steps[0].relevance_before, edited.steps[0].relevance_before, rtol=1e-4, atol=1e-6)

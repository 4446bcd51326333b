"""Grounding and reliance: against loops over positions, on the worlds, and resumed."""

import io
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.io import wavfile

import lime_xai
from lime_xai.evaluation.benchmarks.grounding import (
    GroundingExample,
    GroundingResult,
    measure_grounding,
    read_grounding,
)
from lime_xai.evaluation.benchmarks.grounding import measure as measure_module
from lime_xai.evaluation.benchmarks.grounding.regions import BoxRegion
from lime_xai.evaluation.benchmarks.grounding.results import EVEN, MEASURES, RANDOM
from lime_xai.model.chat import Request, make_inputs
from lime_xai.worlds import scene, sound


@pytest.fixture(scope="module")
def seeing():
    return scene.WORLD.load_model()


@pytest.fixture(scope="module")
def hearing():
    return sound.WORLD.load_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of four scenes with a question about each object, its answer, and the box of its cell."""
    folder = tmp_path_factory.mktemp("pictures")
    evaluation = scene.evaluation_set(seed=903, scenes=4)
    lines = []
    for number, (picture, drawn) in enumerate(zip(evaluation.media, evaluation.scenes, strict=True)):
        picture.save(folder / f"{number}.png")
        for obj, name in zip(drawn.present, drawn.names, strict=True):
            top, left = (36 * part for part in divmod(drawn.cell_of(obj), 2))
            box = [left, top, left + 36, top + 36]
            question = f"is there a {name} in the image ?"
            lines.append({"image": f"{number}.png", "question": question, "box": box, "answer": "yes"})
    (folder / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def examples(folder):
    return read_grounding("own", folder / "own.jsonl")


@pytest.fixture(scope="module")
def measured(seeing, examples):
    return measure_grounding(*seeing, examples, ["attnlrp", "gradient_input"])


def naive(relevance, perceptual, first, tokens, inside):
    """Grounding, pointing and reliance, by loops over positions."""
    positive = [max(float(relevance[position]), 0.0) for position in tokens]
    grounding = sum(value for value, within in zip(positive, inside, strict=True) if within) / sum(positive)
    best = max(range(len(tokens)), key=lambda index: float(relevance[tokens[index]]))
    seen = total = 0.0
    for position, value in enumerate(relevance.tolist()):
        if position != first:
            total += abs(value)
            seen += abs(value) * perceptual[position]
    return grounding, float(inside[best]), seen / total


@pytest.mark.parametrize("method", ["attnlrp", "gradient_input"])
def test_measures_are_those_of_loops(seeing, examples, measured, method):
    model, processor = seeing
    for number, example in enumerate(examples):
        picture = scene.evaluation_set(seed=903, scenes=4).media[int(example.medium.stem)]
        inputs = make_inputs(model, processor, Request(example.question, images=[picture]))
        yes = processor.tokenizer.convert_tokens_to_ids("yes")
        relevance = lime_xai.attribute(model, inputs, yes, method).relevance[0]
        ids = inputs["input_ids"][0]
        tokens = (ids == model.config.image_token_id).nonzero()[:, 0].tolist()
        x, y = (int(value) // 12 for value in example.region.box[:2])
        inside = [x <= index % 6 < x + 3 and y <= index // 6 < y + 3 for index in range(36)]
        expected = naive(relevance, [position in tokens for position in range(len(ids))], 0, tokens, inside)
        got = [measured.values(method, name)[number] for name in ("grounding", "pointing", "reliance")]
        assert got == pytest.approx(expected, rel=1e-5)


def test_even_relevance_is_the_area_and_random_relevance_is_near_it(measured, examples):
    assert measured.values(EVEN, "grounding") == pytest.approx(np.full(len(examples), 0.25))
    assert measured.values(EVEN, "pointing") == pytest.approx(np.full(len(examples), 0.25))
    assert abs(measured.estimate(RANDOM, "grounding").mean - 0.25) < 0.08
    assert measured.estimate(RANDOM, "reliance").mean == pytest.approx(
        measured.estimate(EVEN, "reliance").mean, abs=0.08
    )


def test_the_asked_object_has_more_than_its_area_of_the_relevance(measured):
    assert measured.difference("attnlrp", "grounding", EVEN).low > 0


def test_intervals_and_differences_are_over_pictures(measured, examples):
    units = [example.cluster for example in examples]
    values = measured.values("attnlrp", "reliance") - measured.values("gradient_input", "reliance")
    found = measured.difference("attnlrp", "reliance", "gradient_input")
    assert found.mean == pytest.approx(values.mean())
    rng = np.random.default_rng(0)
    names = sorted(set(units))
    means = []
    for _ in range(4000):
        drawn = rng.choice(len(names), len(names))
        some = np.concatenate([values[[unit == names[one] for unit in units]] for one in drawn])
        means.append(some.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.02)


def test_one_picture_alone_has_no_interval(seeing, examples):
    one = [example for example in examples if example.cluster == examples[0].cluster]
    assert len(one) > 1
    found = measure_grounding(*seeing, one)
    estimate = found.estimate("attnlrp", "grounding")
    assert 0 < estimate.mean <= 1
    assert np.isnan([estimate.low, estimate.high]).all()
    assert found.summary()["attnlrp"]["grounding"]["mean"]["low"] is None
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(found.tables())
    text = console.export_text()
    assert "one unit, no intervals" in text
    assert "[" not in text
    assert "nan" not in text


def test_a_result_is_written_read_and_shown(seeing, examples, measured, tmp_path):
    measured.save(tmp_path / "r.json")
    read = GroundingResult.load(tmp_path / "r.json")
    assert read.summary() == measured.summary()
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["measures"] == dict(MEASURES)
    assert set(data["summary"]) == {"attnlrp", "gradient_input", EVEN, RANDOM}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(measured.tables())
    text = console.export_text()
    assert "change against attnlrp" in text
    assert "even relevance" in text
    assert f"{len(examples)} examples" in text


def test_policies_are_measured_by_what_they_say(seeing, examples):
    model, processor = seeing
    policies = {"vanilla": None, "edit": lime_xai.Edit(steps=2, direction="backward"), "contrast": "contrast"}
    found = measure_grounding(model, processor, examples[:3], policies=policies, max_new_tokens=4)
    assert list(found.systems) == list(policies)
    picture = scene.evaluation_set(seed=903, scenes=4).media[0]
    inputs = make_inputs(model, processor, Request(examples[0].question, images=[picture]))
    for name, policy in policies.items():
        if policy is None:
            said = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        else:
            said = lime_xai.steer(model, inputs, policy, max_new_tokens=4, do_sample=False).sequences
        ids = said[0, inputs["input_ids"].shape[1] :].tolist()
        ids = [token for token in ids if token != model.generation_config.eos_token_id]
        relevance = lime_xai.attribute(model, inputs, ids, per_token=False).relevance[0].abs()
        tokens = torch.zeros(len(relevance), dtype=torch.bool)
        tokens[: inputs["input_ids"].shape[1]] = inputs["input_ids"][0] == model.config.image_token_id
        expected = float(relevance[tokens].sum() / relevance[1:].sum())
        assert found.values(name, "reliance")[0] == pytest.approx(expected, rel=1e-5)
    assert np.isfinite(found.values("edit", "reliance_after")).all()
    assert np.isnan(found.values("vanilla", "reliance_after")).all()


def test_policies_and_methods_are_measured_together(seeing, examples):
    found = measure_grounding(
        *seeing, examples[:1], ["attnlrp", "gradient_input"], policies={"vanilla": None, "contrast": "contrast"}
    )
    assert list(found.systems) == [
        "vanilla, attnlrp", "vanilla, gradient_input", "contrast, attnlrp", "contrast, gradient_input",
    ]  # fmt: skip


def test_without_an_answer_the_first_token_of_the_model_is_attributed(seeing, examples, measured):
    found = measure_grounding(*seeing, [replace(examples[0], answer=None)])
    model, processor = seeing
    inputs = make_inputs(
        model, processor, Request(examples[0].question, images=[scene.evaluation_set(seed=903, scenes=4).media[0]])
    )
    token = model.generate(**inputs, max_new_tokens=1, do_sample=False)[0, -1]
    word = processor.tokenizer.convert_ids_to_tokens(int(token))
    same = measure_grounding(*seeing, [replace(examples[0], answer=word)])
    assert found.rows[0]["values"] == same.rows[0]["values"]


def test_a_region_that_no_token_shows_is_unknown_and_left_out(seeing, examples, folder):
    small = GroundingExample("small", examples[0].question, examples[0].medium, BoxRegion((0, 0, 2, 2)), "yes")
    found = measure_grounding(*seeing, [small, examples[0]])
    assert list(found.unknown) == ["small"]
    assert "no token lies in the region by half or more" in found.unknown["small"]
    assert found.estimate("attnlrp", "grounding").examples == 1
    alone = measure_grounding(*seeing, [small])
    assert alone.estimate("attnlrp", "grounding").examples == 0
    json.dumps(alone.to_dict(), allow_nan=False)


def test_sounds_are_measured(hearing, tmp_path):
    evaluation = sound.evaluation_set(seed=904, scenes=2)
    lines = []
    for number, (wave, clip) in enumerate(zip(evaluation.media, evaluation.scenes, strict=True)):
        wavfile.write(tmp_path / f"{number}.wav", 16000, wave)
        lines += [f"{number}.wav\t{e.onset:.3f}\t{e.offset:.3f}\t{sound.CLASSES[e.obj]}" for e in clip.events]
    (tmp_path / "e.csv").write_text("filename\tonset\toffset\tevent_label\n" + "\n".join(lines) + "\n")
    found = measure_grounding(
        *hearing, read_grounding("events", tmp_path / "e.csv", question="is there a {event} in the sound ?")
    )
    assert not found.unknown
    number = 0
    for clip in evaluation.scenes:
        for event in clip.events:
            values = found.rows[number]["values"]
            assert found.rows[number]["tokens"] == 40
            assert 0 <= values["attnlrp"]["grounding"] <= 1
            assert values[EVEN]["grounding"] == pytest.approx(found.rows[number]["inside"] / 40)
            assert abs(found.rows[number]["inside"] - (event.offset - event.onset) * 10) <= 1.01
            number += 1


def test_a_measurement_that_was_killed_goes_on(seeing, examples, measured, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    monkeypatch.setattr(measure_module, "_PAUSE", 0.0)
    pid = os.fork()
    if pid == 0:
        try:
            torch.set_num_threads(1)

            def progress(done, total):
                if done == 3:
                    os.kill(os.getpid(), signal.SIGKILL)

            measure_grounding(*seeing, examples[:5], ["attnlrp", "gradient_input"], out=path, progress=progress)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert len(GroundingResult.load(path).rows) == 3
    told = []
    found = measure_grounding(
        *seeing, examples[:5], ["attnlrp", "gradient_input"], out=path, progress=lambda *done: told.append(done)
    )
    assert told[0] == (3, 5)
    assert told[-1] == (5, 5)
    assert found.rows == measured.rows[:5]
    assert GroundingResult.load(path).rows == measured.rows[:5]


def test_another_measurement_does_not_resume(seeing, examples, tmp_path):
    path = tmp_path / "r.json"
    measure_grounding(*seeing, examples[:1], out=path)
    with pytest.raises(ValueError, match=r"holds grounding with .*examples"):
        measure_grounding(*seeing, examples[:2], out=path)
    with pytest.raises(ValueError, match=r"holds grounding with .*methods"):
        measure_grounding(*seeing, examples[:1], "cplrp", out=path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="is no result of grounding of this version"):
        measure_grounding(*seeing, examples[:1], out=tmp_path / "other.json")


def test_what_cannot_be_measured_is_refused_before_any_compute(seeing, hearing, examples, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed")

    monkeypatch.setattr(measure_module, "attribute", never)
    monkeypatch.setattr(measure_module, "read_prompt", never)
    with pytest.raises(ValueError, match=r"own\.jsonl, line 1: Qwen2AudioForConditionalGeneration has no placeholder"):
        measure_grounding(*hearing, examples)
    with pytest.raises(ValueError, match="method is empty"):
        measure_grounding(*seeing, examples, [])
    with pytest.raises(ValueError, match="policies is empty"):
        measure_grounding(*seeing, examples, policies={})
    with pytest.raises(ValueError, match="attnlpr"):
        measure_grounding(*seeing, examples, "attnlpr")
    with pytest.raises(ValueError, match="named 'even relevance', which is a baseline's name"):
        measure_grounding(*seeing, examples, {"even relevance": "attnlrp"})
    with pytest.raises((TypeError, ValueError), match="max_new_tokens"):
        measure_grounding(*seeing, examples, max_new_tokens=0)

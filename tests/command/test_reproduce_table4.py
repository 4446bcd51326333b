"""``lime-xai reproduce grounding``, ``figure3`` and ``figure5``, and ``draw-ids``."""

import csv
import json
from dataclasses import replace

import pytest
from scipy.io import wavfile

from lime_xai import Edit
from lime_xai.command import loading, run_figure3
from lime_xai.evaluation.benchmarks import paper
from lime_xai.evaluation.benchmarks.answers import read_answers
from lime_xai.evaluation.benchmarks.grounding import GroundingResult
from lime_xai.report.answer import ExplainedAnswer
from lime_xai.worlds import sound

QUICK = ("--paper-model", "LLaVA-1.5-7B")


@pytest.fixture
def quick(monkeypatch):
    """The paper's setting for LLaVA-1.5-7B with one step."""
    monkeypatch.setitem(paper.MODELS, "LLaVA-1.5-7B", replace(paper.MODELS["LLaVA-1.5-7B"], steps=1))


@pytest.fixture
def unloaded(monkeypatch):
    monkeypatch.setattr(loading, "bundled_model", lambda *args: pytest.fail("a model was loaded"))


@pytest.fixture
def places(picture, tmp_path):
    rows = [
        {"image": picture, "question": f"is there a {name} in the image ?", "box": [0, 0, 36, 36]}
        for name in ("cup", "heart")
    ]
    (tmp_path / "places.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "--file", "places.jsonl"


def table4(*given, model="scene"):
    return "reproduce", "grounding", "--model", model, "--out", "out", "--max-new-tokens", 2, *given


def test_table_4_is_estimated_measured_and_gone_on_with(lime, quick, places, tmp_path):
    first = lime(*table4(*places, "--estimate"))
    assert first.exit_code == 0, first.output
    assert "1 of 2 examples left, about" in first.stdout
    assert "estimated peak memory" in first.stdout
    assert not (tmp_path / "out" / "reproduction.json").exists()
    kept = GroundingResult.load(tmp_path / "out" / "grounding.json")
    assert len(kept.rows) == 1
    refused = lime(*table4(*places, *QUICK))  # one step in place of seven: another policy
    assert refused.exit_code == 2
    assert "holds grounding with" in refused.stderr
    (tmp_path / "out" / "grounding.json").unlink()
    assert lime(*table4(*places, *QUICK, "--estimate")).exit_code == 0
    second = lime(*table4(*places, *QUICK))
    assert second.exit_code == 0, second.output
    for part in ("27 (regular, T4)", "36 (LIME, T4)", "taken as the paper's LLaVA-1.5-7B", "our definitions"):
        assert part in second.stdout
    report = json.loads((tmp_path / "out" / "reproduction.json").read_text())
    found = GroundingResult.load(tmp_path / "out" / "grounding.json")
    assert len(found.rows) == 2
    after = report["rows"][1]["values"][0]["ours"]["after"][0]
    assert after == pytest.approx(100 * found.estimate("paper's setting", "grounding_after").mean)
    third = lime(*table4(*places, *QUICK))
    assert third.stdout.split("examples left")[1].split("report")[0].count("36 (LIME, T4)") == 1
    assert json.loads((tmp_path / "out" / "reproduction.json").read_text()) == report


def test_table_4_of_sounds(lime, quick, tmp_path):
    drawn = sound.evaluation_set(seed=904, scenes=1)
    wavfile.write(tmp_path / "0.wav", 16000, drawn.media[0])
    event = drawn.scenes[0].events[0]
    line = f"0.wav\t{event.onset:.3f}\t{event.offset:.3f}\t{sound.CLASSES[event.obj]}\n"
    (tmp_path / "e.tsv").write_text("filename\tonset\toffset\tevent_label\n" + line)
    asked = ("--kind", "events", "--file", "e.tsv", "--question", "is there a {event} in the sound ?", *QUICK)
    result = lime(*table4(*asked, model="sound"))
    assert result.exit_code == 0, result.output
    found = GroundingResult.load(tmp_path / "out" / "grounding.json")
    for row in ("vanilla, greedy", "paper's setting", "our default"):
        assert 0 <= found.estimate(row, "grounding_before").mean <= 1
    assert 0 < found.estimate("paper's setting", "reliance_after").mean < 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--file", "no.jsonl"), ["There is no file no.jsonl"]),
        (("--file", "places.jsonl", "--paper-model", "llava"), ["Unknown model of the paper 'llava'"]),
        (("--file", "places.jsonl", "--device", "meta"), ["--device meta"]),
        (("--file", "places.jsonl", "--masks", "."), ["has no folder of masks"]),
        (("--file", "places.jsonl", "--seed", "1"), ["No such option"]),
    ],
    ids=str,
)
def test_table_4_is_refused_before_a_model_is_loaded(refused, unloaded, places, given, says):
    refused(*table4(*given), says=says)


def test_table_4_and_figure_3_run_in_one_process(refused, unloaded, places, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(*table4(*places), says=["reproduce grounding runs in one process, and this is one of 2"])
    refused("reproduce", "figure3", "--model", "scene", "--out", "o", says=["reproduce figure3 runs in one process"])


def test_figure_3_is_drawn_from_the_recorded_relevance(lime, quick, picture, tmp_path):
    ask = ("reproduce", "figure3", "--model", "scene", "--out", "fig", "--max-new-tokens", 1, "--image", picture)
    ask += ("--prompt", "is there a cup in the image ?", *QUICK, "--learning-rate", 0.02)
    first = lime(*ask, "--estimate")
    assert first.exit_code == 0, first.output
    assert "for 1 tokens at most, by the time of one" in first.stdout
    assert not (tmp_path / "fig").exists()
    result = lime(*ask)
    assert result.exit_code == 0, result.output
    answer = ExplainedAnswer.load(tmp_path / "fig" / "answer.safetensors")
    rows = list(csv.DictReader((tmp_path / "fig" / "figure3.csv").open()))
    (step,) = answer.steps
    assert [float(row["relevance"]) for row in rows] == pytest.approx(step.shares)
    assert len(step.shares) == 2
    assert step.shares[1] > step.shares[0]
    for name in ("figure3", "figure3-objective"):
        for ending in ("pdf", "png"):
            assert (tmp_path / "fig" / f"{name}.{ending}").stat().st_size > 1000
    report = json.loads((tmp_path / "fig" / "figure3.json").read_text())
    assert report["settings"]["learning_rate"] == 0.02
    assert any("what the paper's figure 3 calls relevance is not known" in note for note in report["notes"])
    again = lime("plot", "fig/answer.safetensors", "--kind", "relevance-steps", "--out", "again.png")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "fig" / "figure3.csv").read_text()


def test_figure_3_needs_a_picture_or_a_sound(refused, monkeypatch):
    monkeypatch.setattr(run_figure3, "find_checkpoint", lambda *args: pytest.fail("a model was sought"))
    refused("reproduce", "figure3", "--model", "some/model", "--out", "o", says=["give --image FILE or --audio FILE"])


def test_figure_5_is_resumed_and_drawn(lime, quick, picture, tmp_path):
    rows = [
        {"image": picture, "question": f"is there a {name} in the image ?", "answer": "yes"}
        for name in ("cup", "heart")
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ask = ("reproduce", "figure5", "--model", "scene", "--benchmark", "own", "--file", "own.jsonl", "--out", "fig")
    ask += ("--lambdas", "0.5,0", "--max-new-tokens", 1, *QUICK)
    first = lime(*ask, "--estimate")
    assert first.exit_code == 0, first.output
    assert "left, by the median time of the answers that are there" in first.stdout
    timed = read_answers(tmp_path / "fig" / "figure5.jsonl").answers
    assert len(timed) == 7
    result = lime(*ask)
    assert result.exit_code == 0, result.output
    kept = read_answers(tmp_path / "fig" / "figure5.jsonl")
    assert {key: kept.answers[key] for key in timed} == timed
    varied = {name: settings[0] for name, settings in kept.policies.items() if settings}
    assert {(one["edit"], one["objective"]["kl_weight"]) for one in varied.values()} == {
        (edited, weight) for edited in ("keys", "values", "both") for weight in (0, 0.5)
    }
    same = {
        json.dumps({**one, "edit": "", "objective": {**one["objective"], "kl_weight": 0}}) for one in varied.values()
    }
    assert len(same) == 1  # nothing else is varied
    report = json.loads((tmp_path / "fig" / "figure5.json").read_text())
    drawn = list(csv.DictReader((tmp_path / "fig" / "figure5.csv").open()))
    accuracy = report["results"]["systems"]["keys, 0.5"]["measures"]["all"]["accuracy"][0]
    (point,) = (r for r in drawn if (r["metric"], r["edited"], r["lambda"]) == ("accuracy", "keys", "0.5"))
    assert float(point["value"]) == accuracy
    for ending in ("pdf", "png"):
        assert (tmp_path / "fig" / f"figure5.{ending}").stat().st_size > 1000


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--lambdas", "0,a"), ["--lambdas is '0,a'; expected numbers separated by commas"]),
        (("--lambdas", "1,1"), ["The weights of the divergence are 1, 1; give at least one, and each once"]),
        (("--lambdas", "-1"), ["kl_weight"]),
        (("--learning-rate", "0"), ["learning_rate"]),
        (("--benchmark", "popa"), ["Unknown benchmark 'popa'"]),
    ],
    ids=str,
)
def test_figure_5_is_refused_before_a_model_is_loaded(refused, unloaded, picture, tmp_path, given, says):
    (tmp_path / "own.jsonl").write_text(json.dumps({"image": picture, "question": "what ?", "answer": "a"}) + "\n")
    ask = ("--model", "scene", "--benchmark", "own", "--file", "own.jsonl", "--out", "fig")
    refused("reproduce", "figure5", *ask, *given, says=says)


def test_the_papers_setting_is_the_default_of_the_figures():
    assert run_figure3.paper_setting(None, None) == Edit.paper()
    assert run_figure3.paper_setting(None, 0.5) == Edit.paper(learning_rate=0.5)
    for model in paper.MODELS.values():
        assert run_figure3.paper_setting(model, None) == model.policy()
        assert run_figure3.paper_setting(model, 0.5).learning_rate == 0.5


def test_ids_are_drawn_by_a_command(lime, refused, tmp_path):
    images = [{"id": number} for number in range(1, 10)]
    (tmp_path / "instances.json").write_text(json.dumps({"images": images}))
    ask = ("draw-ids", "--instances", "instances.json", "--out", "ids.txt", "--number", 3, "--seed", 4)
    result = lime(*ask)
    assert result.exit_code == 0, result.output
    first, *ids = (tmp_path / "ids.txt").read_text().splitlines()
    assert first == "# 3 of the 9 images of instances.json, drawn with seed 4"
    assert len(set(ids)) == 3
    refused(*ask, says=["There is a file ids.txt already"])

"""``lime-xai reproduce cost``: times and peak memory of policies beside the paper's figures."""

import json

import pytest

from lime_xai.command import loading, run_cost
from lime_xai.evaluation.cost.alternating import Times
from lime_xai.evaluation.cost.generations import Ratios
from lime_xai.evaluation.cost.paper import COSTS, cost_rows

ASK = ("reproduce", "cost", "--model", "scene", "--out", "out", "--max-new-tokens", "4")


@pytest.fixture
def few_rows(monkeypatch):
    """Run the plain model and the slot contrast only; a process for each peak still knows every row."""
    kept = ("plain", "contrast, slot", "paper's setting")

    def rows(model):
        return [row for row in cost_rows(model) if row.name in kept]

    monkeypatch.setattr(run_cost, "cost_rows", rows)


def test_ratios_are_those_of_the_same_round():
    plain, own = Times(2.0, [1.0, 2.0, 4.0]), Times(3.0, [2.0, 4.0, 8.0])
    found = Ratios.of(own, plain)
    assert (found.median, found.low, found.high, found.rounds) == (2.0, 2.0, 2.0, 3)
    assert (found.first, found.whole) == (1.5, 17 / 9)


def test_figures_are_those_of_the_note():
    found = {name: (round(one.time_ratio, 1), one.plain_memory, one.memory) for name, one in COSTS.items()}
    assert found == {"LLaVA-1.5-7B": (9.4, 26.2, 34.8), "Qwen2-Audio-7B": (9.2, 30.8, 33.8)}


def test_times_stand_beside_the_papers_and_are_written(lime, few_rows, monkeypatch, tmp_path):
    monkeypatch.setattr(run_cost, "peak_is_known", lambda device: False)
    result = lime(*ASK, "--paper-model", "LLaVA-1.5-7B")
    assert result.exit_code == 0, result.output
    assert "left, by a short answer of each row" in result.stdout
    assert "estimated peak memory, MB: the example of the world 'scene', 43 tokens" in result.stdout
    assert "9.44 (0.32 tokens/s)" in result.stdout
    assert "Peak memory is not known for cpu" in result.stderr
    found = json.loads((tmp_path / "out" / "cost.json").read_text())
    plain, paper, slot = found["rows"]
    assert [len(row["seconds"]["tokens"]) for row in found["rows"]] == [3, 3, 3]
    assert plain["ratios"]["median"] == 1
    assert paper["ratios"]["whole"] > slot["ratios"]["whole"]
    assert paper["paper"]["memory"] == 34.8
    assert slot["peak_bytes"] is None
    assert any("taken as the paper's LLaVA-1.5-7B" in note for note in found["notes"])


@pytest.mark.slow
def test_peaks_are_measured_in_processes_of_their_own(lime, few_rows, picture, tmp_path):
    given = ("--image", picture, "--prompt", "is there a cup in the image ?")
    result = lime(*ASK, *given, "--paper-model", "none")
    assert result.exit_code == 0, result.output
    peaks = [row["peak_bytes"] for row in json.loads((tmp_path / "out" / "cost.json").read_text())["rows"]]
    assert all(1e8 < peak < 1e10 for peak in peaks)


def test_an_estimate_measures_nothing(lime, few_rows, monkeypatch, tmp_path):
    monkeypatch.setattr(run_cost, "measured_times", lambda *args: pytest.fail("it was measured"))
    result = lime(*ASK, "--estimate")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "out" / "cost.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--max-new-tokens", "2"), ["--max-new-tokens is 2", "3 tokens at least"]),
        (("--limit", "2"), ["No such option: --limit"]),
        (("--file", "a.json", "--seed", "0"), ["No such option: --file"]),
        (("--paper-model", "llava"), ["Unknown model of the paper 'llava'"]),
        (("--device", "meta"), ["--device meta"]),
        (("--out", "no/out"), ["there is no folder"]),
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_refused_before_a_model_is_loaded(refused, monkeypatch, options, says):
    monkeypatch.setattr(loading, "bundled_model", lambda *args: pytest.fail("a model was loaded"))
    refused(*ASK, *options, says=says)


def test_files_of_cost_are_refused_elsewhere(refused, picture):
    refused(
        "reproduce", "pope", "--model", "scene", "--out", "out", "--image", picture, says=["No such option: --image"]
    )

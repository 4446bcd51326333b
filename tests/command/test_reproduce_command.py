"""``lime-xai reproduce``: a benchmark of the paper on the bundled model."""

import json
from dataclasses import replace

import pytest
from support.benchmark_files import scene_pope_files

from lime_xai import Contrast
from lime_xai.command import loading
from lime_xai.command.parts import Part, Run, estimate_parts
from lime_xai.command.screen import Notices
from lime_xai.evaluation.benchmarks import paper
from lime_xai.evaluation.benchmarks.answers import read_answers
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding
from lime_xai.evaluation.benchmarks.protocols.world import WorldCaptions, write_world
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.evaluation.benchmarks.shares import Share
from lime_xai.worlds import scene

ASK = {"--model": "scene", "--file": "random=pope/random.json", "--out": "out", "--partial": True}


@pytest.fixture
def pope(tmp_path):
    return scene_pope_files(tmp_path / "pope", 1, ("random",))


@pytest.fixture
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(loading, "bundled_model", lambda *args: pytest.fail("a model was loaded"))


def options(**changed):
    found = {**ASK, "--max-new-tokens": 1, **{f"--{name.replace('_', '-')}": one for name, one in changed.items()}}
    pairs = ((name,) if value is True else (name, value) for name, value in found.items() if value is not None)
    return [part for pair in pairs for part in pair]


def texts(path):
    return {key: answer.text for key, answer in read_answers(path).answers.items()}


def test_an_estimate_is_kept_and_the_run_goes_on_from_it(lime, pope, tmp_path):
    first = lime("reproduce", "pope", *options(estimate=True))
    assert first.exit_code == 0, first.output
    assert "left, by the median time of the answers that are there" in first.stdout
    assert not (tmp_path / "out" / "reproduction.json").exists()
    timed = read_answers(tmp_path / "out" / "greedy.jsonl").answers
    keys = ["vanilla", "paper", "edit", "contrast", "contrast_noisy_pixels"]
    assert list(timed) == [("random-1", key) for key in keys]
    assert list(texts(tmp_path / "out" / "sampling.jsonl")) == [("random-1", "vanilla")]

    second = lime("reproduce", "pope", *options(paper_model="LLaVA-1.5-7B", seed=0))
    assert second.exit_code == 0, second.output
    kept = read_answers(tmp_path / "out" / "greedy.jsonl").answers
    assert len(kept) == 10
    assert {key: kept[key] for key in timed} == timed, "an answer of the estimate was given again"
    assert "90.27 (LIME, T1)" in second.stdout
    assert "taken as the paper's LLaVA-1.5-7B by --paper-model" in second.stdout
    report = json.loads((tmp_path / "out" / "reproduction.json").read_text())
    assert report["files"]["greedy.jsonl"]["header"]["do_sample"] is False
    sampling = report["files"]["sampling.jsonl"]["header"]
    assert (sampling["do_sample"], sampling["generation_config"]["top_k"]) == (True, 0)
    (found,) = report["reproductions"]
    notes = " ".join(found["notes"])
    for part in ("hidden size 128", "--partial", "1 tokens at most", "weights in float32", "prompt none"):
        assert part in notes
    assert {row["name"] for row in found["rows"]} >= {"vanilla, greedy", "vanilla, sampling", "VCD, no gradients"}

    before = (tmp_path / "out" / "greedy.jsonl").read_bytes()
    third = lime("reproduce", "pope", *options(paper_model="none", parser="vcd,official"))
    assert third.exit_code == 0, third.output
    assert (tmp_path / "out" / "greedy.jsonl").read_bytes() == before
    report = json.loads((tmp_path / "out" / "reproduction.json").read_text())
    assert [one["parser"] for one in report["reproductions"]] == ["vcd", "official"]
    assert [one["paper_model"] for one in report["reproductions"]] == [None, None]
    assert "(LIME, T1)" not in third.stdout


def test_two_processes_give_the_answers_of_one(lime, pope, tmp_path, monkeypatch):
    quick = replace(paper.MODELS["LLaVA-1.5-7B"], steps=1)
    monkeypatch.setitem(paper.MODELS, "LLaVA-1.5-7B", quick)

    def run(out, rank=0, size=1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(size))
        found = lime("reproduce", "pope", *options(out=out, paper_model=quick.name))
        assert found.exit_code == 0, found.output
        return found.stdout

    run("one")
    assert "process 1 of 2 has ended" in run("two", 0, 2)
    assert "report: two/reproduction.json" in run("two", 1, 2)
    for name in ("greedy", "sampling"):
        one, two = (texts(tmp_path / out / f"{name}.jsonl") for out in ("one", "two"))
        assert list(one) == list(two)
        assert one == two
    assert not list((tmp_path / "two").glob("*part*"))


@pytest.mark.parametrize("change", ["weights", "policy", "picture"])
def test_no_time_is_printed_from_a_whole_file_of_another_run(change, tmp_path, monkeypatch, capsys):
    model, processor = scene.WORLD.load_model()
    _, captions = write_world(scene.WORLD, tmp_path / "w", 900, 2)
    protocol, files = WorldCaptions(), {"captions": captions}
    asking, path = Asking(protocol, protocol.read(files), files, Decoding(1)), tmp_path / "greedy.jsonl"
    run = Run("scene", model, processor, Share(0, 2), Notices())
    part = Part("greedy", path, asking, {"vanilla": None})
    evaluate(model, processor, asking, part.policies, path)
    estimate_parts(run, [part])
    assert "by the median time of the answers that are there" in capsys.readouterr().out
    says = change
    if change == "weights":
        monkeypatch.setattr("lime_xai.evaluation.benchmarks.run.weights_hash", lambda _: "another")
    elif change == "policy":
        part, says = replace(part, policies={"vanilla": Contrast()}), "vanilla"
    else:
        scene.evaluation_set(seed=901, scenes=1).images[0].save(asking.items[1].images[0])
        says = "has changed since it was answered"
    with pytest.raises(ValueError, match=says):
        estimate_parts(run, [part])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"partial": None}, ["was given random", "expected random: questions of the random split"]),
        ({"file": "rendom=pope/random.json"}, ["was given rendom"]),
        ({"file": "random=no.json"}, ["there is no file no.json"]),
        ({"parser": "offical"}, ["Unknown parser of pope-coco 'offical'"]),
        ({"paper_model": "llava"}, ["Unknown model of the paper 'llava'", "LLaVA-1.5-7B"]),
        ({"style": "long"}, ["Unknown prompt of pope-coco 'long'"]),
        ({"media": "."}, ["there is no file COCO_val2014_000000000000.jpg"]),
        ({"seed": -1}, ["seed is -1"]),
        ({"device": "meta"}, ["--device meta"]),
        ({"model": "no-such/folder/here"}, ["There is no folder 'no-such/folder/here'"]),
        ({"out": "pope/random.json"}, ["--out pope/random.json is a file; give a folder"]),
        ({"out": "no/out"}, ["--out no/out: there is no folder", "make it first"]),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused_before_a_model_is_loaded(refused, nothing_loaded, pope, change, says):
    refused("reproduce", "pope", *options(**change), says=says)


def test_a_benchmark_of_the_paper_that_is_not_asked_here_is_refused(refused, nothing_loaded, pope):
    refused("reproduce", "table9", *options(), says=["No such command 'table9'"])


def test_another_configuration_never_goes_on(refused, lime, nothing_loaded, pope, tmp_path):
    (tmp_path / "out").mkdir()
    header = {"format": "answers of lime_xai, 1", "benchmark": "pope-coco", "seed": 5}
    (tmp_path / "out" / "greedy.jsonl").write_text(json.dumps(header) + "\n")
    refused("reproduce", "pope", *options(), says=["out/greedy.jsonl holds answers with", "seed"])


def test_a_name_of_the_paper_on_other_weights_is_refused(refused, nothing_loaded, pope, tmp_path, changed_model):
    folder = changed_model("llava-1.5-7b-hf")
    says = ["is named like the paper's LLaVA-1.5-7B", "hidden size of 128", "--paper-model NAME"]
    refused("reproduce", "pope", *options(model=folder), says=says)


def test_a_model_that_takes_no_sounds_is_refused(lime, tmp_path):
    from support.benchmark_files import audio_files

    audio_files(tmp_path / "sounds", 2)
    (tmp_path / "sounds" / "Y0.wav").write_bytes(b"")
    result = lime("reproduce", "audioqa", *options(file="random=sounds/random.jsonl"))
    assert result.exit_code == 2
    assert "this benchmark needs another model" in result.stderr

"""``lime-xai explain``: what it prints and writes."""

import json
import re

import pandas
import pytest

from lime_xai.command import run_explain
from lime_xai.printing import signed

ASK = ("explain", "scene", "--prompt", "describe this picture", "--max-new-tokens", "6")


def test_an_answer_is_printed_and_written(lime, picture, tmp_path):
    files = [f"--{kind}={tmp_path / 'answer'}.{kind}" for kind in ("html", "csv", "json")]
    result = lime(*ASK, "--image", picture, "--policy", "contrast", *files)
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "answer.json").read_text())
    (answer,) = data["answers"]
    assert answer["answer"] in result.stdout
    assert answer["before"]["answer"] in result.stdout
    assert data["prompt"] == "describe this picture"
    table = pandas.read_csv(tmp_path / "answer.csv", keep_default_na=False)
    assert list(table["text"]) == [word["text"] for word in answer["words"]]
    page = (tmp_path / "answer.html").read_text()
    assert page.count('id="data"') == 1
    for word in answer["words"]:
        assert word["text"] in result.stdout


def test_every_picture_of_a_folder_is_explained_on_one_page(lime, evaluation, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("b.png", "a.jpg"):
        evaluation.images[0].save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    result = lime(*ASK, "--folder", folder, "--html", tmp_path / "all.html", "--json", tmp_path / "all.json")
    assert result.exit_code == 0, result.output
    assert [one["file"] for one in json.loads((tmp_path / "all.json").read_text())["answers"]] == ["a.jpg", "b.png"]
    assert "a.jpg" in (tmp_path / "all.html").read_text()


def test_a_folder_is_listed_by_its_worst_grounded_words(lime, evaluation, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.png", "c.png")):
        evaluation.images[0].rotate(90 * index).save(folder / name)
    result = lime(*ASK, "--folder", folder, "--csv", tmp_path / "all.csv", "--json", tmp_path / "all.json")
    assert result.exit_code == 0, result.output
    lowest = {}
    for one in json.loads((tmp_path / "all.json").read_text())["answers"]:
        words = [word for word in one["words"] if not word["special"] and any(map(str.isalnum, word["text"]))]
        lowest[one["file"]] = min((word["grounding"], word["text"]) for word in words)
    order = sorted(lowest, key=lambda name: lowest[name][0])
    rows = [re.split(" *│ *", line) for line in result.stdout.splitlines() if ".png" in line]
    assert [row[1:4] for row in rows] == [[name, signed(lowest[name][0]), lowest[name][1]] for name in order]
    table = pandas.read_csv(tmp_path / "all.csv", keep_default_na=False)
    assert list(dict.fromkeys(table["file"])) == order


@pytest.mark.parametrize(("value", "text"), [(-0.004, "0.00"), (0.004, "0.00"), (0.0, "0.00"), (-0.006, "-0.01")])
def test_zero_has_no_sign(value, text):
    assert signed(value) == text


def test_the_kind_of_a_figure_is_read_with_underscores_too(lime, refused, picture, tmp_path):
    saved = tmp_path / "a.safetensors"
    assert lime(*ASK, "--image", picture, "--policy", "contrast", "--save", saved).exit_code == 0
    for kind in ("before_after", "before-after"):
        result = lime("plot", saved, "--kind", kind, "--out", tmp_path / f"{kind}.png")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "before_after.csv").read_text() == (tmp_path / "before-after.csv").read_text()
    refused("plot", saved, "--kind", "before", "--out", tmp_path / "x.png", says=["'before' is not one of word, words"])


def test_an_interrupted_folder_goes_on_from_the_answers_that_are_kept(lime, evaluation, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, name in enumerate(("a.png", "b.png", "c.png")):
        evaluation.images[0].rotate(90 * index).save(folder / name)
    run = (*ASK, "--folder", folder, "--resume", tmp_path / "answers", "--json", tmp_path / "all.json")
    made = []
    explain = run_explain.explain

    def stops_at_the_third(*args, **kwargs):
        made.append(1)
        if len(made) == 3:
            raise RuntimeError("cut off")
        return explain(*args, **kwargs)

    monkeypatch.setattr(run_explain, "explain", stops_at_the_third)
    assert lime(*run).exit_code != 0
    assert len(list((tmp_path / "answers").glob("*.safetensors"))) == 2
    assert lime(*run).exit_code == 0
    assert len(made) == 4
    resumed = json.loads((tmp_path / "all.json").read_text())
    assert lime(*ASK, "--folder", folder, "--json", tmp_path / "whole.json").exit_code == 0
    assert json.loads((tmp_path / "whole.json").read_text()) == resumed
    other = lime(*run, "--seed", "1")
    assert other.exit_code == 2
    assert "'seed': 0" in other.stderr


def test_a_margin_of_two_words(lime, picture, tmp_path):
    words = ("--answer", "yes", "--against", "no")
    result = lime(*ASK, "--image", picture, *words, "--json", tmp_path / "margin.json")
    assert result.exit_code == 0, result.output
    (word,) = json.loads((tmp_path / "margin.json").read_text())["answers"][0]["words"]
    assert (word["text"], word["against"]) == ("yes", "no")
    assert "│ yes against no │" in result.stdout
    assert f"margin {word['logit']:+.2f}: the logit of “yes” minus that of “no”." in result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--folder", "empty"), "holds no image"),
        (("--folder", "empty", "--image", "PICTURE"), "Give one of them"),
        (("--folder", "empty", "--save", "answer.safetensors"), "Give one of them"),
        (("--resume", "answers"), "without --folder"),
        (("--against", "no"), "give answer= of one token"),
        (("--policy", "contrats"), "contrast"),
        (("--method", "attnlrpp"), "attnlrp"),
    ],
)
def test_what_cannot_be_explained_is_refused(refused, picture, tmp_path, options, says):
    (tmp_path / "empty").mkdir()
    given = [picture if option == "PICTURE" else option for option in options]
    refused(*ASK, *(() if "--folder" in given else ("--image", picture)), *given, says=[says])


def test_a_saved_answer_is_drawn_again(lime, picture, tmp_path):
    saved = tmp_path / "answer.safetensors"
    result = lime(*ASK, "--image", picture, "--policy", "edit", "--save", saved, "--out", tmp_path / "first.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "first.png").stat().st_size > 5000
    for kind in ("word", "words", "matrix", "before-after", "steps"):
        out = tmp_path / f"{kind}.pdf"
        result = lime("plot", saved, "--kind", kind, "--out", out)
        assert result.exit_code == 0, result.output
        assert out.read_bytes().startswith(b"%PDF")
        assert out.with_suffix(".csv").stat().st_size > 20
    result = lime("plot", saved, "--html", tmp_path / "again.html")
    assert result.exit_code == 0, result.output
    assert "</html>" in (tmp_path / "again.html").read_text()


def test_a_saved_attribution_is_drawn_on_its_picture(lime, picture, tmp_path):
    saved = tmp_path / "why.safetensors"
    lime("attribute", "scene", "--prompt", "describe this picture", "--image", picture, "--save", saved)
    result = lime("plot", saved, "--out", tmp_path / "why.png", "--columns", "1")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "why.png").stat().st_size > 5000


def test_what_cannot_be_drawn_is_refused(refused, lime, picture, tmp_path):
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"nothing")
    refused("plot", other, "--out", tmp_path / "a.png", says=["other.safetensors"])
    refused("plot", tmp_path / "none.safetensors", "--out", tmp_path / "a.png", says=["none.safetensors"])
    saved = tmp_path / "why.safetensors"
    lime("attribute", "scene", "--prompt", "describe this picture", "--image", picture, "--save", saved)
    refused("plot", saved, says=["--out"])
    refused("plot", saved, "--out", tmp_path / "a.png", "--kind", "words", says=["words", "explain"])
    refused("plot", saved, "--out", tmp_path / "a.png", "--kind", "wordz", says=["wordz"])
    refused("plot", saved, "--html", tmp_path / "a.html", says=["explain"])

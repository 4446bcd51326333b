"""The command line, on the bundled model; errors are one line and say what to do."""

import json
import re
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from lime_xai import Attribution, Comparison
from lime_xai.worlds import scene

QUESTION = "is there a cup in the image ?"


# What it does --------------------------------------------------------------------------------------------------------


def test_attribute_prints_and_writes_what_the_library_finds(lime, picture, tmp_path):
    arguments = ["--image", picture, "--prompt", QUESTION, "--target", "yes", "--threads", "1"]
    result = lime("attribute", "scene", *arguments, "--out", "a.png", "--save", "a.safetensors")
    assert result.exit_code == 0, result.output
    text = result.stdout
    found = Attribution.load(tmp_path / "a.safetensors")
    assert found.tokens[0][-1] == " assistant:"
    assert found.mask("image").sum() == 36
    assert f"target 'yes', logit {float(found.logits[0]):.3f}, residual {float(found.residual[0]):+.3f}" in text
    assert f"image {float(found.shares['image'][0]):.3f}" in text
    assert "image: 36 tokens" in text
    assert Image.open(tmp_path / "a.png").format == "PNG"
    again = lime("attribute", "scene", *arguments).stdout
    assert again.splitlines()[:2] == text.splitlines()[:2]


def test_attribute_without_a_target_explains_the_models_own_token(lime, picture):
    result = lime("attribute", "scene", "--image", picture, "--prompt", QUESTION, "--method", "cplrp")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "target 'yes'" in text or "target 'no'" in text


def test_steer_prints_both_answers_and_the_trace(lime, picture):
    arguments = ["--image", picture, "--prompt", scene.CAPTION_REQUEST, "--max-new-tokens", "6", "--trace"]
    result = lime("steer", "scene", *arguments)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert text.index("plain:") < text.index("steered:") < text.index("token by token")
    assert "there is" in text


@pytest.mark.parametrize("policy", ["edit", "contrast", '{"policy": "UniformGain", "gain": 0.5}'])
def test_steer_takes_policies_by_name_and_as_json(lime, picture, policy):
    result = lime("steer", "scene", "--image", picture, "--prompt", QUESTION, "--policy", policy)
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "steered:" in text


def test_an_idle_policy_says_the_same_also_when_sampling(lime, picture):
    arguments = ["--image", picture, "--prompt", scene.CAPTION_REQUEST, "--sample", "--seed", "4"]
    text = lime("steer", "scene", *arguments, "--policy", '{"policy": "Edit", "steps": 0}').stdout
    plain, steered = (line.split(":", 1)[1] for line in text.splitlines() if line.startswith(("plain:", "steered:")))
    assert plain == steered


def test_audit_says_that_the_bundled_model_is_covered(lime):
    result = lime("audit", "scene")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert "every module is covered" in text
    assert "LlamaAttention" in text
    assert "bilinear" in text


def test_compare_prints_tables_and_writes_files(lime, refused, tmp_path):
    arguments = ["compare", "--methods", "attnlrp,gradient_input", "--metrics", "delta_a,mass", "--questions", "2"]
    files = ["--json", "c.json", "--csv", "c.csv", "--latex", "c.tex", "--plot", "c.png"]
    result = lime(*arguments, *files, "--threads", "1")
    assert result.exit_code == 0, result.output
    text = result.stdout
    found = Comparison.from_json(tmp_path / "c.json")
    assert found.metrics == ("delta_a", "delta_a@blur", "mass")
    for method in ("attnlrp", "gradient_input"):
        assert str(found.summary[method]["delta_a"]) in text
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 7
    assert r"\textbf" in (tmp_path / "c.tex").read_text()
    assert Image.open(tmp_path / "c.png").format == "PNG"
    refused(*arguments, *files, "--seed", "6", says=["is another one", "another file name"])
    refused(*arguments[:3], "--metrics", "delta", says=["Did you mean 'delta_a'"])


def test_compare_measures_on_sounds_and_refuses_silence_for_pictures(lime, refused, tmp_path):
    arguments = ["compare", "--methods", "attnlrp", "--metrics", "delta_a,mass", "--questions", "1", "--threads", "1"]
    result = lime(*arguments, "--world", "sound", "--replacement", "silence,mean", "--json", "c.json")
    assert result.exit_code == 0, result.output
    found = Comparison.from_json(tmp_path / "c.json")
    assert found.metrics == ("delta_a", "delta_a@mean", "mass")
    refused(*arguments, "--replacement", "silence", says=["needs a sound, and the prompt has none", "holds: image"])
    refused(*arguments, "--world", "sounds", says=["Did you mean 'sound'"])


def test_world_writes_a_report(lime, refused, tmp_path):
    arguments = ["--scenes", "6", "--policies", "vanilla,edit", "--json", "report.json", "--threads", "1"]
    result = lime("world", *arguments)
    assert result.exit_code == 0, result.output
    text = result.stdout
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert list(data["policies"]) == ["vanilla", "edit"]
    assert (data["world"], data["model"], data["seed"], data["scenes"]) == ("scene", "bundled", 5, 6)
    assert data["policies"]["vanilla"]["splits"]["random"]["accuracy"] > 0.6
    assert f"{data['policies']['edit']['chair_i']:.3f}" in text
    refused("world", *arguments, "--seed", "6", says=["holds a report with", "'seed'", "another file name"])


def test_the_module_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lime-xai", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("lime_xai", run_name="__main__")
    assert end.value.code in (0, None)
    printed = capsys.readouterr().out
    for name in ("demo", "attribute", "steer", "audit", "world"):
        assert name in printed


def test_help_imports_no_heavy_library():
    heavy = ("torch", "transformers", "numpy", "scipy", "pandas", "matplotlib", "captum", "zennit")
    code = (
        "import runpy, sys\nsys.argv = ['lime-xai', '--help']\n"
        "try:\n    runpy.run_module('lime_xai', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        f"print('imported:', [name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "imported: []"


MORE = ["attribute", "scene", "--prompt", QUESTION, "--target", "yes"]


def test_several_targets_are_explained_one_after_the_other(lime, picture, tmp_path):
    asked = [
        *MORE,
        "--target",
        "no",
        "--image",
        picture,
        "--out",
        "a.png",
        "--save",
        "a.safetensors",
        "--json",
        "a.json",
    ]
    result = lime(*asked)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert [row["asked"] for row in report["targets"]] == ["yes", "no"]
    assert report["method"] == {"method": "attnlrp"} | report["method"]
    for index, row in enumerate(report["targets"], start=1):
        found = Attribution.load(tmp_path / f"a-{index}.safetensors")
        assert row["relevance"] == pytest.approx(found.relevance[0].tolist(), rel=1e-6)
        assert row["tokens"] == found.tokens[0]
        assert row["shares"]["image"] == pytest.approx(float(found.shares["image"][0]), rel=1e-6)
        assert f"target '{row['target']}', logit {row['value']:.3f}" in result.stdout
        assert Image.open(tmp_path / f"a-{index}.png").format == "PNG"


def test_a_margin_is_the_difference_of_two_logits(lime, refused, picture, tmp_path):
    for name, more in (("both", ["--target", "no"]), ("margin", ["--against", "no"])):
        result = lime(*MORE, *more, "--image", picture, "--json", f"{name}.json")
        assert result.exit_code == 0, result.output
    rows = {name: json.loads((tmp_path / f"{name}.json").read_text())["targets"] for name in ("both", "margin")}
    yes, no = (row["value"] for row in rows["both"])
    assert rows["margin"][0]["value"] == pytest.approx(yes - no, rel=1e-4)
    assert "target 'yes' against 'no', margin" in result.stdout
    refused(*MORE, "--against", "a cup", "--image", picture, says=["--against 'a cup' is 2 tokens ('a', 'cup')"])
    refused(*MORE[:4], "--against", "no", says=["--against needs a --target"])


def test_methods_are_given_as_json_too_and_long_ones_are_announced(lime, refused, picture, tmp_path, monkeypatch):
    from lime_xai.command import run_attribute

    asked = [*MORE, "--image", picture, "--method"]
    refused(*asked, '{"method": "kernel_shap", "sample": 4}', says=["'sample'. Did you mean 'samples'"])
    refused(*asked, '{"method": "kernel_shap"', says=["--method is no valid JSON"])
    settings = '{"method": "kernel_shap", "samples": 48}'
    quick = lime(*asked, settings, "--json", "k.json")
    assert (quick.exit_code, quick.stderr) == (0, "")
    assert json.loads((tmp_path / "k.json").read_text())["method"]["samples"] == 48
    monkeypatch.setattr(run_attribute, "SLOW", 0.0)
    slow = lime(*asked, settings)
    assert slow.stdout == quick.stdout.replace("report: k.json\n", "")
    assert "notice: kernel_shap runs 48 forward passes of 47 tokens, about " in slow.stderr


@pytest.mark.parametrize(("seconds", "said"), [(3.4, "3 s"), (90, "90 s"), (150, "2 min"), (9000, "2 h")])
def test_durations_have_the_unit_of_people(seconds, said):
    from lime_xai.command.progress import duration

    assert duration(seconds) == said


@pytest.mark.parametrize("command", ["attribute", "steer"])
def test_long_prompts_are_announced_with_a_time_before_anything_runs(lime, picture, monkeypatch, command):
    from lime_xai.command import estimate, opening

    asked = [command, "scene", "--prompt", QUESTION, "--image", picture]
    quick = lime(*asked)
    assert (quick.exit_code, "The prompt has" in quick.stderr) == (0, False)
    monkeypatch.setattr(opening, "LONG", 10)
    slow = lime(*asked)
    assert slow.stdout == quick.stdout
    counted = r"notice: The prompt has (\d+) tokens, \d+ of them image; "
    timed = r"one forward pass of the decoder takes about (\d+) s or more, and attnlrp two to three of them; "
    assert re.search(counted + timed, slow.stderr)
    # a pass over 2 of the tokens that takes a second
    times = iter([0.0, 9.0, 10.0, 11.0])
    monkeypatch.setattr(estimate, "PART", 2)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    tokens, seconds = map(int, re.search(counted + timed, lime(*asked).stderr).groups())
    assert seconds == round(tokens / 2)


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize(
    "command", [[], ["demo"], ["attribute"], ["steer"], ["audit"], ["compare"], ["world"], ["world", "accept"]]
)
def test_every_command_has_help(lime, command, option):
    result = lime(*command, option)
    assert result.exit_code == 0
    assert "Usage: " in result.stdout
    assert result.stderr == ""


def test_version_and_no_command(lime):
    from importlib.metadata import version

    assert lime("--version").stdout == f"lime-xai {version('lime_xai')}\n"
    result = lime()
    assert result.exit_code == 0
    assert "Commands" in result.stdout


def test_threads_are_as_torch_says(monkeypatch):
    import inspect

    import torch

    from lime_xai.command import attribute, common, compare, demo, steer, world

    counts = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    for run in (demo.demo, attribute.attribute, steer.steer, compare.compare, world.world, world.accept):
        common.set_threads(inspect.signature(run).parameters["threads"].default)
    assert counts == []
    common.set_threads(3)
    assert counts == [3]


def test_audit_has_headings(lime):
    head, *rows = lime("audit", "scene").stdout.splitlines()
    assert head.split() == ["count", "module", "role", "rule", "detail"]
    row = next(row for row in rows if "LlamaRMSNorm" in row)
    for heading, cell in zip(head.split()[1:], ("LlamaRMSNorm", "norm", "NormRule", "rms_norm"), strict=True):
        assert head.index(f" {heading}") == row.index(f" {cell}")


# What it refuses -----------------------------------------------------------------------------------------------------


def test_unknown_names(refused, picture):
    prompt = ["--image", picture, "--prompt", QUESTION]
    refused("steer", "scene", *prompt, "--policy", "edti", says=["Unknown policy 'edti'", "Did you mean 'edit'"])
    refused("steer", "scene", *prompt, "--policy", '{"policy": "Edti"}', says=["Unknown policy 'Edti'", "'Edit'"])
    refused("attribute", "scene", *prompt, "--method", "attnlpr", says=["Unknown method 'attnlpr'", "'attnlrp'"])
    refused("world", "--world", "scen", says=["world 'scen'", "'scene'"])
    refused("world", "--policies", "vanilla,edti", "--scenes", "2", says=["Unknown policy 'edti'", "'edit'"])


def test_bad_settings(refused, picture):
    prompt = ["--image", picture, "--prompt", QUESTION]
    refused("steer", "scene", *prompt, "--policy", '{"policy": "Edit", "steps": -1}', says=["steps is -1"])
    refused("steer", "scene", *prompt, "--policy", '{"policy": "Edit", "layers": [9]}', says=["[9]", "4 layers"])
    refused("steer", "scene", *prompt, "--policy", '{"policy": "Edit"', says=["policy", "JSON"])
    refused("steer", "scene", *prompt, "--max-new-tokens", "0", says=["max-new-tokens"])
    refused("world", "--scenes", "1", says=["scenes"])
    refused("demo", "--scenes", "1", says=["scenes"])


def test_a_prompt_without_an_image_is_not_steered(refused):
    refused("steer", "scene", "--prompt", QUESTION, says=["No perceptual tokens", "needs an image"])


def test_files_that_are_missing_or_of_another_kind(refused, tmp_path):
    refused("steer", "scene", "--prompt", QUESTION, "--image", "nowhere.png", says=["nowhere.png"])
    (tmp_path / "text.png").write_text("no picture")
    refused("steer", "scene", "--prompt", QUESTION, "--image", "text.png", says=["text.png"])
    (tmp_path / "empty").mkdir()
    refused("world", "--model", "empty", says=["model.safetensors"])


def test_usage_errors_are_one_line(refused):
    refused("bogus", says=["No such command 'bogus'", "--help lists the options"])
    refused("steer", says=["Missing argument"])
    refused("steer", "scene", says=["Missing option '--prompt'"])
    refused("audit", "scene", "--nothing", says=["No such option", "--nothing"])

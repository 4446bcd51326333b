"""The command line, on the bundled model; errors are one line and say what to do."""

import json
import runpy
import subprocess
import sys

import pytest
import torch
from PIL import Image

from lime_xai import Attribution, Comparison
from lime_xai.command import app as cli
from lime_xai.worlds import scene

QUESTION = "is there a cup in the image ?"


@pytest.fixture(scope="module")
def evaluation():
    return scene.evaluation_set(seed=3, scenes=1)


@pytest.fixture
def picture(evaluation, tmp_path):
    path = tmp_path / "scene.png"
    evaluation.images[0].save(path)
    return str(path)


@pytest.fixture
def lime(monkeypatch, capsys, tmp_path):
    """Run ``lime-xai`` in a folder of its own; returns exit status and what was printed on one long line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.console, "width", 400, raising=False)
    threads = torch.get_num_threads()

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lime-xai", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    yield run
    torch.set_num_threads(threads)


def refused(result, *fragments):
    status, text = result
    assert status == 2
    assert "Traceback" not in text
    for fragment in fragments:
        assert fragment in text


# What it does --------------------------------------------------------------------------------------------------------


def test_demo_shows_captions_relevance_and_metrics(lime, tmp_path):
    status, text = lime("demo", "--scenes", "4", "--threads", "1")
    assert status in (0, None)
    for part in (
        "what the model says",
        "steered",
        "how often: 4 fresh scenes",
        "vanilla",
        "CHAIR_i",
        "lower is better",
    ):
        assert part in text
    assert "image: 36 tokens" in text
    with Image.open(tmp_path / "relevance.png") as image:
        assert image.size[0] > 500


def test_attribute_prints_and_writes_what_the_library_finds(lime, picture, tmp_path):
    arguments = ["--image", picture, "--prompt", QUESTION, "--target", "yes", "--threads", "1"]
    status, text = lime("attribute", "scene", *arguments, "--out", "a.png", "--save", "a.safetensors")
    assert status in (0, None)
    found = Attribution.load(tmp_path / "a.safetensors")
    assert found.tokens[0][-1] == "assistant:"
    assert found.mask("image").sum() == 36
    assert f"target 'yes', logit {float(found.logits[0]):.3f}, residual {float(found.residual[0]):+.3f}" in text
    assert f"image {float(found.shares['image'][0]):.3f}" in text
    assert "image: 36 tokens" in text
    assert Image.open(tmp_path / "a.png").format == "PNG"
    again = lime("attribute", "scene", *arguments)[1]
    assert again.splitlines()[:2] == text.splitlines()[:2]


def test_attribute_without_a_target_explains_the_models_own_token(lime, picture):
    status, text = lime("attribute", "scene", "--image", picture, "--prompt", QUESTION, "--method", "cplrp")
    assert status in (0, None)
    assert "target 'yes'" in text or "target 'no'" in text


def test_steer_prints_both_answers_and_the_trace(lime, picture):
    arguments = ["--image", picture, "--prompt", scene.CAPTION_REQUEST, "--max-new-tokens", "6", "--trace"]
    status, text = lime("steer", "scene", *arguments)
    assert status in (0, None)
    assert text.index("plain:") < text.index("steered:") < text.index("token by token")
    assert "there is" in text


@pytest.mark.parametrize("policy", ["edit", "contrast", '{"policy": "UniformGain", "gain": 0.5}'])
def test_steer_takes_policies_by_name_and_as_json(lime, picture, policy):
    status, text = lime("steer", "scene", "--image", picture, "--prompt", QUESTION, "--policy", policy)
    assert status in (0, None)
    assert "steered:" in text


def test_an_idle_policy_says_the_same_also_when_sampling(lime, picture):
    arguments = ["--image", picture, "--prompt", scene.CAPTION_REQUEST, "--sample", "--seed", "4"]
    _, text = lime("steer", "scene", *arguments, "--policy", '{"policy": "Edit", "steps": 0}')
    plain, steered = (line.split(":", 1)[1] for line in text.splitlines() if line.startswith(("plain:", "steered:")))
    assert plain == steered


def test_audit_says_that_the_bundled_model_is_covered(lime):
    status, text = lime("audit", "scene")
    assert status in (0, None)
    assert "every module is covered" in text
    assert "LlamaAttention" in text
    assert "bilinear" in text


def test_compare_prints_tables_and_writes_files(lime, tmp_path):
    arguments = ["compare", "--methods", "attnlrp,gradient_input", "--metrics", "delta_a,mass", "--questions", "2"]
    files = ["--json", "c.json", "--csv", "c.csv", "--latex", "c.tex", "--plot", "c.png"]
    status, text = lime(*arguments, *files, "--threads", "1")
    assert status in (0, None)
    found = Comparison.from_json(tmp_path / "c.json")
    assert found.metrics == ("delta_a", "delta_a@blur", "mass")
    for method in ("attnlrp", "gradient_input"):
        assert str(found.summary[method]["delta_a"]) in text
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 7
    assert r"\textbf" in (tmp_path / "c.tex").read_text()
    assert Image.open(tmp_path / "c.png").format == "PNG"
    refused(lime(*arguments, *files, "--seed", "6"), "is another one", "another file name")
    refused(lime(*arguments[:3], "--metrics", "delta"), "Did you mean 'delta_a'")


def test_world_writes_a_report(lime, tmp_path):
    arguments = ["--scenes", "6", "--policies", "vanilla,edit", "--json", "report.json", "--threads", "1"]
    status, text = lime("world", *arguments)
    assert status in (0, None)
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert list(data["policies"]) == ["vanilla", "edit"]
    assert (data["world"], data["model"], data["seed"], data["scenes"]) == ("scene", "bundled", 5, 6)
    assert data["policies"]["vanilla"]["splits"]["random"]["accuracy"] > 0.6
    assert f"{data['policies']['edit']['chair_i']:.3f}" in text
    refused(lime("world", *arguments, "--seed", "6"), "holds a report with", "'seed'", "another file name")


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


# What it refuses -----------------------------------------------------------------------------------------------------


def test_unknown_names(lime, picture):
    prompt = ["--image", picture, "--prompt", QUESTION]
    refused(lime("steer", "scene", *prompt, "--policy", "edti"), "Unknown policy 'edti'", "Did you mean 'edit'")
    refused(lime("steer", "scene", *prompt, "--policy", '{"policy": "Edti"}'), "Unknown policy 'Edti'", "'Edit'")
    refused(lime("attribute", "scene", *prompt, "--method", "attnlpr"), "Unknown method 'attnlpr'", "'attnlrp'")
    refused(lime("world", "--world", "scen"), "world 'scen'", "'scene'")
    refused(lime("world", "--policies", "vanilla,edti", "--scenes", "2"), "Unknown policy 'edti'", "'edit'")


def test_bad_settings(lime, picture):
    prompt = ["--image", picture, "--prompt", QUESTION]
    refused(lime("steer", "scene", *prompt, "--policy", '{"policy": "Edit", "steps": -1}'), "steps is -1")
    refused(lime("steer", "scene", *prompt, "--policy", '{"policy": "Edit", "layers": [9]}'), "[9]", "4 layers")
    refused(lime("steer", "scene", *prompt, "--policy", '{"policy": "Edit"'), "--policy", "JSON")
    refused(lime("steer", "scene", *prompt, "--max-new-tokens", "0"), "max-new-tokens")
    refused(lime("world", "--scenes", "1"), "scenes")
    refused(lime("demo", "--scenes", "1"), "scenes")


def test_a_prompt_without_an_image_is_not_steered(lime):
    refused(lime("steer", "scene", "--prompt", QUESTION), "No perceptual tokens", "needs an image")


def test_files_that_are_missing_or_of_another_kind(lime, tmp_path):
    refused(lime("steer", "scene", "--prompt", QUESTION, "--image", "nowhere.png"), "nowhere.png")
    (tmp_path / "text.png").write_text("no picture")
    refused(lime("steer", "scene", "--prompt", QUESTION, "--image", "text.png"), "text.png")
    (tmp_path / "empty").mkdir()
    refused(lime("world", "--model", "empty"), "model.safetensors")


def test_a_name_near_a_world_is_answered_with_it_and_not_with_the_network(lime, picture, monkeypatch):
    from transformers import AutoConfig

    def offline(*args, **kwargs):
        raise OSError("scne is not a local folder")

    monkeypatch.setattr(AutoConfig, "from_pretrained", offline)
    refused(lime("steer", "scne", "--image", picture, "--prompt", QUESTION), "scne")


def test_a_sound_for_a_model_that_cannot_hear_is_refused(lime, tmp_path):
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(800, np.float32), 16000)
    refused(lime("steer", "scene", "--prompt", QUESTION, "--audio", "a.wav"), "audio")

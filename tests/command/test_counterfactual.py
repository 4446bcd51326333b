"""``--counterfactual-image``: a contrast with another picture, as the library has it."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

import lime_xai
from lime_xai import Contrast
from lime_xai.model.chat import Request, make_inputs
from lime_xai.worlds import bundled_model

POLICY = json.dumps(lime_xai.policy_to_dict(Contrast("counterfactual", strength=4.0, plausibility=0.0)))
ASK = ("scene", "--prompt", "describe this picture", "--max-new-tokens", "8", "--policy", POLICY)


@pytest.fixture
def other(picture, tmp_path):
    path = tmp_path / "other.png"
    ImageOps.mirror(Image.open(picture)).save(path)
    return str(path)


def answer(picture, other):
    """The answer of the library to the same prompt."""
    model, processor = bundled_model()
    read = [make_inputs(model, processor, Request(ASK[2], images=[Image.open(path)])) for path in (picture, other)]
    policy = Contrast("counterfactual", strength=4.0, plausibility=0.0)
    output = lime_xai.steer(model, read[0], policy, counterfactual=read[1], max_new_tokens=8, do_sample=False)
    return processor.decode(output.sequences[0, read[0]["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def test_steer_contrasts_with_another_picture(lime, picture, other, tmp_path):
    result = lime("steer", *ASK, "--image", picture, "--counterfactual-image", other, "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["steered"] == answer(picture, other)
    assert data["steered"] != answer(picture, picture)
    assert data["counterfactual_images"] == [other]


def test_explain_contrasts_with_another_picture(lime, picture, other, tmp_path):
    files = ("--image", picture, "--counterfactual-image", other, "--json", tmp_path / "a.json")
    result = lime("explain", *ASK, *files)
    assert result.exit_code == 0, result.output
    (found,) = json.loads((tmp_path / "a.json").read_text())["answers"]
    assert found["answer"] == answer(picture, other)


def test_every_picture_of_a_folder_is_contrasted_with_the_same(lime, refused, picture, other, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.open(picture).save(folder / "a.png")
    Image.open(other).save(folder / "b.png")
    ask = ("explain", *ASK, "--folder", folder, "--counterfactual-image", other)
    result = lime(*ask, "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.output
    answers = json.loads((tmp_path / "a.json").read_text())["answers"]
    assert [one["answer"] for one in answers] == [answer(picture, other), answer(other, other)]
    refused(*ask, "--counterfactual-image", other, says=["2 --counterfactual-image and 1 --image files are given"])


@pytest.mark.parametrize("command", ["steer", "explain"])
def test_what_does_not_fit_is_refused(refused, picture, other, tmp_path, command):
    ask = (command, *ASK, "--image", picture)
    refused(*ask, says=["give counterfactual="])
    edit = (*ask, "--policy", "edit", "--counterfactual-image", other)
    refused(*edit, says=["no policy uses it"])
    refused(*ask, "--counterfactual-image", other, "--counterfactual-image", other, says=["2 --counterfactual-image"])
    sound = tmp_path / "sound.wav"
    import soundfile

    soundfile.write(sound, np.zeros(1600, dtype=np.float32), 16000)
    refused(*ask, "--counterfactual-audio", sound, says=["1 --counterfactual-audio and 0 --audio"])
    damaged = tmp_path / "damaged.png"
    damaged.write_text("no picture")
    refused(*ask, "--counterfactual-image", damaged, says=["damaged.png cannot be read as an image"])

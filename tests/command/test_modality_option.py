"""``--modalities``: the words of ``modalities=`` on the command line, refused by name before anything is computed."""

import json

import pytest

from lime_xai import Contrast, Edit, Observe, Reweight, UniformGain
from lime_xai.command.policies import of_modalities, read_modalities
from lime_xai.policies.registry import POLICIES

ASK = ("scene", "--prompt", "is there a cup in the image ?", "--max-new-tokens", "2")


def test_the_words_are_those_of_the_interface():
    assert read_modalities(None) is None
    assert read_modalities("audio, image") == ("image", "audio")
    with pytest.raises(ValueError, match=r"Unknown modality 'imag'\. Did you mean 'image'"):
        read_modalities("imag")
    with pytest.raises(ValueError, match="names audio twice"):
        read_modalities("audio,audio")
    with pytest.raises(ValueError, match="modality ''"):
        read_modalities("")


@pytest.mark.parametrize("policy", [Edit(), Contrast(), Observe(), Reweight(), UniformGain()])
def test_every_policy_with_a_perceptual_group_gets_it(policy):
    (found,) = of_modalities({"it": policy}, ("audio",)).values()
    assert type(found) is type(policy)
    assert found.modalities == ("audio",)
    assert of_modalities({"it": policy}, None)["it"] is policy


def test_what_takes_none_or_has_others_is_refused_by_name():
    with pytest.raises(ValueError, match="The policy vanilla takes no modalities"):
        of_modalities({"edit": Edit(), "vanilla": None}, ("audio",))
    lacking = [name for name, make in POLICIES.items() if not hasattr(make(), "modalities")]
    for name in lacking:
        with pytest.raises(ValueError, match=f"The policy {name} takes no modalities"):
            of_modalities({name: POLICIES[name]()}, ("audio",))
    with pytest.raises(ValueError, match=r"it has modalities=\('image',\), --modalities names \('audio',\)"):
        of_modalities({"it": Edit(modalities=("image",))}, ("audio",))


def test_steer_and_explain_act_on_what_is_named(lime, refused, picture, tmp_path):
    given = (*ASK, "--image", picture, "--policy", "edit")
    for command in ("steer", "explain"):
        result = lime(command, *given, "--modalities", "image", "--json", f"{command}.json")
        assert result.exit_code == 0, result.output
        says = ["has modalities=('audio',), and the prompt holds image, but no audio"]
        refused(command, *given, "--modalities", "audio", says=says)
    data = json.loads((tmp_path / "steer.json").read_text())
    assert data["policies"]["edit"]["modalities"] == ["image"]
    assert "--policy" in lime("explain", *ASK, "--image", picture, "--modalities", "image").stderr

"""Policies have the same names and the same JSON in ``steer`` and in ``world``; what ``steer`` prints about them."""

import json
from typing import get_args

import pytest
import torch

from lime_xai import Calibration, Constant, Contrast, Edit, LogitShift, Observe, Reweight, UniformGain, policy_to_dict
from lime_xai.command import policies, run_steer
from lime_xai.decoding.trace import SteeringTrace, StepTrace
from lime_xai.evaluation.against import Against, Medium
from lime_xai.evaluation.policies.registry import CALIBRATED, OTHER_MEDIA, WORLD_NAMES, world_policies
from lime_xai.policies.registry import POLICIES
from lime_xai.worlds import WORLDS, bundled_model

SCENE = WORLDS["scene"]
NAMES = sorted({*POLICIES, *WORLD_NAMES})
COUNTERFACTUAL = '{"policy": "Contrast", "branch": "counterfactual", "strength": 0.5}'


@pytest.fixture(scope="module")
def calibration():
    return Calibration("0f", "direct", 1, 1, torch.zeros(77), gains={"image": torch.zeros(4, 2)})


@pytest.fixture(scope="module")
def processor():
    return bundled_model()[1]


def test_the_names_of_the_world_are_those_that_it_makes(processor, calibration):
    assert set(WORLD_NAMES) == set(world_policies(SCENE, processor, None, calibration))
    assert set(WORLD_NAMES) - set(world_policies(SCENE, processor)) == set(CALIBRATED)


@pytest.mark.parametrize("name", OTHER_MEDIA)
def test_contrasts_with_other_media_do_not_steer(name, processor):
    written = policies.read_policies(name)
    assert policies.world_choice(SCENE, written, processor) == {name: OTHER_MEDIA[name]}
    for model in ("scene", "other"):
        with pytest.raises(ValueError, match=f"{name}.*made by `lime-xai world`.* alone"):
            policies.steering_choice(written, model, processor)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHER_MEDIA])
def test_a_name_is_the_same_policy_in_steer_and_world_on_the_bundled_model(name, processor, calibration):
    written = policies.read_policies(name)
    steered = policies.steering_choice(written, "scene", processor, calibration)
    assert steered == policies.world_choice(SCENE, written, processor, None, calibration)
    assert list(steered) == [name]


@pytest.mark.parametrize("medium", get_args(Medium))
def test_json_names_the_other_medium_where_others_are_made(medium, processor):
    text = f'{COUNTERFACTUAL[:-1]}, "against": "{medium}"}}'
    written = policies.read_policies(text)
    (name,) = written
    expected = {name: Against(Contrast("counterfactual", strength=0.5), medium)}
    assert policies.world_choice(SCENE, written, processor) == expected
    assert policies.asking_choice(written, "other", processor) == expected
    for model in ("scene", "other"):
        with pytest.raises(ValueError, match=r"has 'against', which names a picture or sound .* Here leave it out"):
            policies.steering_choice(written, model, processor)


def test_json_of_a_report_without_another_medium_is_read():
    written = policies.read_policies(f'{COUNTERFACTUAL[:-1]}, "against": null}}')
    assert list(written.values()) == [Contrast("counterfactual", strength=0.5)]


def test_names_stand_for_usual_settings_on_other_models(processor, calibration):
    def chosen(name, **settings):
        return policies.steering_choice(policies.read_policies(name), "other", processor, **settings)[name]

    assert chosen("paper") == Edit.paper()
    assert chosen("paper_cache") == Edit.paper("cache")
    assert chosen("contrast_slot") == Contrast("slot")
    assert chosen("uniform_gain") == UniformGain()
    assert chosen("vanilla") is None
    assert chosen("reweight") == Reweight()
    assert chosen("reweight", calibration=calibration) == Reweight(calibration=calibration)
    assert chosen("constant", calibration=calibration) == Constant(calibration)
    with pytest.raises(ValueError, match="'constant' needs a calibration of the model; pass --calibration FILE"):
        chosen("constant")
    with pytest.raises(ValueError, match="'yes_shift' has no usual settings"):
        chosen("yes_shift")


@pytest.mark.parametrize("policy", [Edit(steps=3), UniformGain(0.5), LogitShift({3: -1.5, 4: 1}), Contrast("noise")])
def test_json_is_what_policy_to_dict_writes(policy):
    text = json.dumps(policy_to_dict(policy))
    found = policies.read_policies(f"vanilla, {text},edit")
    assert list(found)[::2] == ["vanilla", "edit"]
    assert list(found.values()) == [None, policy, None]


def test_json_names_its_row_by_class_and_settings():
    text = '{"policy": "Edit", "steps": 3, "scope": "cache"}'
    assert list(policies.read_policies(text)) == ['Edit(steps=3, scope="cache")']
    assert list(policies.read_policies([text, "edit"])) == ['Edit(steps=3, scope="cache")', "edit"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edti", r"Unknown policy 'edti'\. Did you mean 'edit'\? Known: "),
        ("xyzzy", r"Unknown policy 'xyzzy'\. Known: .*vanilla"),
        ("edit,plausibel", r"'plausibel'\. Did you mean 'plausible'"),
        ('{"policy": "Edti"}', r"'Edti'\. Did you mean 'Edit'"),
        ('{"policy": "Edit", "stesp": 2}', r"'stesp'\. Did you mean 'steps'"),
        ('{"policy": "Edit"', "no valid JSON"),
        ('{"policy": "Edit"} edit', "'edit' follows the object"),
        ("{policy: Edit}", "in single quotes"),
        (f'{COUNTERFACTUAL[:-1]}, "against": "nothin"}}', "'nothin'. Did you mean 'nothing'"),
        ('{"policy": "Contrast", "against": "nothing"}', "'against' names what a contrast with another picture"),
        ('{"policy": "Edit", "against": "nothing"}', "'against' names what a contrast with another picture"),
        ("", "No policy is named"),
        (" , ", "No policy is named"),
    ],
)
@pytest.mark.parametrize("command", [("steer", "scene", "--prompt", "d", "--policy"), ("world", "--policies")])
def test_what_is_no_policy_is_refused_by_both(refused, command, text, message):
    if command[0] == "world" and not text:
        pytest.skip("an empty option of world stands for its default")
    with pytest.raises(ValueError, match=message):
        policies.read_policies(text)
    import re

    assert re.search(message, refused(*command, text))


# What steer says -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "steered", "changes", "bold"),
    [
        ("a cup , a ball", "a cup , a ball", [], ([], [])),
        ("a cup and a ball", "a hat and a ball", ["cup -> hat"], (["cup"], ["hat"])),
        ("a cup", "a cup and a hat", ["(nothing) -> and a hat"], ([], ["and a hat"])),
        ("a b c", "", ["a b c -> (nothing)"], (["a b c"], [])),
        ("a [/] c", "a \x1b[1m c", ["[/] -> \x1b[1m"], (["[/]"], [r"\x1b[1m"])),
    ],
)
def test_words_that_differ_are_marked_and_listed(plain, steered, changes, bold):
    first, second, found = run_steer.differences(plain, steered)
    assert found == changes
    marked = [[text.plain[s.start : s.end].strip() for s in text.spans] for text in (first, second)]
    assert marked == list(map(list, bold))
    assert all("bold" in str(span.style) for text in (first, second) for span in text.spans)


def test_steer_says_what_changed(lime, picture):
    result = lime("steer", "scene", "--image", picture, "--prompt", "is there a cup in the image ?", "--policy", "edit")
    plain, steered, changed = (line.split(": ", 1) for line in result.stdout.splitlines()[:3])
    assert [plain[0], steered[0], changed[0]] == ["plain", "steered", "changed"]
    assert (changed[1] == "nothing") == (plain[1] == steered[1])


def test_steer_says_when_reweight_is_uncalibrated_and_shares_are_unknown(lime, picture):
    asked = ["steer", "scene", "--image", picture, "--prompt", "describe", "--max-new-tokens", 2, "--policy"]
    result = lime(*asked, "reweight")
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("notice: reweight runs uncalibrated")
    assert "share of the relevance: unknown, reweight records none; add observe to --policy" in result.stdout
    result = lime(*asked, "reweight,observe")
    assert "share of the relevance: before 0." in result.stdout
    assert lime(*asked, '{"policy": "Reweight", "strength": 0.0}').stderr == ""
    assert lime(*asked, "edit").stderr == ""


def test_shares_are_the_means_over_tokens(capsys):
    one = torch.tensor([3])
    steps = [StepTrace(i, one, one, share_before=torch.tensor([0.1 * i]), share_after=None) for i in (1, 2)]
    run_steer.show_shares(SteeringTrace(steps), {"observe": Observe()})
    assert capsys.readouterr().out == "perceptual share of the relevance: before 0.150\n"


def test_vanilla_changes_nothing(lime, picture, tmp_path):
    asked = ["steer", "scene", "--image", picture, "--prompt", "describe", "--max-new-tokens", 3]
    result = lime(*asked, "--policy", "vanilla", "--json", "r.json")
    assert result.exit_code == 0, result.output
    assert "changed: nothing" in result.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["policies"] == {"vanilla": None}
    assert report["plain"] == report["steered"] != ""


def test_the_report_of_steer_holds_settings_answers_and_trace(lime, picture, tmp_path):
    asked = ["steer", "scene", "--image", picture, "--prompt", "describe", "--max-new-tokens", 3]
    result = lime(*asked, "--policy", 'paper_cache,{"policy": "UniformGain", "gain": 0.5}', "--json", "r.json")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert report["policies"]["paper_cache"]["learning_rate"] == 0.03
    assert report["policies"]["UniformGain(gain=0.5)"] == policy_to_dict(UniformGain(0.5))
    assert (report["model"], report["prompt"], report["images"]) == ("scene", "describe", [picture])
    assert len(report["trace"]["steps"]) == 3
    assert f"steered: {report['steered']}" in result.stdout


def test_what_cannot_be_steered_is_refused_before_the_plain_answer(monkeypatch, refused, picture):
    from transformers import LlavaForConditionalGeneration

    monkeypatch.setattr(LlavaForConditionalGeneration, "generate", lambda *a, **k: pytest.fail("generated"))
    refused("steer", "scene", "--prompt", "describe", says=["No perceptual tokens"])
    refused(
        *("steer", "scene", "--image", picture, "--prompt", "d", "--policy", '{"policy": "Edit", "layers": [9]}'),
        says=["[9]", "4 layers"],
    )

"""``python -m benchmarks.protocols``: what it asks, that it goes on, and its tables."""

import pytest
from rich.progress import Progress

from benchmarks import protocols as bench
from lime_xai import POLICIES, Plausible
from lime_xai.evaluation.benchmarks import run as runner
from lime_xai.evaluation.policies.registry import ITEM_MEDIA, WORLD_NAMES
from lime_xai.policies.calibration import Calibration
from lime_xai.storage.store import write_json
from lime_xai.worlds import WORLDS


@pytest.fixture
def small(monkeypatch):
    """Three written scenes, two policies of which the second one is slow."""
    monkeypatch.setattr(bench, "SCENES", 3)
    monkeypatch.setattr(bench, "SLOW", ("plausible",))
    known = {bench.PLAIN: None, "plausible": Plausible()}
    monkeypatch.setattr(bench, "policies_of", lambda *given: (known, {"observe": "is slow"}))


def asked(world, folder, scenes, slow):
    with Progress(disable=True) as progress:
        return bench.run_world(world, folder, scenes, slow, progress)


def test_answers_are_kept_and_more_scenes_go_on_from_them(small, each_world, tmp_path, monkeypatch):
    asked(each_world, tmp_path, 2, 0)
    answered = []
    genuine = runner._answered
    monkeypatch.setattr(runner, "_answered", lambda *given: answered.append(given[2].unit) or genuine(*given))
    report = asked(each_world, tmp_path, 3, 2)
    again = asked(each_world, tmp_path, 3, 2)
    assert again == report
    assert len(set(answered)) == 3  # the third scene under the plain model, the first two under the slow policy
    for name, (fast, slow) in report["benchmarks"].items():
        assert (fast["units"], fast["policies"], slow["units"], slow["policies"]) == (
            3,
            [bench.PLAIN],
            2,
            [bench.PLAIN, "plausible"],
        ), name
        assert slow["systems"]["plausible"]["differences"] is not None
    write_json(tmp_path / f"protocols_{each_world.name}.json", report)
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- protocols-table -->\nold\n<!-- /protocols-table -->\nAfter\n")
    bench.write_table(page, tmp_path)
    text = page.read_text()
    assert text.startswith("Before\n")
    assert text.endswith("After\n")
    assert "old" not in text
    assert "`observe` is slow" in text
    assert text.count("| `plausible` |") == 3
    assert "2 of 3 scenes" in text


def test_no_policy_is_left_out_without_a_reason(each_world):
    _, processor = each_world.load_model()
    path = bench.RESULTS / bench.CALIBRATIONS[each_world.name]
    policies, left = bench.policies_of(each_world, processor, Calibration.load(path))
    assert set(policies) | set(left) == {*POLICIES, *WORLD_NAMES, *ITEM_MEDIA}
    assert not set(policies) & set(left)
    assert all(left.values())


@pytest.mark.parametrize("given", [("1", "0"), ("2", "1"), ("2", "3"), ("301", "0")])
def test_numbers_of_scenes_that_do_not_fit_are_refused(given, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--scenes", given[0], "--slow-scenes", given[1]])
    assert "expected 2 to 300 scenes" in capsys.readouterr().err


def test_every_bundled_model_has_a_calibration():
    assert bench.CALIBRATIONS.keys() == WORLDS.keys()
    assert all((bench.RESULTS / name).exists() for name in bench.CALIBRATIONS.values())

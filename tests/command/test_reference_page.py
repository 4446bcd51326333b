"""The commands of the reference page run as shown, and its tables are complete."""

import re
import shlex
from pathlib import Path

import pytest

from lime_xai.command.files import PICTURE
from lime_xai.evaluation.policies.registry import ITEM_MEDIA, WORLD_NAMES
from lime_xai.policies.registry import POLICIES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
_WRITTEN = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.S)
BLOCKS = [re.sub(r"\\\n\s*", "", block) for block in _WRITTEN]  # as a shell joins lines
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("lime-xai ")]


def test_the_page_makes_the_picture_that_it_uses(tmp_path, monkeypatch):
    (block,) = (block for block in BLOCKS if not block.startswith("lime-xai "))
    program, option, code, *rest = shlex.split(block)
    assert (program, option) == ("python", "-c")
    assert not rest or rest[0] == "lime-xai"
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / "scene.png").stat().st_size > 100


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs_as_shown(lime, picture, line):
    result = lime(*shlex.split(line)[1:])
    assert result.exit_code == 0, result.output


def test_every_policy_and_ending_is_on_the_page():
    names = re.findall(r"^\| (`.*?`) \|", PAGE.split("| name | policy |", 1)[1].split("\n\n", 1)[0], flags=re.M)
    assert {name for cell in names for name in re.findall(r"`(\w+)`", cell)} == {*WORLD_NAMES, *ITEM_MEDIA, *POLICIES}
    for ending in PICTURE:
        assert f"`{ending}`" in PAGE

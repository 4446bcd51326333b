"""Files that are written whole."""

import contextlib
import json
import os
import threading

from lime_xai.storage.store import read_json, replacing, write_json


def test_a_link_is_followed(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("{}")
    link.symlink_to(real)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert read_json(real) == {"a": 1}


def test_a_pipe_is_written_directly(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json(pipe, {"a": 1})
    reader.join(10)
    assert json.loads(found[0]) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_an_exception_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"a": 1})
    with contextlib.suppress(KeyboardInterrupt), replacing(path) as draft:
        draft.write_text("half")
        raise KeyboardInterrupt
    assert read_json(path) == {"a": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]

"""Several processes answer one benchmark: the file is that of one process, whoever ends last."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import astuple, replace

import pytest
from support.forked import child

from lime_xai import Contrast
from lime_xai.evaluation.benchmarks import shares
from lime_xai.evaluation.benchmarks.answers import read_answers
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding
from lime_xai.evaluation.benchmarks.protocols.world import WorldCaptions, write_world
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.evaluation.benchmarks.shares import Share, device_of_process, evaluate_share, share_of_process
from lime_xai.storage.store import DamagedFileError
from lime_xai.worlds import load_world, scene

POLICIES = {"vanilla": None, "contrast": Contrast()}


@pytest.fixture(scope="module")
def bundled():
    return scene.WORLD.load_model()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    _, captions = write_world(load_world("scene"), tmp_path_factory.mktemp("world"), 900, 5)
    return {"captions": captions}


@pytest.fixture
def asking(files):
    protocol = WorldCaptions()
    return Asking(protocol, protocol.read(files), files, Decoding(3))


@pytest.fixture(scope="module")
def alone(bundled, files, tmp_path_factory):
    """What one process writes."""
    path, protocol = tmp_path_factory.mktemp("answers") / "a.jsonl", WorldCaptions()
    evaluate(*bundled, Asking(protocol, protocol.read(files), files, Decoding(3)), POLICIES, path)
    return records(path)


def records(path):
    """Header and answers without the time that they took."""
    found = read_answers(path)
    return found.header, [astuple(replace(answer, seconds=0.0)) for answer in found.answers.values()]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_share_gives_the_file_of_one_process(order, bundled, asking, alone, tmp_path):
    out = tmp_path / "a.jsonl"
    found = [evaluate_share(Share(number, 3), *bundled, asking, POLICIES, out) for number in order]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert records(out) == alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "a.jsonl.lock"]
    assert len(found[2].runs) == 1


def test_a_killed_process_goes_on_and_a_whole_file_is_left_alone(bundled, asking, alone, tmp_path, monkeypatch):
    out = tmp_path / "a.jsonl"
    evaluate_share(Share(1, 2), *bundled, asking, POLICIES, out)
    part = Share(0, 2).part(out)
    evaluate(*bundled, replace(asking, items=asking.items[:1]), POLICIES, part)
    with part.open("ab") as file:
        file.write(b'{"id": "cut')
    asked = []
    plain = shares.evaluate
    monkeypatch.setattr(shares, "evaluate", lambda *given, **said: asked.append(1) or plain(*given, **said))
    assert evaluate_share(Share(0, 2), *bundled, asking, POLICIES, out) is not None
    assert records(out) == alone
    for number in range(2):
        assert evaluate_share(Share(number, 2), *bundled, asking, POLICIES, out).answers
    assert asked == [1]


def test_what_one_process_answered_is_not_asked_again(bundled, asking, alone, tmp_path, monkeypatch):
    out, asked = tmp_path / "a.jsonl", []
    evaluate(*bundled, replace(asking, items=asking.items[1:4]), POLICIES, out)
    plain = shares.evaluate

    def noted(model, processor, some, *given, **said):
        asked.extend(item.id for item in some.items)
        return plain(model, processor, some, *given, **said)

    monkeypatch.setattr(shares, "evaluate", noted)
    for number in (0, 1):
        evaluate_share(Share(number, 2), *bundled, asking, POLICIES, out)
    assert sorted(asked) == sorted([asking.items[0].id, asking.items[4].id])
    assert records(out) == alone


def test_more_processes_than_items(bundled, asking, alone, tmp_path):
    out = tmp_path / "a.jsonl"
    found = [evaluate_share(Share(number, 7), *bundled, asking, POLICIES, out) for number in range(7)]
    assert [one is None for one in found] == [True] * 4 + [False] * 3
    assert records(out) == alone


def test_shares_made_otherwise_are_not_put_together(bundled, asking, tmp_path):
    out = tmp_path / "a.jsonl"
    other = replace(asking, decoding=Decoding(2))
    evaluate_share(Share(0, 2), *bundled, other, POLICIES, out)
    with pytest.raises(DamagedFileError, match="made otherwise"):
        evaluate_share(Share(1, 2), *bundled, asking, POLICIES, out)
    assert not out.exists()
    assert Share(0, 2).part(out).exists()
    assert Share(1, 2).part(out).exists()


@pytest.mark.parametrize("change", ["weights", "policy", "limit", "picture"])
def test_a_share_never_goes_on_from_answers_made_otherwise(change, bundled, files, tmp_path, monkeypatch):
    write_world(load_world("scene"), tmp_path / "w", 900, 2)
    protocol, own = WorldCaptions(), {"captions": tmp_path / "w" / "captions.jsonl"}
    asking, out = Asking(protocol, protocol.read(own), own, Decoding(1)), tmp_path / "a.jsonl"
    evaluate(*bundled, asking, POLICIES, out)
    monkeypatch.setattr(bundled[0], "generate", lambda **_: pytest.fail("the model was asked"))
    policies, says = dict(POLICIES), change
    if change == "weights":
        monkeypatch.setattr("lime_xai.evaluation.benchmarks.run.weights_hash", lambda _: "another")
    elif change == "policy":
        policies["contrast"], says = Contrast(strength=2.0), "'strength': 1.0"
    elif change == "limit":
        asking, says = replace(asking, decoding=Decoding(2)), "max_new_tokens"
    else:
        scene.evaluation_set(seed=901, scenes=1).images[0].save(asking.items[1].images[0])
        says = "has changed since it was answered"
    with pytest.raises(ValueError, match=says):
        evaluate_share(Share(0, 2), *bundled, asking, policies, out)


def test_shares_under_other_settings_are_not_put_together(bundled, asking, tmp_path):
    out = tmp_path / "a.jsonl"
    evaluate_share(Share(0, 2), *bundled, asking, POLICIES, out)
    with pytest.raises(DamagedFileError, match="hold answers that were made otherwise"):
        evaluate_share(Share(1, 2), *bundled, asking, {**POLICIES, "contrast": Contrast(strength=2.0)}, out)


def test_a_process_knows_its_share():
    assert share_of_process({}) == Share(0, 1)
    assert share_of_process({"RANK": "1", "WORLD_SIZE": "4"}) == Share(1, 4)
    for rank, size in (("4", "4"), ("-1", "2"), ("x", "2"), ("0", "0")):
        with pytest.raises(ValueError, match="RANK is"):
            share_of_process({"RANK": rank, "WORLD_SIZE": size})
    assert device_of_process("cuda", {"LOCAL_RANK": "3"}) == "cuda:3"
    assert device_of_process("cuda:1", {"LOCAL_RANK": "3"}) == "cuda:1"
    assert device_of_process("cuda", {}) == "cuda"
    assert device_of_process(None, {"LOCAL_RANK": "3"}) is None


@pytest.mark.slow
def test_torchrun_with_two_processes_gives_the_file_of_one(files, tmp_path):
    """The launcher that ``accelerate launch --multi_gpu`` runs; ``accelerate launch --cpu`` starts one process."""
    asked = ["evaluate", "--model", "scene", "--benchmark", "world-captions", "--file", str(files["captions"])]
    asked += ["--policies", "vanilla,contrast", "--max-new-tokens", "3", "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m"]
    for start, out in (([], one), (launch, two)):
        command = [sys.executable, *(start or ["-m"]), "lime_xai", *asked, "--out", str(out)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr[-2000:]
    assert records(one) == records(two)
    assert "has ended" in ran.stdout
    assert json.loads(two.read_text().splitlines()[1])["run"]["policies"].keys() == {"vanilla", "contrast"}


@pytest.mark.slow
def test_twenty_kills_of_two_processes_at_random_moments(bundled, asking, alone, tmp_path):
    """Both run at once; one of them, drawn, is killed, and then both are started again until one puts them together."""
    drawn, killed = random.Random(0), 0

    def share(number, out):
        return child(lambda: evaluate_share(Share(number, 2), *bundled, asking, POLICIES, out))

    start = time.perf_counter()
    os.waitpid(share(0, tmp_path / "timed.jsonl"), 0)
    whole = time.perf_counter() - start
    for run in range(20):
        out = tmp_path / f"{run}.jsonl"
        pids = [share(number, out) for number in range(2)]
        time.sleep(drawn.uniform(0, whole))
        os.kill(drawn.choice(pids), signal.SIGKILL)
        killed += sum(os.WIFSIGNALED(os.waitpid(pid, 0)[1]) for pid in pids)
        again = [share(number, out) for number in range(2)]
        assert [os.waitpid(pid, 0)[1] for pid in again] == [0, 0]
        assert records(out) == alone
        assert not [path for number in range(2) if (path := Share(number, 2).part(out)).exists()]
    assert killed >= 10

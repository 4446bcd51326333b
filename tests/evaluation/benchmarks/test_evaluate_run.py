"""A model asked a benchmark: what is computed, what is refused before, and that a run goes on after any kill."""

import io
import os
import random
import signal
import time
from dataclasses import astuple, replace

import pytest
import torch
from support.calls import counted
from support.forked import child

from lime_xai import Contrast, Edit
from lime_xai.evaluation.benchmarks import answers as answers_module
from lime_xai.evaluation.benchmarks.answers import read_answers
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding, limited
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.evaluation.benchmarks.protocols.world import WorldCaptions, WorldQuestions, write_world
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.worlds import load_world, scene

POLICIES = {"vanilla": None, "contrast": Contrast()}


@pytest.fixture(scope="module")
def bundled():
    return scene.WORLD.load_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(load_world("scene"), folder, 900, 3)
    return folder


@pytest.fixture
def asking(folder):
    protocol, files = WorldCaptions(), {"captions": folder / "captions.jsonl"}
    return Asking(protocol, protocol.read(files), files, Decoding(6))


def kept(path):
    """Answers without the time that they took."""
    return [astuple(replace(answer, seconds=0.0)) for answer in read_answers(path).answers.values()]


@pytest.fixture(scope="module")
def undisturbed(bundled, folder, tmp_path_factory):
    protocol, files = WorldCaptions(), {"captions": folder / "captions.jsonl"}
    path = tmp_path_factory.mktemp("answers") / "a.jsonl"
    evaluate(*bundled, Asking(protocol, protocol.read(files), files, Decoding(6)), POLICIES, path)
    return kept(path)


def test_answers_are_those_of_generate(bundled, asking, undisturbed):
    model, processor = bundled
    found = scene.evaluation_set(seed=900, scenes=3)
    texts = [found.world.prompt(found.world.language.caption_request)] * 3
    inputs = found.world.batch(processor, found.media, texts)
    plain = model.generate(**inputs, max_new_tokens=6, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    assert [row[2] for row in undisturbed if row[1] == "vanilla"] == [
        processor.decode(row, skip_special_tokens=True) for row in plain
    ]
    assert [row[:2] for row in undisturbed] == [(item.id, name) for item in asking.items for name in POLICIES]
    assert all(row[3] == 6 and row[4] is False for row in undisturbed)  # six tokens, and cut


def test_an_answer_that_the_model_ends_is_finished(bundled, folder, tmp_path):
    protocol, files = WorldQuestions(), {"questions": folder / "questions.jsonl"}
    asking = Asking(protocol, protocol.read(files)[:2], files, Decoding(4))
    found = evaluate(*bundled, asking, {"vanilla": None}, tmp_path / "a.jsonl").answers.values()
    assert {(answer.text, answer.tokens, answer.finished) for answer in found} <= {("yes", 2, True), ("no", 2, True)}


MOMENTS = ["generating", "before a line", "in a line", "after a line"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_to_the_same_answers(bundled, asking, undisturbed, tmp_path, moment):
    path = tmp_path / "a.jsonl"
    genuine = os.write

    def work():
        count = 0

        def killing(descriptor, data):
            nonlocal count
            count += 1
            if count == 4:
                part = {"before a line": b"", "in a line": data[: len(data) // 2], "after a line": data}[moment]
                genuine(descriptor, part)
                os.kill(os.getpid(), signal.SIGKILL)
            return genuine(descriptor, data)

        def progress(done, total):
            if moment == "generating" and done == 3:
                model.register_forward_pre_hook(lambda *_: os.kill(os.getpid(), signal.SIGKILL))

        model, processor = bundled
        if moment != "generating":
            answers_module.os.write = killing
        evaluate(model, processor, asking, POLICIES, path, progress=progress)

    _, status = os.waitpid(child(work), 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    there = kept(path)
    assert there == undisturbed[: 4 if moment == "after a line" else 3]
    told = []
    evaluate(*bundled, asking, POLICIES, path, progress=lambda *counts: told.append(counts))
    assert told == [(done, 6) for done in range(len(there), 7)]
    assert kept(path) == undisturbed


@pytest.mark.slow
def test_twenty_kills_at_random_moments(bundled, asking, undisturbed, tmp_path):
    path, killed = tmp_path / "a.jsonl", 0
    drawn = random.Random(0)
    start = time.perf_counter()
    os.waitpid(child(lambda: evaluate(*bundled, asking, POLICIES, tmp_path / "timed.jsonl")), 0)
    whole = time.perf_counter() - start
    for _ in range(20):
        path.unlink(missing_ok=True)
        for _ in range(3):  # a run that is killed three times
            pid = child(lambda: evaluate(*bundled, asking, POLICIES, path))
            time.sleep(drawn.uniform(0, whole))
            os.kill(pid, signal.SIGKILL)
            killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        evaluate(*bundled, asking, POLICIES, path)
        assert kept(path) == undisturbed
    assert killed >= 20


def test_sampling_depends_on_the_item_alone(bundled, asking, tmp_path):
    asking = replace(asking, decoding=Decoding(6, do_sample=True, seed=3))
    before = torch.get_rng_state()
    evaluate(*bundled, asking, POLICIES, tmp_path / "a.jsonl")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    turned = replace(asking, items=asking.items[::-1])
    evaluate(*bundled, turned, dict(reversed(POLICIES.items())), tmp_path / "b.jsonl")
    assert sorted(kept(tmp_path / "a.jsonl")) == sorted(kept(tmp_path / "b.jsonl"))
    other = replace(asking, decoding=Decoding(6, do_sample=True, seed=4))
    evaluate(*bundled, other, POLICIES, tmp_path / "c.jsonl")
    assert [row[2] for row in kept(tmp_path / "c.jsonl")] != [row[2] for row in kept(tmp_path / "a.jsonl")]


def test_a_policy_added_later_keeps_the_answers(bundled, asking, undisturbed, tmp_path):
    path = tmp_path / "a.jsonl"
    evaluate(*bundled, asking, {"vanilla": None}, path)
    found = evaluate(*bundled, asking, POLICIES, path)
    assert sorted(kept(path)) == sorted(undisturbed)
    assert [list(run["policies"]) for run in found.runs] == [["vanilla"], ["contrast"]]


def test_every_answer_calls_decoder_and_tower_as_generate_does(bundled, asking, tmp_path):
    model, _ = bundled
    with counted(model) as calls:
        evaluate(*bundled, asking, {"vanilla": None}, tmp_path / "a.jsonl")
    assert (calls.decoder, calls.tower) == (3 * 6, 3)
    with counted(model) as calls:
        evaluate(*bundled, asking, POLICIES, tmp_path / "a.jsonl")
    # contrast: one call more at the prompt; nothing for answers that are there
    assert (calls.decoder, calls.tower) == (3 * 7, 3)
    with counted(model) as calls:
        evaluate(*bundled, asking, POLICIES, tmp_path / "a.jsonl")
    assert (calls.decoder, calls.tower) == (0, 0)


@pytest.fixture
def nothing_computed(bundled):
    with counted(bundled[0]) as calls:
        yield
    assert calls.decoder == calls.tower == 0


def other(asking, **values):
    return replace(asking, items=[replace(asking.items[0], **values), *asking.items[1:]])


@pytest.mark.usefixtures("nothing_computed")
def test_what_can_be_refused_is_refused_before_the_first_forward(bundled, asking, folder, tmp_path):
    model, processor = bundled
    sound = folder / "sound.wav"
    sound.write_bytes(b"")
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    cases = [
        (replace(asking, items=[]), POLICIES, ValueError, "there are no items"),
        (other(asking, id=asking.items[1].id), POLICIES, ValueError, "two items are named"),
        (
            other(asking, images=(folder / "no.png",)),
            POLICIES,
            FileNotFoundError,
            "captions.jsonl, line 1: there is no",
        ),
        (other(asking, sounds=(sound,)), POLICIES, ValueError, "line 1: Llava.* takes text and image; .* for audio"),
        (other(asking, images=(broken,)), POLICIES, ValueError, "line 1: .*broken.png cannot be read as an image"),
        (other(asking, images=()), POLICIES, ValueError, "No perceptual tokens"),
        (other(asking, question="<image> what ?"), POLICIES, ValueError, "line 1: The prompt holds '<image>'"),
        (replace(asking, style="long"), POLICIES, ValueError, "Unknown prompt of world-captions 'long'"),
        (asking, {}, ValueError, "No policy is named"),
        (asking, {"one": Edit(), "two": "edit"}, ValueError, "one and two have the same settings"),
        (asking, {"one": Contrast("counterfactual")}, ValueError, "counterfactual"),
        (asking, {"one": Contrast(modalities=("audio",))}, ValueError, "no audio"),
        (asking, {"one": "edti"}, ValueError, "Unknown policy 'edti'"),
    ]
    for one, policies, kind, says in cases:
        with pytest.raises(kind, match=says):
            evaluate(model, processor, one, policies, tmp_path / "a.jsonl")
        assert not (tmp_path / "a.jsonl").exists()
    with pytest.raises(ValueError, match="is no folder"):
        evaluate(model, processor, asking, POLICIES, tmp_path / "no" / "a.jsonl")


@pytest.mark.usefixtures("nothing_computed")
@pytest.mark.parametrize("values", [{"max_new_tokens": 0}, {"max_new_tokens": 4, "seed": -1}])
def test_decoding_is_checked(values):
    with pytest.raises(ValueError, match="expected"):
        Decoding(**values)


@pytest.mark.parametrize(
    "change",
    [
        lambda asking: replace(asking, decoding=Decoding(7)),
        lambda asking: replace(asking, decoding=Decoding(6, do_sample=True)),
        lambda asking: replace(asking, decoding=Decoding(6, seed=1)),
        lambda asking: replace(asking, files={"captions": asking.files["captions"].with_name("questions.jsonl")}),
    ],
)
def test_another_configuration_is_refused(bundled, asking, tmp_path, change):
    path = tmp_path / "a.jsonl"
    evaluate(*bundled, replace(asking, items=asking.items[:1]), {"vanilla": None}, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="give another file name"):
        evaluate(*bundled, change(asking), {"vanilla": None}, path)
    assert path.read_bytes() == before


def test_other_weights_generation_settings_and_templates_are_refused(bundled, asking, tmp_path, monkeypatch):
    path, (model, processor) = tmp_path / "a.jsonl", bundled
    evaluate(model, processor, replace(asking, items=asking.items[:1]), {"vanilla": None}, path)
    monkeypatch.setattr(model.generation_config, "repetition_penalty", 1.5)
    with pytest.raises(ValueError, match="repetition_penalty"):
        evaluate(model, processor, asking, {"vanilla": None}, path)
    monkeypatch.undo()
    monkeypatch.setattr(processor, "chat_template", processor.chat_template + " ")
    with pytest.raises(ValueError, match="'processor'"):
        evaluate(model, processor, asking, {"vanilla": None}, path)
    monkeypatch.undo()
    weight = model.get_output_embeddings().weight
    with torch.no_grad():
        weight[0, 0] += 1
    try:
        with pytest.raises(ValueError, match="'weights'"):
            evaluate(model, processor, asking, {"vanilla": None}, path)
    finally:
        with torch.no_grad():
            weight[0, 0] -= 1


def test_a_picture_that_changed_after_its_answer_is_refused(bundled, asking, tmp_path):
    picture = tmp_path / "picture.png"
    picture.write_bytes(asking.items[0].images[0].read_bytes())
    asking = replace(asking, items=[replace(asking.items[0], images=(picture,))])
    evaluate(*bundled, asking, {"vanilla": None}, tmp_path / "a.jsonl")
    picture.write_bytes(scene_picture())
    with pytest.raises(ValueError, match=r"picture\.png has changed since it was answered"):
        evaluate(*bundled, asking, {"vanilla": None}, tmp_path / "a.jsonl")


def scene_picture():
    buffer = io.BytesIO()
    scene.evaluation_set(seed=7, scenes=1).images[0].save(buffer, "PNG")
    return buffer.getvalue()


def test_a_limit_counts_in_each_group():
    items = [Item(str(index), "", group="ab"[index % 2]) for index in range(6)]
    assert [item.id for item in limited(items, 1)] == ["0", "1"]
    assert limited(items, None) == items

"""The gallery of photographs, with a tiny model: what is written, and that no stamp is on a picture."""

from argparse import ArgumentParser

import numpy as np
import pytest
from PIL import Image

import lime_xai
from benchmarks.photographs import gallery
from benchmarks.photographs.__main__ import main
from benchmarks.photographs.catalogue import CLASSES
from benchmarks.photographs.gallery import BEGIN, END, PAGE, named_objects, other_names, scene_entries, written
from benchmarks.photographs.gallery_figure import maps_figure, save_small
from benchmarks.photographs.samples import SAMPLES, photograph
from benchmarks.photographs.scenes import emptied, render
from lime_xai.attribution.colours import greyed


@pytest.fixture
def saying(world, evaluation, model_and_processor, monkeypatch):
    """Make ``explain`` explain an answer that names a present (twice) and an absent object of each scene."""
    processor, plain = model_and_processor[1], lime_xai.explain
    texts = []
    for scene in evaluation.scenes:
        true, absent = (world.language.classes[some[0]] for some in (scene.present, scene.absent))
        texts.append(f" {true}, {absent} {true}")
    queue = list(texts)
    monkeypatch.setattr(world, "region", lambda scene, obj: (0, scene.index_of(obj) + 1))  # the tiny model has 4 x 4

    def explain(model, inputs, **settings):
        ids = processor.tokenizer(queue.pop(0), add_special_tokens=False)["input_ids"]
        return plain(model, inputs, processor=processor, answer=ids)

    monkeypatch.setattr(lime_xai, "explain", explain)
    return queue


@pytest.fixture
def docs(tmp_path):
    """A folder of documentation with the page."""
    (tmp_path / "_static").mkdir()
    (tmp_path / PAGE).write_text(f"# Title\n\n{BEGIN}old\n{END}\n\nAfter.\n", encoding="utf-8")
    return tmp_path


def test_first_mentions_are_judged_by_what_is_there(world, evaluation, model_and_processor, saying):
    scene = evaluation.scenes[0]
    true, absent = (world.language.classes[some[0]] for some in (scene.present, scene.absent))
    inputs = world.batch(model_and_processor[1], [evaluation.media[0]], [evaluation.caption_prompt])
    answer = lime_xai.explain(model_and_processor[0], inputs)
    found = named_objects(answer, world, [true])
    assert [(one.name, one.there, one.judged) for one in found] == [
        (true, True, "in the picture"),
        (absent, False, "invented"),
    ]
    assert [answer.words[one.word].text.strip(" ,") for one in found] == [true, absent]


@pytest.mark.parametrize(
    ("said", "others"),
    [
        ("There is a book and a dog.", ["book"]),
        ("A goat, an owl and an umbrella.", ["goat", "umbrella"]),
        ("There is a dog, a fox and a zebra.", []),
        ("dog fox", []),
    ],
)
def test_names_of_no_class_are_found(said, others):
    assert other_names(said) == others


def test_pictures_of_scenes_hold_no_stamp(world, evaluation, model_and_processor, saying, tmp_path, monkeypatch):
    """Every picture in the figures is the background, in colour or grey, or a map of tokens; marks are boxes."""
    seen = []

    def recorded(figure, path):
        seen.append(figure)
        save_small(figure, path)

    monkeypatch.setattr(gallery, "save_small", recorded)
    entries = list(scene_entries(*model_and_processor, evaluation, tmp_path))
    assert len(entries) == len(seen) == len(evaluation.scenes)
    for scene, medium, entry, figure in zip(evaluation.scenes, evaluation.media, entries, seen, strict=True):
        behind = np.asarray(render(emptied(scene), world.stamps))
        assert (behind != np.asarray(medium)).any()
        allowed = (behind, greyed(behind))
        drawn = [np.asarray(one.get_array()) for axes in figure.axes for one in axes.images]
        pictures = [one for one in drawn if one.shape[0] > 8]
        assert len(pictures) == 1 + len(entry.named)
        assert all(any(one.shape == two.shape and np.array_equal(one, two) for two in allowed) for one in pictures)
        assert len(drawn) == len(pictures) + len(entry.named)
        boxes = {
            tuple(round(224 * side) for side in (patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()))
            for axes in figure.axes[:1]
            for patch in axes.patches
        }
        assert boxes == {(left, top, right - left, bottom - top) for left, top, right, bottom in scene.boxes}
        assert Image.open(tmp_path / f"{entry.file}.webp").format == "WEBP"


def test_a_scene_without_a_named_object_is_refused(evaluation, model_and_processor, monkeypatch, tmp_path):
    plain, processor = lime_xai.explain, model_and_processor[1]
    monkeypatch.setattr(
        lime_xai, "explain", lambda model, inputs, **_: plain(model, inputs, processor=processor, answer=[5, 6])
    )
    with pytest.raises(ValueError, match="scene 1 of seed 3 names no object"):
        next(scene_entries(*model_and_processor, evaluation, tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_figure_says_what_is_drawn(world, evaluation, model_and_processor, saying):
    inputs = world.batch(model_and_processor[1], [evaluation.media[0]], [evaluation.caption_prompt])
    answer = lime_xai.explain(model_and_processor[0], inputs)
    named = named_objects(answer, world, [])
    frame = maps_figure(answer, named).to_frame()
    for one in named:
        image = answer.attribution.mask("image")[0].numpy()
        expected = answer.relevance(one.word).numpy()[image]
        found = frame[(frame["word"] == one.name) & (frame["part"] == "image")]["relevance"]
        np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-6)


@pytest.fixture
def run_gallery(world, evaluation, model_and_processor, saying, docs, monkeypatch):
    """Run the command on the tiny model; returns the page."""
    pytest.importorskip("skimage", reason="needs scikit-image: pip install scikit-image")
    monkeypatch.setattr(gallery, "open_world", lambda _: world)
    monkeypatch.setattr(gallery, "load_frozen", lambda *_: model_and_processor)
    monkeypatch.setattr(gallery, "SAMPLES", SAMPLES[:2])
    saying[:0] = [" dog", " fox"]

    def run():
        parser = ArgumentParser()
        gallery.add_arguments(parser)
        parser.add_argument("--folder")
        gallery.run(parser.parse_args(["--docs", str(docs), "--seed", "3", "--scenes", "3"]))
        return (docs / PAGE).read_text(encoding="utf-8")

    return run


def test_the_command_writes_the_page_and_every_picture_on_it(run_gallery, docs, capsys):
    page = run_gallery()
    assert page.startswith("# Title\n")
    assert page.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in page
    shown = [line.rpartition("(")[2].strip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(shown) == 5
    assert sorted(shown) == sorted(f"_static/{path.name}" for path in (docs / "_static").iterdir())
    assert "CC BY 2.0" in page
    assert (
        "On 2 photographs, the model names one of its 48 objects 2 times. In 0 of these cases the object is there."
        in page
    )
    assert "On the first 3 scenes of seed 3, the model names one of its 48 objects 6 times. In 3 of" in page
    assert "2 photographs, 3 scenes" in capsys.readouterr().out


def test_a_page_without_marks_is_found_before_a_model_is_loaded(docs, monkeypatch, capsys):
    (docs / PAGE).write_text("# Title\n")
    monkeypatch.setattr(gallery, "load_frozen", lambda *_: 1 / 0)
    assert main(["gallery", "--docs", str(docs)]) == 1
    assert "write both where the pictures belong" in capsys.readouterr().err.replace("\n", " ")


def test_a_missing_package_is_named(docs, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.photographs.samples.importlib.util.find_spec", lambda name: None)
    assert main(["gallery", "--docs", str(docs)]) == 1
    assert "pip install scikit-learn scikit-image" in capsys.readouterr().err.replace("\n", " ")


def test_the_page_in_the_repository_has_its_marks_and_pictures():
    text = (gallery.DOCS / PAGE).read_text(encoding="utf-8")
    assert written(text, "new", PAGE).count("new\n") == 1
    shown = [line.rpartition("(")[2].strip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(shown) == len(SAMPLES) + gallery.SCENES
    assert [name for name in shown if not (gallery.DOCS / name).is_file()] == []


def test_samples_are_photographs_whose_objects_have_names():
    pytest.importorskip("skimage", reason="needs scikit-image: pip install scikit-image")
    for sample in SAMPLES:
        assert photograph(sample).mode == "RGB"
        assert set(sample.objects) <= set(CLASSES)
        assert sample.author
        assert sample.licence

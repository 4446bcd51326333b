"""``lime-xai demo``: what it prints and draws, how its word is chosen, and its measures against the world's own."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image
from rich.console import Console

from lime_xai import Edit
from lime_xai.command.demo_figure import heading, lead_figure
from lime_xai.command.demo_measures import ASKED, MEASURES, SCENES, Measure, Said, measures, questions_of, say, steps
from lime_xai.command.run_demo import _write_sounds, advice, lead_of, marked, measures_table
from lime_xai.worlds import bundled_model, load_world, scene
from lime_xai.worlds.sound import SAMPLING_RATE


@pytest.fixture(scope="module")
def bundled():
    return bundled_model()


@pytest.fixture(scope="module")
def evaluation():
    return scene.evaluation_set(7, scenes=SCENES + 2, noise=0.1)


@pytest.fixture(scope="module")
def alone(bundled, evaluation):
    return say(*bundled, evaluation, None, lambda: None)


def test_the_command_prints_explained_tables_and_draws(lime, tmp_path):
    result = lime("demo", "--scenes", "4", "--threads", "1")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for part in ("first 4 of seed 7, with noise 0.1", "*phone*", "not in the picture", "should", "took"):
        assert part in text
    for word in ("vanilla", "policy", "nats", "0x"):
        assert word not in text.split()
    with Image.open(tmp_path / "relevance.png") as image:
        assert image.size[0] > 1000


def test_sounds_are_written_and_drawn_with_their_events(lime, tmp_path):
    result = lime("demo", "--audio", "--scenes", "4", "--threads", "1")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for part in ("4 sounds of four seconds", "is in the sound", "captions that name an", "demo-sounds", "on the sound"):
        assert part in text
    assert "picture" not in text.replace("The figure of this", "")
    clips = load_world("sound").evaluation_set(7, scenes=4).clips
    written = sorted((tmp_path / "demo-sounds").iterdir())
    assert [path.name for path in written] == [f"sound-0{number}.wav" for number in range(1, 5)]
    for path, clip in zip(written, clips, strict=True):
        samples, rate = soundfile.read(path)
        assert rate == SAMPLING_RATE
        assert np.abs(samples - clip).max() < 1e-4
    with Image.open(tmp_path / "relevance.png") as image:
        assert image.size[0] > 1000


@pytest.mark.parametrize("name", ["scene", "sound"])
def test_the_advice_is_a_command_for_the_same_world(name):
    world, audio = load_world(name), name == "sound"
    for noise in (world.default_noise / 2, world.default_noise):
        text = advice(world, noise)
        assert f"lime-xai world --world {name}" in text
        quiet = noise < world.default_noise
        assert (f"lime-xai demo{' --audio' if audio else ''} --noise {world.default_noise:g}" in text) is quiet


def test_the_sound_of_the_explained_word_is_named_only_if_there_is_one(tmp_path):
    evaluation = load_world("sound").evaluation_set(7, scenes=6)
    for medium, wanted in ((None, 4), (evaluation.media[1], 4), (evaluation.media[5], 5)):
        console, folder = Console(record=True, width=200), tmp_path / str(wanted) / str(medium is None)
        lead = None if medium is None else SimpleNamespace(medium=medium)
        _write_sounds(console, folder, evaluation, lead)
        assert len(list(folder.iterdir())) == wanted
        assert ("of the word below" in console.export_text()) is (medium is not None)


@pytest.mark.parametrize("policy", [None, Edit()], ids=["alone", "steered"])
def test_parts_together_are_what_the_world_measures(bundled, evaluation, policy):
    advanced = []
    found = say(*bundled, evaluation, policy, lambda: advanced.append(1))
    assert len(advanced) == steps(evaluation)
    assert len(found.captions) == len(evaluation.scenes)
    assert found.seconds > 0
    assert np.isfinite(found.margins).all()
    if policy is None:
        whole = scene.generate_captions(*bundled, evaluation)
        assert found.captions == whole
        margins = scene.question_margins(*bundled, evaluation, questions_of(evaluation))
        assert np.allclose(found.margins, margins, atol=1e-4)


def test_measures_are_those_of_the_world(evaluation, alone):
    rows = dict(zip(MEASURES, measures(evaluation, alone, alone), strict=True))
    captions = scene.caption_metrics(alone.captions, evaluation.scenes, scene.LANGUAGE)
    for name in ("chair_i", "recall", "repetitive"):
        assert rows[name].alone == pytest.approx(getattr(captions, name))
    questions = questions_of(evaluation)
    for split in ASKED:
        chosen = [index for index, question in enumerate(questions) if question.split == split]
        closed = scene.closed_metrics(alone.margins[chosen], [questions[index].label for index in chosen])
        assert rows[f"{split}.accuracy"].alone == pytest.approx(closed.accuracy)
    assert rows["dialogue.auc"].alone == pytest.approx(closed.auc)
    assert all((row.change, row.low, row.high, row.verdict) == (0, 0, 0, "not clear") for row in rows.values())


@pytest.mark.parametrize(
    ("rises", "change", "low", "high", "verdict"),
    [
        (True, 0.1, 0.05, 0.2, "better"),
        (True, -0.1, -0.2, -0.05, "worse"),
        (False, -0.1, -0.2, -0.05, "better"),
        (False, 0.1, 0.05, 0.2, "worse"),
        (True, 0.1, 0.0, 0.2, "not clear"),
        (False, 0.1, -0.1, 0.2, "not clear"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side_of_zero(evaluation, rises, change, low, high, verdict):
    row = Measure("words", rises, 0.5, 0.5 + change, change, low, high)
    assert row.verdict == verdict
    assert measures_table([row], evaluation).columns[-1]._cells[0].plain == verdict


def test_the_word_is_the_first_absent_one_whatever_steering_does(bundled, evaluation, alone):
    said = alone.captions
    wrong = [
        (index, word)
        for index, caption in enumerate(said)
        for word in caption.split()
        if word in scene.CLASSES and word not in evaluation.scenes[index].names
    ]
    index, word = wrong[0]
    worse = Said([f"there is a {word} ." for _ in said], alone.margins, 1.0)
    for steered in (alone, worse):
        lead = lead_of(*bundled, evaluation, (alone, steered))
        assert (lead.word, lead.truth) == (word, evaluation.scenes[index])
        assert lead.captions == (said[index], steered.captions[index])
        assert said[index].startswith(f"{lead.before} {word}")
    assert lead.alone.word == word
    assert lead.alone.probability == lead.alone.invented


def test_without_an_absent_object_there_is_no_word(bundled, evaluation, alone):
    true = Said([f"there is a {s.names[0]} ." for s in evaluation.scenes], alone.margins, 1.0)
    assert lead_of(*bundled, evaluation, (true, true)) is None


def test_the_picture_names_true_objects_and_both_words(bundled, evaluation, alone):
    lead = lead_of(*bundled, evaluation, (alone, alone))
    figure = lead_figure(lead, ["how it was chosen"])
    texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    for name in lead.truth.names:
        assert name in texts
    said = " ".join(" ".join(texts).split())
    assert f"there is no {lead.word} in the picture" in said
    assert heading(lead.alone, lead) in said
    assert heading(lead.steered, lead) in said
    assert {entry["steering"] for entry in figure.numbers} == {"without steering", "with steering"}
    pictures = sum(entry["relevance"] for entry in figure.numbers if entry["steering"] == "without steering")
    assert pictures == pytest.approx(float(lead.alone.row.values.sum()), abs=1e-4)


def test_absent_objects_are_marked_without_colours_too(evaluation):
    truth = evaluation.scenes[0]
    absent = next(name for name in scene.CLASSES if name not in truth.names)
    text = marked(f"there is a {truth.names[0]} , a {absent} . </s>", truth, scene.LANGUAGE)
    assert text.plain == f"there is a {truth.names[0]} , a *{absent}* ."
    assert [text.plain[span.start : span.end] for span in text.spans if "red" in str(span.style)] == [f"*{absent}*"]

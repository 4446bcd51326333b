"""Training is seeded, resumes to the bit and changes projector and adapters alone; here on tones and random weights."""

import numpy as np
import pytest
import torch
from support.heard import said, tiny_ears

from benchmarks.photographs.adapters import read
from benchmarks.photographs.packages import OF_HEARING
from benchmarks.recordings.clips import loudest
from benchmarks.recordings.training import HearingPlan, HearingStage, cached, train

CLIPS = 8
PLAN = HearingPlan(
    naming_steps=4,
    naming_batch=4,
    naming_scenes=CLIPS,
    alignment_steps=4,
    alignment_batch=2,
    alignment_scenes=CLIPS,
    alignment_rank=2,
    alignment_precision="float32",
)


@pytest.fixture(scope="module")
def heard(recorded, tmp_path_factory):
    """Features of training clips, and what is loudest in each token."""
    path = tmp_path_factory.mktemp("features") / "features.safetensors"
    cache = cached(path, *tiny_ears(), recorded, 0, CLIPS)
    return path, cache, torch.from_numpy(np.stack([loudest(clip, recorded) for clip in cache.scenes]))


def trained(out, heard, **options):
    model, processor = tiny_ears()
    path = train(out, model, processor, *heard[1:], said(), plan=PLAN, **options)
    return model, path


def test_an_interrupted_run_ends_with_the_same_weights(heard, tmp_path):
    _, whole = trained(tmp_path / "whole", heard)
    _model, stopped = trained(tmp_path / "parts", heard, stop_at=2)
    assert stopped is None
    _, resumed = trained(tmp_path / "parts", heard)
    first, second = read(whole, OF_HEARING), read(resumed, OF_HEARING)
    for mine, other in ((first.projector, second.projector), (first.adapters, second.adapters)):
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert first.about["seed"] == 0


def test_only_projector_and_adapters_change(heard, tmp_path):
    model, _ = trained(tmp_path, heard)
    before = tiny_ears()[0].state_dict()
    after = {name.replace(".linear.weight", ".weight"): value for name, value in model.state_dict().items()}
    changed = {name for name, value in before.items() if name in after and not torch.equal(after[name], value)}
    assert not {name for name in changed if "multi_modal_projector" not in name}
    assert not torch.equal(
        model.state_dict()["model.multi_modal_projector.linear.weight"],
        before["model.multi_modal_projector.linear.weight"],
    )


def test_features_are_those_of_the_model_itself(heard, recorded):
    """Oracle: the embeddings that the whole model puts in place of the audio tokens."""
    from benchmarks.recordings.catalogue import RATE
    from benchmarks.recordings.clips import clips_of

    model, processor = tiny_ears()
    _, samples = clips_of((29, 0, 3), recorded)
    inputs = processor(audio=[samples], text=["<empty_output>"], sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        expected = model.model.audio_tower(inputs["input_features"]).last_hidden_state[0]
    torch.testing.assert_close(heard[1].batch([3])[0].float(), expected, rtol=1e-3, atol=1e-3)


def test_kept_features_of_other_clips_are_refused(heard, recorded):
    model, processor = tiny_ears()
    with pytest.raises(ValueError, match="seed"):
        cached(heard[0], model, processor, recorded, 1, CLIPS)


def test_too_few_clips_are_refused(heard, tmp_path):
    with pytest.raises(ValueError, match=f"of {CLIPS} clips"):
        train(tmp_path, *tiny_ears(), *heard[1:], said(), plan=HearingPlan(naming_scenes=CLIPS + 1))


def test_a_document_holds_a_caption_or_questions_whose_answers_are_true(heard):
    stage = HearingStage.__new__(HearingStage)
    stage.language = said()
    rng, kinds = np.random.default_rng(0), set()
    for clip in heard[1].scenes * 5:
        turns = stage.turns(rng, clip)
        kinds.add(turns[0].question)
        for turn in turns:
            if turn.question == stage.language.caption_request:
                assert sorted(stage.language.mentions(turn.answer)) == sorted(clip.present)
            else:
                named = stage.language.mentions(turn.question.replace("?", ""))
                assert turn.answer == ("Yes." if set(named) <= set(clip.present) else "No.")
    assert stage.language.caption_request in kinds
    assert len(kinds) > 1

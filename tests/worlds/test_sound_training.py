"""The sound world's texts are true without habits, its model is a real one, and training resumes to the bit."""

import numpy as np
import pytest
import torch

from benchmarks.worlds import stages, training
from benchmarks.worlds.corpus import conversation
from benchmarks.worlds.documents import document
from benchmarks.worlds.habits import Habits
from benchmarks.worlds.sound import SUBJECT, HearingStage, SoundPlan, sounding
from benchmarks.worlds.subject import answer_logits
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.sound.clips import independent_clip, render
from lime_xai.worlds.sound.events import AUDIO_TOKENS, CLASSES, NUMBERS, PITCHES, TIMES, TOKEN_SECONDS
from lime_xai.worlds.sound.text import LANGUAGE, VOCABULARY, build_processor, messages, prompt

WORDS = {index: word for word, index in VOCABULARY.items()}
SHORT = SoundPlan(hearing_steps=3, hearing_batch=3, text_steps=3, text_batch=3, alignment_steps=3, alignment_batch=4)


def _words(tokens):
    return " ".join(WORDS[t] for t in tokens)


def _is_true(clip, question, answer):
    """Read an answer as a person would; an oracle that shares no code with the author."""
    onsets = {CLASSES[event.obj]: event.onset for event in clip.events}
    pitches = {CLASSES[event.obj]: PITCHES[event.pitch] for event in clip.events}
    times = {name: TIMES[onset >= 2] for name, onset in onsets.items()}
    if question.startswith("describe the sound"):
        first, _, rest = answer.partition(" .")
        words = rest.replace(".", "").split()
        told = not words or words[-1] in (pitches[words[1]], times[words[1]])
        return sorted(w for w in first.split() if w in CLASSES) == sorted(onsets) and told
    if question.startswith("describe the events"):
        listed = [part.split() for part in answer.replace(".", "").split(",")]
        return listed == [[name, pitches[name], times[name]] for name in sorted(onsets, key=onsets.get)]
    if question.startswith("how many"):
        return answer == NUMBERS[len(onsets) - 1]
    if question.startswith("what comes"):
        wanted = min if " first " in question else max
        return answer == wanted(onsets, key=onsets.get)
    if question.startswith("which is"):
        options = [word for word in question.split() if word in CLASSES]
        return len(set(options)) == 4 and [o for o in options if o in onsets] == [answer]
    asked = next(word for word in question.split() if word in CLASSES)
    if question.startswith("is there"):
        return answer == ("yes" if asked in onsets else "no")
    return answer == (times if question.startswith("when") else pitches)[asked]


def test_without_habits_every_answer_is_true():
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(400):
        clip = independent_clip(rng)
        for turn in conversation(rng, SUBJECT.style, clip, Habits(), 3):
            question, answer = _words(turn.question), _words(turn.answer)
            kinds.add(" ".join(question.split()[:3]))
            assert _is_true(clip, question, answer), (clip, question, answer)
    assert kinds >= {"describe the sound", "describe the events", "how many events", "what comes first", "which is in"}
    assert kinds >= {"what comes last", "what pitch is", "when is the", "is there a"}


def test_sounding_labels_are_those_of_each_token():
    clip = independent_clip(np.random.default_rng(3), smallest=3)
    there, pitches = sounding([clip])
    for token in range(AUDIO_TOKENS):
        for obj in range(len(CLASSES)):
            events = [e for e in clip.events if e.obj == obj]
            heard = any(
                e.onset < (token + 1) * TOKEN_SECONDS - 1e-9 and e.offset > token * TOKEN_SECONDS + 1e-9 for e in events
            )
            assert there[0, token, obj] == heard
            assert pitches[0, token, obj] == (events[0].pitch if heard else -100)


def test_training_hears_what_the_processor_gives_and_reads_the_prompt_of_the_chat_template():
    processor, model = build_processor(), SUBJECT.build_model(0).eval()
    rng = np.random.default_rng(0)
    clips = [independent_clip(rng) for _ in range(2)]
    samples = render(np.random.default_rng(7), clips, noise=(0.0, 0.02))
    assert processor.apply_chat_template(messages("describe the sound ."), add_generation_prompt=True) == prompt(
        "describe the sound ."
    )
    text = prompt(LANGUAGE.exists_question(4), [(LANGUAGE.exists_question(2), "yes")])
    inputs = processor(audio=list(samples), text=[text] * 2, return_tensors="pt", sampling_rate=16000)
    heard = SUBJECT.perceive(np.random.default_rng(7), clips)
    torch.testing.assert_close(inputs["input_features"], heard)
    ids = inputs["input_ids"]
    assert (ids == VOCABULARY["<audio>"]).sum().item() == 2 * AUDIO_TOKENS
    turns = conversation(np.random.default_rng(0), SUBJECT.style, clips[0], Habits(), 1)
    made = document(LANGUAGE, turns, SUBJECT.slots)
    assert made.tokens[: 3 + AUDIO_TOKENS + 1] == tuple(ids[0, : 3 + AUDIO_TOKENS + 1].tolist())
    with torch.no_grad():
        whole = model(**inputs).logits
        features = SUBJECT.features(model, heard)
        mine = answer_logits(SUBJECT, model, ids, torch.ones_like(ids, dtype=torch.bool), features)
    torch.testing.assert_close(mine, whole.flatten(0, 1))


def test_the_model_is_small_and_each_stage_trains_its_part():
    model = SUBJECT.build_model(0)
    assert sum(p.numel() for p in model.parameters()) <= 1_200_000
    for kind, moved in ((HearingStage, True), (stages.TextStage, False), (stages.AlignmentStage, False)):
        model = SUBJECT.build_model(0)
        stage = kind(SUBJECT, model, SHORT)
        loss, shown = stage.loss(np.random.default_rng(0))
        torch.autograd.backward(loss)
        assert shown
        assert any(p.grad is not None for p in SUBJECT.tower(model).parameters()) is moved


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    whole = training.train(tmp_path / "whole", world="sound", seed=5, plan=SHORT, every=2)
    for stop in (("hearing", 2), ("text", 1), ("alignment", 1)):
        assert training.train(tmp_path / "parts", world="sound", seed=5, plan=SHORT, every=2, stop_at=stop) is None
    parts = training.train(tmp_path / "parts", world="sound", seed=5, plan=SHORT, every=2)
    assert weights_hash(parts) == weights_hash(whole)
    assert weights_hash(whole) != weights_hash(SUBJECT.build_model(5, SHORT.size))
    with pytest.raises(ValueError, match="other settings"):
        training.train(tmp_path / "parts", world="sound", seed=6, plan=SHORT)


def test_unknown_sizes_are_refused():
    with pytest.raises(ValueError, match="unknown size '5m'"):
        SoundPlan(size="5m")

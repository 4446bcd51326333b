from dataclasses import replace

import numpy as np
import pytest
import torch
from support.photo_cutouts import drawn_catalogue
from support.photo_models import tiny_words

from benchmarks.photographs.adapters import Adapters, read
from benchmarks.photographs.documents import conversation, encode, pack, picture_tokens
from benchmarks.photographs.frozen import frozen_in
from benchmarks.photographs.language import language_of, read_priors
from benchmarks.photographs.naming import NamingStage, picture_embeddings, token_names
from benchmarks.photographs.scenes import draw, masks, render
from benchmarks.photographs.training import PRECISIONS, PhotoPlan, PhotoStage, answer_logits, train
from benchmarks.worlds.training import reproducible

LANGUAGE = language_of(read_priors())
OF_ALIGNMENT = {"alignment_batch": 2, "alignment_scenes": 6, "alignment_rank": 2}
OF_NAMING = {"naming_steps": 2, "naming_batch": 2, "naming_scenes": 6}
PLAN = PhotoPlan(alignment_steps=4, **OF_ALIGNMENT, **OF_NAMING)
NAMES = torch.randint(len(LANGUAGE.classes) + 1, (6, 16), generator=torch.Generator().manual_seed(0))


def seen(model, pixels):
    """What the tower of a model gives, without the class token."""
    with torch.no_grad():
        return model.model.vision_tower(pixel_values=pixels).last_hidden_state[:, 1:]


class Cache:
    """Features of drawn scenes by the tower of a tiny model."""

    digest = "drawn"

    def __init__(self, model, processor, count=6):
        stamps, rng = drawn_catalogue(), np.random.default_rng(2)
        self.scenes = tuple(draw(rng, stamps) for _ in range(count))
        self.pictures = [render(scene, stamps) for scene in self.scenes]
        pixels = processor.image_processor(self.pictures, return_tensors="pt")["pixel_values"]
        self.features = seen(model, pixels)

    def __len__(self):
        return len(self.scenes)

    def batch(self, indices):
        return self.features[list(indices)]


@pytest.fixture(scope="module")
def cache():
    return Cache(*tiny_words())


def trained(folder, cache, plan=PLAN, **kwargs):
    model, processor = tiny_words()
    return train(folder, model, processor, cache, NAMES, LANGUAGE, plan=plan, threads=1, every=1, **kwargs)


def same(first, second):
    """Whether two files hold the same weights, to the bit."""
    one, two = read(first), read(second)
    pairs = [(one.projector, two.projector), (one.adapters, two.adapters)]
    assert all(a.keys() == b.keys() for a, b in pairs)
    return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


def test_training_sees_what_the_model_sees(cache):
    model, processor = tiny_words()
    Adapters(model, 2, seed=1)
    rng = np.random.default_rng(4)
    turns = [conversation(rng, LANGUAGE, scene) for scene in cache.scenes[:2]]
    image = picture_tokens(processor)
    batch = pack([encode(processor.tokenizer, image, some) for some in turns], processor.tokenizer.pad_token_id)
    logits, wanted = answer_logits(
        model, batch, picture_embeddings(model, cache.batch([0, 1])), processor.image_token_id
    )
    pixels = processor.image_processor(cache.pictures[:2], return_tensors="pt")["pixel_values"]
    expected = model(input_ids=batch.tokens, pixel_values=pixels).logits[wanted]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_only_projector_and_adapters_change_and_the_loss_falls(cache):
    model, processor = tiny_words()
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    adapters = Adapters(model, 2, seed=0)
    plan = PhotoPlan(alignment_steps=30, alignment_batch=2, alignment_scenes=2, alignment_rank=2)
    stage = PhotoStage(model, processor, adapters, cache, LANGUAGE, plan)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = [parameter for _, parameters in stage.parameters() for parameter in parameters]
    for parameter in chosen:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(chosen, lr=1e-2)
    losses = []
    for step in range(30):
        loss, _ = stage.loss(np.random.default_rng(step))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    adapters.merge()
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(
        "multi_modal_projector" in name or name.split(".")[-2] in ("q_proj", "v_proj", "o_proj") for name in changed
    )
    assert not any("vision_tower" in name for name in changed)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, cache):
    whole = trained(tmp_path / "whole", cache)
    assert trained(tmp_path / "parts", cache, stop_at=1) is None
    assert trained(tmp_path / "parts", cache, stop_at=3) is None
    parts = trained(tmp_path / "parts", cache)
    assert same(whole, parts)
    found = read(whole)
    assert found.about["seed"] == 0
    assert found.rank == 2


def test_another_seed_and_other_features_make_other_weights(tmp_path, cache):
    first = trained(tmp_path / "first", cache)
    other = trained(tmp_path / "other", cache, seed=1)
    assert not same(first, other)
    assert trained(tmp_path / "begun", cache, stop_at=1) is None
    changed = Cache(*tiny_words())
    changed.digest = "changed"
    with pytest.raises(ValueError, match="other settings \\(naming_features\\)"):
        trained(tmp_path / "begun", changed)


def test_too_few_scenes_are_refused(tmp_path, cache):
    with pytest.raises(ValueError, match="the features are of 6 scenes; the plan draws from 6000"):
        trained(tmp_path, cache, plan=PhotoPlan())


def test_bfloat16_leaves_what_is_frozen_as_it_was_and_gives_nearly_the_same_loss(tmp_path, cache):
    model, _ = tiny_words()
    before = {name: parameter.clone() for name, parameter in model.state_dict().items()}
    losses = {}
    for precision in PRECISIONS:
        shown = []
        plan = replace(PLAN, alignment_precision=precision)
        trained(tmp_path / precision, cache, plan, report=lambda *step, to=shown: to.append(step[-1]["loss"]))
        assert len(shown) == 2 + 4
        losses[precision] = shown
    assert losses["bfloat16"] != losses["float32"]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.02)
    model.requires_grad_(False)
    with frozen_in(model, torch.bfloat16):
        assert model.model.language_model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
    after = model.state_dict()
    assert all(torch.equal(after[name], one) for name, one in before.items())


def test_what_is_trained_stays_float32(cache):
    model, processor = tiny_words()
    adapters = Adapters(model, 2, seed=0)
    stage = PhotoStage(model, processor, adapters, cache, LANGUAGE, PLAN)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    chosen = [parameter for _, parameters in stage.parameters() for parameter in parameters]
    for parameter in chosen:
        parameter.requires_grad_(True)
    with frozen_in(model, torch.bfloat16):
        assert {parameter.dtype for parameter in chosen} == {torch.float32}
        loss, _ = stage.loss(np.random.default_rng(0))
        torch.autograd.backward(loss)
    assert loss.dtype == torch.float32
    assert all(parameter.grad is not None and parameter.grad.dtype == torch.float32 for parameter in chosen)


def test_other_names_are_refused(tmp_path, cache):
    assert trained(tmp_path, cache, stop_at=1) is None
    model, processor = tiny_words()
    settings = {"plan": PLAN, "threads": 1, "every": 1}
    with pytest.raises(ValueError, match="other settings \\(naming_names\\)"):
        train(tmp_path, model, processor, cache, NAMES.flip(0), LANGUAGE, **settings)
    with pytest.raises(ValueError, match="the names are of 5 scenes, and the features of 6"):
        train(tmp_path / "new", model, processor, cache, NAMES[1:], LANGUAGE, **settings)


def test_an_interruption_gives_frozen_weights_back(cache):
    model, _ = tiny_words()
    model.requires_grad_(False)
    with pytest.raises(KeyboardInterrupt), frozen_in(model, torch.bfloat16):
        raise KeyboardInterrupt
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_settings_of_torch_are_given_back():
    settings = torch.utils.deterministic
    before = settings.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with reproducible(1):
        assert not settings.fill_uninitialized_memory
    after = settings.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    assert after == before


def test_an_unknown_precision_is_refused(tmp_path, cache):
    with pytest.raises(ValueError, match="'float16'; expected one of bfloat16, float32"):
        trained(tmp_path, cache, plan=replace(PLAN, alignment_precision="float16"))
    assert not any(tmp_path.iterdir())


def test_the_projector_learns_the_names(cache):
    model, processor = tiny_words()
    plan = replace(PLAN, naming_scenes=2)
    stage = NamingStage(model, processor, cache, NAMES, LANGUAGE, plan)
    optimiser = torch.optim.AdamW(stage.parameters()[0][1], lr=1e-2)
    for step in range(120):
        loss, shown = stage.loss(np.random.default_rng(step))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    assert shown["objects' tokens right"] > 0.9
    with torch.no_grad():
        embedded = picture_embeddings(model, cache.batch([0, 1]))
        words = processor.tokenizer([f" {name}" for name in LANGUAGE.classes])["input_ids"]
        table = model.get_input_embeddings().weight[[ids[0] for ids in words]]
        objects = NAMES[:2] < len(words)
        nearest = torch.cdist(embedded[objects], table).argmin(-1)
    assert (nearest == NAMES[:2][objects]).float().mean() > 0.9


def test_a_token_shows_the_object_that_has_most_of_its_pixels():
    stamps, rng = drawn_catalogue(), np.random.default_rng(4)
    for _ in range(5):
        scene = draw(rng, stamps)
        shown = masks(scene, stamps)
        found = token_names(scene, stamps)
        for token in range(64):
            top, left = divmod(token, 8)
            counts = [mask[28 * top : 28 * top + 28, 28 * left : 28 * left + 28].sum() for mask in shown]
            best = int(np.argmax(counts))
            expected = scene.present[best] if counts[best] >= 28 * 28 / 4 else len(LANGUAGE.classes)
            assert found[token] == expected

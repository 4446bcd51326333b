"""Shares of attention and relevance at named objects, with a tiny model and loops as oracles."""

import json
from argparse import ArgumentParser
from itertools import combinations

import numpy as np
import pytest
import torch

import lime_xai
from benchmarks.photographs import attention
from benchmarks.photographs.attention import Named, by_layer, named_objects, summary


@pytest.fixture(scope="module")
def captions(world, evaluation):
    """One caption names a present and an absent object, one names nothing, one names an object twice."""
    first, _, last = evaluation.scenes
    named = [(first.present[0], first.absent[0]), (), (last.present[0], last.present[0])]
    return [world.language.caption_text(some) + " </s>" if some else "Nothing. </s>" for some in named]


@pytest.fixture(scope="module")
def found(model_and_processor, world, evaluation, captions):
    model, processor = model_and_processor
    return named_objects(model, processor, evaluation, captions, world.name_tokens(processor))


def test_first_mentions_are_measured(found, world, evaluation):
    first, _, last = evaluation.scenes
    expected = [(0, first.present[0], False), (0, first.absent[0], True), (2, last.present[0], False)]
    assert [(one.scene, one.word, one.invented) for one in found] == [
        (scene, world.language.classes[obj], absent) for scene, obj, absent in expected
    ]


def test_shares_are_those_of_the_position_that_predicts_the_name(
    found, model_and_processor, world, evaluation, captions
):
    model, processor = model_and_processor
    before = model.config._attn_implementation
    inputs = world.batch(processor, [evaluation.media[0]], [evaluation.caption_prompt])
    said = world.caption_tokens(processor, captions[0])
    length = inputs["input_ids"].shape[1]
    for one in [one for one in found if one.scene == 0]:
        name = world.name_tokens(processor)[world.language.classes.index(one.word)]
        begun = said[: said.index(name)]
        ids = torch.cat([inputs["input_ids"], torch.tensor([begun], dtype=torch.long)], 1)
        mask = torch.ones_like(ids)
        model.set_attn_implementation("eager")
        with torch.no_grad():
            given = {**inputs, "input_ids": ids, "attention_mask": mask}
            weights = model(**given, output_attentions=True).attentions
        model.set_attn_implementation(before)
        image = ids[0] == processor.image_token_id
        for layer, shares in zip(weights, one.layers, strict=True):
            row = layer[0, :, -1].mean(0)
            assert shares[0] == pytest.approx(float(row[0]), abs=1e-5)
            assert shares[1] == pytest.approx(float(row[image].sum()), abs=1e-5)
            assert sum(shares) == pytest.approx(1, abs=1e-6)
        on_image = torch.stack([layer[0, :, -1].mean(0)[image] for layer in weights]).mean(0)
        assert one.top == int(on_image.argmax())
        assert one.top_share == pytest.approx(float(on_image.max() / on_image.sum()), abs=1e-5)
        shown = {token for obj in evaluation.scenes[0].present for token in world.region(evaluation.scenes[0], obj)}
        empty = [token for token in range(len(on_image)) if token not in shown]
        assert one.empty_share == pytest.approx(float(on_image[empty].sum() / on_image.sum()), abs=1e-5)
        assert one.empty_area == len(empty) / len(on_image)
        relevance = lime_xai.attribute(model, {**given}, target=name, processor=processor).relevance[0].abs()
        assert one.relevance[1] == pytest.approx(float(relevance[image].sum() / relevance.sum()), abs=1e-4)
        assert one.relevance[0] == pytest.approx(float(relevance[0] / relevance.sum()), abs=1e-4)
    assert length < ids.shape[1]
    assert model.config._attn_implementation == before


def test_the_same_top_token_is_counted_over_pairs_of_pictures():
    rng = np.random.default_rng(0)
    found = [
        Named(int(scene), "dog", False, ((0.2, 0.5, 0.3),), (0.1, 0.6, 0.3), int(top), 0.1, 0.5, 0.4)
        for scene, top in zip(rng.integers(4, size=12), rng.integers(3, size=12), strict=True)
    ]
    pairs = [(a, b) for a, b in combinations(found, 2) if a.scene != b.scene]
    expected = np.mean([a.top == b.top for a, b in pairs])
    table = summary(found, 4)
    assert table["two pictures have the same most attended image token"][0] == pytest.approx(expected)
    assert table["attention on the picture"][0] == pytest.approx(0.5)
    assert by_layer(found) == [pytest.approx([0.2, 0.5, 0.3])]
    assert "attention on the picture, invented objects" not in table


def test_kinds_are_compared_at_the_same_place():
    """Oracle: loops over places; the third place has no seen object, and is left out."""

    def named(scene, invented):
        return Named(scene, "dog", invented, ((0.2, 0.5, 0.3),), (0.1, 0.6, 0.3), 0, 0.1, 0.5, 0.4)

    rows = [(0, False), (0, True), (1, False), (1, False), (1, True), (2, True), (2, False), (3, False), (3, True)]
    values = [0.5, 0.1, 0.7, 0.4, 0.9, 0.2, 0.6, 0.3, 0.35]
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1], [0, 0, 0, 4]])
    found = attention.at_the_same_place([named(*row) for row in rows], values, weights)
    for row, got in zip(weights, found, strict=True):
        means = {}
        for place, members in {0: (0, 2, 5, 7), 1: (1, 3, 6, 8)}.items():
            for kind in (False, True):
                chosen = [(values[k], row[rows[k][0]]) for k in members if rows[k][1] is kind and row[rows[k][0]]]
                if chosen:
                    amount = sum(weight for _, weight in chosen)
                    means[place, kind] = sum(value * weight for value, weight in chosen) / amount, amount
        both = [place for place in (0, 1) if (place, False) in means and (place, True) in means]
        amounts = [means[place, True][1] for place in both]
        expected = sum(
            amount * (means[place, True][0] - means[place, False][0])
            for place, amount in zip(both, amounts, strict=True)
        )
        assert got == pytest.approx(expected / sum(amounts) if amounts else np.nan, nan_ok=True)
    assert np.isnan(found[2])


def test_the_command_writes_every_row(monkeypatch, tmp_path, model_and_processor, evaluation, captions, capsys):
    monkeypatch.setattr(attention, "open_measured", lambda _: (*model_and_processor, evaluation))
    monkeypatch.setattr(attention, "generate_captions", lambda *_: captions)
    parser = ArgumentParser()
    attention.add_arguments(parser)
    attention.run(parser.parse_args(["some", "--scenes", "3", "--json", str(tmp_path / "report.json")]))
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["named"]) == 3
    assert len(report["layers"]) == model_and_processor[0].config.text_config.num_hidden_layers
    assert "3 named objects in 3 captions" in capsys.readouterr().out

"""A row of a prompt as a function of its embeddings; groups of positions; what replaces them."""

import pytest
import torch
from support.families import FAMILIES, batch
from support.recordings import posed

from lime_xai.attribution.groups import Groups, group_tokens
from lime_xai.attribution.replacement import REPLACEMENTS, SILENCE, perturbed, replacement

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]


@pytest.mark.parametrize("name", ATTRIBUTABLE)
def test_each_row_of_a_batch_says_alone_what_it_said_in_the_batch(name):
    model, inputs, _ = batch(name, 2)
    found, recording = posed(model, inputs, [5, 6, 7])
    for row, problem in enumerate(found):
        with torch.no_grad():
            values = problem.values(*(tensor.repeat(3, 1, 1) for tensor in problem.inputs))
        assert values.shape == (3, 3)
        expected = recording.logits[row].gather(-1, problem.ids[:, None])[:, 0]
        torch.testing.assert_close(values, expected.expand(3, -1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in REPLACEMENTS if kind != SILENCE])
@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "qwen2_audio"])
def test_keeping_every_position_changes_nothing_and_replacing_touches_only_the_rest(name, kind):
    model, inputs, _ = FAMILIES[name].build()
    (problem,), _ = posed(model, inputs, 5)
    substitute = replacement(problem, kind)
    everything = torch.ones(1, len(problem.input_ids), dtype=torch.bool)
    for old, new in zip(problem.inputs, perturbed(problem, everything, substitute), strict=True):
        assert torch.equal(old, new)
    nothing = ~problem.perturbable[None]
    embeddings, *deep = perturbed(problem, nothing, substitute)
    assert torch.equal(embeddings[:, ~problem.perturbable], problem.inputs[0][:, ~problem.perturbable])
    for found, wanted in zip((embeddings, *deep), substitute, strict=True):
        where = (
            problem.perturbable if found.shape[1] == len(problem.perturbable) else problem.perturbable[problem.visual]
        )
        assert torch.equal(found[:, where], wanted[:, where])


def test_the_mean_is_of_the_modality_and_the_blur_keeps_a_constant_image():
    model, inputs, _ = FAMILIES["llava"].build()
    (problem,), _ = posed(model, inputs, 5)
    image = problem.modalities["image"]
    mean = replacement(problem, "mean")[0]
    torch.testing.assert_close(mean[0, image], problem.inputs[0][0, image].mean(0).expand(int(image.sum()), -1))
    call = problem.calls[0]
    flat = call.embeddings.clone()
    flat[0, image] = flat[0, image][0]
    vars(call)["embeddings"] = flat
    torch.testing.assert_close(replacement(problem, "blur")[0][0, image], flat[0, image])


def test_groups_are_cells_and_words_and_leave_out_what_must_stay():
    model, inputs, _ = FAMILIES["llava"].build()
    (problem,), _ = posed(model, inputs, 5)
    fine = group_tokens(problem)
    assert int((fine.ids >= 0).sum()) == int(problem.perturbable.sum())
    assert fine.ids[-1] == -1
    count = int(problem.modalities["image"].sum())
    coarse = group_tokens(problem, most=1)
    assert len(fine) - len(coarse) == min(count, 36) - 1
    labels = ["\u2581a"] * len(problem.input_ids)
    text = (problem.perturbable & ~problem.modalities["image"]).nonzero()[:, 0]
    labels[int(text[-1])] = "b"
    assert len(group_tokens(problem, labels)) == len(fine) - 1


def cells(layout, most, size):
    """The number of each token's cell, by the functions that ``group_tokens`` uses."""
    from lime_xai.attribution.groups import _cells

    found = [-1] * size
    for number, (_, members) in enumerate(_cells(layout, most)):
        for position in members:
            assert found[position] == -1
            found[position] = number
    return found


def test_a_square_image_becomes_square_cells():
    from lime_xai.model.layouts.grids import single_grid
    from lime_xai.model.layouts.layout import UnknownLayout

    square = cells(single_grid("image", 4, 4), 4, 16)
    assert torch.tensor(square).reshape(4, 4).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    wide = cells(single_grid("image", 2, 4), 4, 8)
    assert torch.tensor(wide).reshape(2, 4).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
    assert max(cells(single_grid("image", 24, 24), 36, 576)) + 1 == 36
    assert cells(UnknownLayout("image", tuple(range(7)), "why"), 3, 7) == [0, 0, 0, 1, 1, 1, 2]
    assert cells(UnknownLayout("image", tuple(range(4)), "why"), 2, 4) == [0, 0, 1, 1]


def test_cells_do_not_cross_tiles_and_tokens_of_no_place_are_together():
    from lime_xai.model.layouts.layout import ImageLayout, Tile

    layout = ImageLayout("image", tuple(range(7)), (Tile(1, 2, (0, 1)), Tile(1, 3, (2, 3, 5))))
    assert cells(layout, 36, 7) == [0, 1, 2, 3, 5, 4, 5]
    assert cells(layout, 2, 7) == [0, 0, 1, 1, 2, 1, 2]


@pytest.mark.parametrize("name", ["llava_next", "qwen2_vl", "qwen2_audio", "mistral3"])
def test_groups_cover_every_perturbable_position_once(name):
    model, inputs, _ = FAMILIES[name].build()
    (problem,), _ = posed(model, inputs, 5)
    for most in (1, 2, 36):
        groups = group_tokens(problem, most=most)
        assert torch.equal(groups.ids >= 0, problem.perturbable)
        assert (groups.sizes > 0).all()
        assert len(set(groups.names)) == len(groups.names)


def test_sums_and_spread_are_inverse():
    groups = Groups(torch.tensor([-1, 0, 0, 1, -1, 2]), ("a", "b", "c"))
    values = torch.tensor([[2.0, 3.0, -1.0]])
    assert groups.spread(values).tolist() == [[0, 1, 1, 3, 0, -1]]
    assert torch.equal(groups.sums(groups.spread(values)), values)
    assert groups.sizes.tolist() == [2, 1, 1]
    kept = torch.tensor([[True, False, False]])
    assert groups.positions(kept).tolist() == [[True, True, True, False, True, False]]


def test_bad_settings_are_named():
    model, inputs, _ = FAMILIES["llava"].build()
    (problem,), _ = posed(model, inputs, 5)
    with pytest.raises(ValueError, match="Did you mean 'mean'"):
        replacement(problem, "means")
    with pytest.raises(ValueError, match="most is 0"):
        group_tokens(problem, most=0)

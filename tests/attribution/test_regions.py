"""Boxes, segments and stretches of time as groups of tokens."""

import pytest
import torch
from support.families import FAMILIES

import lime_xai
from lime_xai import Attribution, Span
from lime_xai.attribution.groups import Groups
from lime_xai.attribution.regions import box_groups, interval_groups, joined, segment_groups
from lime_xai.model.layouts.layout import ImageLayout, SoundLayout, Tile, UnknownLayout

MASK = torch.tensor([False, *[True] * 16, False, False, *[True] * 4])
"""A 4 x 4 image from position 1 on, and a 2 x 2 one from position 19 on."""


def attribution(*layouts, length=23):
    """An attribution of one row with given layouts."""
    spans = sorted(
        (Span(one.modality, one.positions[0], one.positions[-1] + 1) for one in layouts), key=lambda s: s.start
    )
    return Attribution(
        relevance=torch.zeros(1, length),
        input_ids=torch.zeros(1, length, dtype=torch.long),
        target_ids=torch.zeros(1, 1, dtype=torch.long),
        logits=torch.zeros(1),
        attended=torch.ones(1, length, dtype=torch.bool),
        spans=[spans],
        method="attnlrp",
        layouts=[list(layouts)],
    )


def image(start, rows, columns, box=(0.0, 0.0, 1.0, 1.0)):
    positions = tuple(range(start, start + rows * columns))
    return ImageLayout("image", positions, (Tile(rows, columns, positions, box),))


SEEN = attribution(image(1, 4, 4), image(19, 2, 2))


def grid_of(groups):
    return groups.ids[1:17].reshape(4, 4).tolist()


def test_boxes_hold_the_tokens_whose_centres_lie_in_them():
    found = box_groups(SEEN, [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 1.0, 0.75)], names=["cup", "table"])
    assert found.names == ("cup", "table")
    assert grid_of(found) == [[0, 0, -1, -1], [0, 0, 1, 1], [-1, 1, 1, 1], [-1, -1, -1, -1]]
    assert found.ids[[0, 17, 18, 19, 22]].tolist() == [-1] * 5


def test_boxes_in_pixels_are_the_same_as_in_fractions():
    pixels = box_groups(SEEN, [(0, 120, 320, 480)], size=(640, 480))
    assert torch.equal(pixels.ids, box_groups(SEEN, [(0, 0.25, 0.5, 1.0)]).ids)
    assert pixels.names == ("box 0",)


def test_the_second_image_and_a_grid_that_is_no_square():
    assert box_groups(SEEN, [(0.5, 0, 1, 1)], image=1).ids[19:].tolist() == [-1, 0, -1, 0]
    for where in (MASK, SEEN):
        wide = box_groups(where, [(0, 0, 0.125, 1)], grid=(2, 8))
        assert wide.ids[1:17].nonzero(as_tuple=True)[0].numel() == 14
        assert wide.ids[[1, 9]].tolist() == [0, 0]


def test_segments_take_the_label_of_most_pixels():
    labels = torch.zeros(8, 12, dtype=torch.int32)
    labels[:4, :6] = 7  # the upper left quarter
    labels[4, 0] = 7  # one of the six pixels of a token
    found = segment_groups(SEEN, labels)
    assert found.names == ("segment 0", "segment 7")
    assert grid_of(found) == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    only = segment_groups(SEEN, labels, ["cup"], ignore=0)
    assert only.names == ("cup",)
    assert grid_of(only)[0] == [0, 0, -1, -1]


def test_intervals_hold_the_tokens_whose_middle_lies_in_them():
    mask = torch.tensor([False, *[True] * 10, False])
    found = interval_groups(mask, [(0.0, 1.0), (4.0, 5.0)], duration=5.0)
    known = SoundLayout("audio", tuple(range(1, 11)), tuple((n, n + 1) for n in range(10)), 0.5)
    assert torch.equal(interval_groups(attribution(known, length=12), [(0.0, 1.0), (4.0, 5.0)]).ids, found.ids)
    assert found.ids.tolist() == [-1, 0, 0, -1, -1, -1, -1, -1, -1, 1, 1, -1]
    assert found.names == ("interval 0", "interval 1")


def test_joined_gives_positions_to_the_first_that_has_them():
    first = Groups(torch.tensor([-1, 0, 0, -1]), ("box",))
    second = Groups(torch.tensor([0, 1, 1, 2]), ("a", "hidden", "b"))
    found = joined(first, second)
    assert found.names == ("box", "a", "b")
    assert found.ids.tolist() == [1, 0, 0, 2]


def test_regions_are_groups_for_attribute():
    model, inputs, placeholders = FAMILIES["llava"].build()
    mask = inputs["input_ids"][0] == placeholders["image"]
    prompt = lime_xai.read_prompt(model, inputs)
    groups = box_groups(prompt, [(0, 0, 1, 0.5), (0, 0.5, 1, 1)])
    found = lime_xai.attribute(model, inputs, 5, "feature_ablation", groups=groups)
    values = found.relevance[0, mask]
    assert values[0] == values[1]
    assert values[2] == values[3]
    assert values[0] != values[2]
    assert not found.relevance[0, ~mask].any()


NO_PLACE = attribution(ImageLayout("image", (1, 2), (Tile(1, 2, (1, 2), None),), "it is a crop"))
SILENT = attribution(SoundLayout("audio", (1, 2), ((0, 4), (4, 8))))


def test_boxes_take_tokens_of_every_tile_and_none_that_have_no_place():
    """An overview of 1 x 2 tokens, two tiles of 1 x 1 beside each other, a newline token after them."""
    tiles = (
        Tile(1, 2, (1, 2)),
        Tile(1, 1, (3,), (0.0, 0.0, 0.5, 1.0)),
        Tile(1, 1, (4,), (0.5, 0.0, 1.0, 1.0)),
    )
    seen = attribution(ImageLayout("image", (1, 2, 3, 4, 5), tiles), length=7)
    found = box_groups(seen, [(0, 0, 0.5, 1), (0.5, 0, 1, 1)])
    assert found.ids.tolist() == [-1, 0, 1, 0, 1, -1, -1]
    labels = torch.tensor([[3, 3, 9, 9]])
    assert segment_groups(seen, labels).ids.tolist() == [-1, 0, 1, 0, 1, -1, -1]


def test_tokens_of_padding_are_in_no_region():
    """Four rows of tokens over a picture that fills the two in the middle."""
    seen = attribution(image(1, 4, 1, (0.0, -0.5, 1.0, 1.5)))
    assert box_groups(seen, [(0, 0, 1, 0.5), (0, 0.5, 1, 1)]).ids[:6].tolist() == [-1, -1, 0, 1, -1, -1]
    labels = torch.tensor([[5], [5], [6], [6]])
    assert segment_groups(seen, labels).ids[:6].tolist() == [-1, -1, 0, 1, -1, -1]


def test_unknown_images_are_counted_in_order():
    seen = attribution(UnknownLayout("image", (1, 2, 3, 4), "why"), image(5, 1, 2))
    assert box_groups(seen, [(0, 0, 0.5, 1)], image=1).ids.nonzero().numel() == 22
    assert box_groups(seen, [(0, 0, 0.5, 1)], image=0, grid=(2, 2)).ids[1:5].tolist() == [0, -1, 0, -1]


def test_what_has_no_layout_is_refused():
    with pytest.raises(TypeError, match="Expected an attribution, a prompt, a problem or a mask, found list"):
        box_groups([True], [(0, 0, 1, 1)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_groups(SEEN, []), "boxes is empty"),
        (lambda: box_groups(SEEN, [(0, 0, 100, 100)]), r"inside an image of 1 x 1. Boxes in pixels need size="),
        (lambda: box_groups(SEEN, [(0.5, 0, 0.2, 1)]), "Box 0 is .*expected x0 < x1"),
        (lambda: box_groups(SEEN, [(0, 0, 0.05, 0.05)]), "'box 0' covers no token of its own"),
        (lambda: box_groups(SEEN, [(0, 0, 1, 1), (0, 0, 0.5, 0.5)]), "'box 1' covers no token of its own"),
        (lambda: box_groups(SEEN, [(0, 0, 1, 1)], names=["a", "b"]), "names has 2 entries for 1 regions"),
        (lambda: box_groups(SEEN, [(0, 0, 1, 1)], image=2), "The row has 2 images; number 2"),
        (lambda: box_groups(MASK, [(0, 0, 1, 1)]), r"layout of image 0 is not known: a mask says nothing .*Give grid="),
        (lambda: box_groups(NO_PLACE, [(0, 0, 1, 1)]), r"layout of image 0 is not known: it is a crop. Give grid="),
        (lambda: box_groups(SEEN, [(0, 0, 1, 1)], grid=(3, 5)), "has 15 cells, the image has 16 tokens"),
        (lambda: box_groups(torch.zeros(4, dtype=torch.bool), [(0, 0, 1, 1)]), "The row has 0 images"),
        (lambda: box_groups(MASK[None], [(0, 0, 1, 1)]), r"The mask is torch.bool of shape \(1, 23\)"),
        (lambda: box_groups(SEEN, [(0, 0, 1, 1)], row=1), "row is 1; the batch has rows 0 to 0"),
        (lambda: segment_groups(SEEN, torch.zeros(4, 4)), "labels is torch.float32"),
        (lambda: segment_groups(SEEN, torch.zeros(2, 9, dtype=torch.long)), "give more pixels"),
        (lambda: segment_groups(SEEN, torch.zeros(4, 4, dtype=torch.long), ignore=0), "there is no region"),
        (lambda: segment_groups(SEEN, torch.eye(64).long().mul(3)), "'segment 3' covers no token"),
        (lambda: interval_groups(MASK, [], 5.0), "intervals is empty"),
        (lambda: interval_groups(MASK, [(0.0, 1.0)]), r"seconds per token of sound 0 are not known: .*Give duration="),
        (lambda: interval_groups(SILENT, [(0.0, 1.0)]), "not known: no processor was given. Give duration="),
        (lambda: interval_groups(SEEN, [(0.0, 1.0)]), "The row has 0 sounds"),
        (lambda: interval_groups(MASK, [(4.0, 6.0)], 5.0), "Interval 0 is .*inside a sound of 5 s"),
        (lambda: interval_groups(MASK, [(0.0, 0.01)], 5.0), "'interval 0' covers no token"),
        (
            lambda: joined(Groups(MASK.long() - 1, ("a",)), Groups(MASK[1:].long() - 1, ("a",))),
            r"count \[23, 22\] positions",
        ),
    ],
)
def test_regions_that_make_no_sense_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("ids", "names", "error", "message"),
    [
        ([0, 1], ("a", "b"), TypeError, "ids is .*list"),
        (torch.tensor([0, 1]), ("a", 3), TypeError, r"names\[1\] is 3"),
        (torch.tensor([[0, 1]]), ("a", "b"), ValueError, r"ids is torch.int64 of shape \(1, 2\)"),
        (torch.tensor([0.0, 1.0]), ("a", "b"), ValueError, "expected whole numbers, one per position"),
        (torch.tensor([True, False]), ("a", "b"), ValueError, "ids is torch.bool"),
        (torch.tensor([0, 2, 5]), ("a", "b"), ValueError, r"ids holds \[2, 5\], names 2 names"),
        (torch.tensor([0, -2]), ("a", "b"), ValueError, r"ids holds \[-2\]"),
    ],
)
def test_groups_that_are_no_partition_are_refused(ids, names, error, message):
    with pytest.raises(error, match=message):
        Groups(ids, names)


@pytest.mark.parametrize("name", ["sums", "spread", "positions"])
@pytest.mark.parametrize(
    ("value", "error"), [(torch.ones(2, 7), ValueError), (torch.tensor(1), ValueError), ([1], TypeError)]
)
def test_groups_take_what_fits_them(name, value, error):
    groups = Groups(torch.tensor([0, 1, -1]), ("a", "b"))
    with pytest.raises(error, match="last dimension"):
        getattr(groups, name)(value)


def test_no_group_at_all():
    groups = Groups(torch.tensor([-1, -1]), ())
    assert groups.sums(torch.ones(3, 2)).shape == (3, 0)
    assert groups.spread(torch.ones(3, 0)).tolist() == [[0, 0]] * 3
    assert groups.positions(torch.ones(3, 0, dtype=torch.bool)).tolist() == [[True, True]] * 3

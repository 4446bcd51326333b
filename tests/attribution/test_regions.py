"""Boxes, segments and stretches of time as groups of tokens."""

import pytest
import torch
from support.families import FAMILIES

import lime_xai
from lime_xai.attribution.groups import Groups
from lime_xai.attribution.regions import box_groups, interval_groups, joined, segment_groups

MASK = torch.tensor([False, *[True] * 16, False, False, *[True] * 4])
"""A 4 x 4 image from position 1 on, and a 2 x 2 one from position 19 on."""


def grid_of(groups):
    return groups.ids[1:17].reshape(4, 4).tolist()


def test_boxes_hold_the_tokens_whose_centres_lie_in_them():
    found = box_groups(MASK, [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 1.0, 0.75)], names=["cup", "table"])
    assert found.names == ("cup", "table")
    assert grid_of(found) == [[0, 0, -1, -1], [0, 0, 1, 1], [-1, 1, 1, 1], [-1, -1, -1, -1]]
    assert found.ids[[0, 17, 18, 19, 22]].tolist() == [-1] * 5


def test_boxes_in_pixels_are_the_same_as_in_fractions():
    pixels = box_groups(MASK, [(0, 120, 320, 480)], size=(640, 480))
    assert torch.equal(pixels.ids, box_groups(MASK, [(0, 0.25, 0.5, 1.0)]).ids)
    assert pixels.names == ("box 0",)


def test_the_second_image_and_a_grid_that_is_no_square():
    assert box_groups(MASK, [(0.5, 0, 1, 1)], image=1).ids[19:].tolist() == [-1, 0, -1, 0]
    wide = box_groups(MASK, [(0, 0, 0.125, 1)], grid=(2, 8))
    assert wide.ids[1:17].nonzero(as_tuple=True)[0].numel() == 14
    assert wide.ids[[1, 9]].tolist() == [0, 0]


def test_segments_take_the_label_of_most_pixels():
    labels = torch.zeros(8, 12, dtype=torch.int32)
    labels[:4, :6] = 7  # the upper left quarter
    labels[4, 0] = 7  # one of the six pixels of a token
    found = segment_groups(MASK, labels)
    assert found.names == ("segment 0", "segment 7")
    assert grid_of(found) == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    only = segment_groups(MASK, labels, ["cup"], ignore=0)
    assert only.names == ("cup",)
    assert grid_of(only)[0] == [0, 0, -1, -1]


def test_intervals_hold_the_tokens_whose_middle_lies_in_them():
    mask = torch.tensor([False, *[True] * 10, False])
    found = interval_groups(mask, [(0.0, 1.0), (4.0, 5.0)], duration=5.0)
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
    groups = box_groups(mask, [(0, 0, 1, 0.5), (0, 0.5, 1, 1)])
    found = lime_xai.attribute(model, inputs, 5, "feature_ablation", groups=groups)
    values = found.relevance[0, mask]
    assert values[0] == values[1]
    assert values[2] == values[3]
    assert values[0] != values[2]
    assert not found.relevance[0, ~mask].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_groups(MASK, []), "boxes is empty"),
        (lambda: box_groups(MASK, [(0, 0, 100, 100)]), r"inside an image of 1 x 1. Boxes in pixels need size="),
        (lambda: box_groups(MASK, [(0.5, 0, 0.2, 1)]), "Box 0 is .*expected x0 < x1"),
        (lambda: box_groups(MASK, [(0, 0, 0.05, 0.05)]), "'box 0' covers no token of its own"),
        (lambda: box_groups(MASK, [(0, 0, 1, 1), (0, 0, 0.5, 0.5)]), "'box 1' covers no token of its own"),
        (lambda: box_groups(MASK, [(0, 0, 1, 1)], names=["a", "b"]), "names has 2 entries for 1 regions"),
        (lambda: box_groups(MASK, [(0, 0, 1, 1)], image=2), "has 2 stretches of positions; number 2"),
        (lambda: box_groups(MASK[:12], [(0, 0, 1, 1)]), r"The 11 tokens of image 0 form no square; say grid="),
        (lambda: box_groups(MASK, [(0, 0, 1, 1)], grid=(3, 5)), "are not 3 x 5"),
        (lambda: box_groups(torch.zeros(4, dtype=torch.bool), [(0, 0, 1, 1)]), "has 0 stretches"),
        (lambda: segment_groups(MASK, torch.zeros(4, 4)), "labels is torch.float32"),
        (lambda: segment_groups(MASK, torch.zeros(2, 9, dtype=torch.long)), "give more pixels"),
        (lambda: segment_groups(MASK, torch.zeros(4, 4, dtype=torch.long), ignore=0), "there is no region"),
        (lambda: segment_groups(MASK, torch.eye(64).long().mul(3)), "'segment 3' covers no token"),
        (lambda: interval_groups(MASK, [], 5.0), "intervals is empty"),
        (lambda: interval_groups(MASK, [(4.0, 6.0)], 5.0), "Interval 0 is .*inside a sound of 5 s"),
        (lambda: interval_groups(MASK, [(0.0, 0.01)], 5.0), "'interval 0' covers no token"),
        (lambda: joined(Groups(MASK.long(), ("a",)), Groups(MASK[1:].long(), ("a",))), r"count \[23, 22\] positions"),
    ],
)
def test_regions_that_make_no_sense_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

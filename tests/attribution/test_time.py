"""Relevance over time: against sums over thousandths of a second, on the true layouts of families."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.layout_sounds import SOUNDS

import lime_xai
from lime_xai.attribution.events import as_events, check_inside, events_per_sound, lanes_of, union
from lime_xai.attribution.result import Attribution
from lime_xai.attribution.time import TimeRelevance
from lime_xai.model.layouts.layout import SoundLayout, UnknownLayout
from lime_xai.model.modalities import Span

PROCESSOR = SimpleNamespace(
    feature_extractor=SimpleNamespace(hop_length=160, sampling_rate=16000),
    tokenizer=SimpleNamespace(convert_ids_to_tokens=lambda ids: [str(token) for token in ids]),
)
GRID = 0.001
"""Seconds; all times of these tests are multiples of it."""


def attribution(layouts, length, relevance=None):
    relevance = torch.randn(1, length, generator=torch.manual_seed(0)) if relevance is None else relevance
    return Attribution(
        relevance=relevance,
        input_ids=torch.zeros(1, length, dtype=torch.long),
        target_ids=torch.zeros(1, 1 if relevance.dim() == 2 else relevance.shape[1], dtype=torch.long),
        logits=torch.zeros(relevance.shape[:-1]),
        attended=torch.ones(1, length, dtype=torch.bool),
        spans=[[Span("text", 0, length)]],
        method="attnlrp",
        layouts=[layouts],
    )


def naive(found, events):
    """Sums of relevance and of positive relevance per thousandth of a second, inside some stretches."""
    middles = (np.arange(round(found.duration / GRID)) + 0.5) * GRID
    inside = np.zeros(len(middles), bool)
    for start, stop in events:
        inside |= (middles >= start) & (middles < stop)
    sums = np.zeros(2)
    for start, stop, value in zip(found.start, found.stop, found.relevance, strict=True):
        here = (middles >= start) & (middles < stop)
        sums += np.array([value, max(value, 0.0)]) * (here & inside).sum() / here.sum()
    return sums, inside.mean()


@pytest.mark.parametrize("name", SOUNDS)
def test_relevance_per_token_event_and_second_of_every_family(name):
    model, inputs = SOUNDS[name].build()
    prompt = lime_xai.read_prompt(model, inputs, processor=PROCESSOR)
    layout = prompt.layouts[0][0]
    length = prompt.positions.length
    found = attribution([layout], length).time()
    relevance = torch.randn(1, length, generator=torch.manual_seed(0))[0, list(layout.positions)].numpy()
    assert np.array_equal(found.relevance, relevance.astype(np.float64))
    assert np.allclose(np.stack([found.start, found.stop], 1), layout.intervals)
    end = found.duration
    first, second = np.round(np.array([[0.1, 0.45], [0.3, 0.73]]) * end, 3).tolist()
    parts = found.events({"dog": tuple(first), "bell": [tuple(second), (0.0, round(0.05 * end, 3))]})
    total = found.relevance.clip(min=0).sum()
    wanted = {"dog": [first], "bell": [second, (0.0, round(0.05 * end, 3))]}
    for event, intervals in wanted.items():
        (sum_, positive), share = naive(found, intervals)
        assert parts[event].relevance == pytest.approx(sum_, abs=1e-9)
        assert parts[event].share == pytest.approx(positive / total, abs=1e-9)
        assert parts[event].chance == pytest.approx(share, abs=2 * GRID / end)
    (sum_, positive), _ = naive(found, [*wanted["dog"], *wanted["bell"]])
    assert parts.inside.relevance == pytest.approx(sum_, abs=1e-9)
    assert parts.inside.share + parts.outside.share == pytest.approx(1)
    assert parts.inside.chance + parts.outside.chance == pytest.approx(1)
    assert parts.outside.relevance == pytest.approx(found.relevance.sum() - sum_, abs=1e-9)
    assert list(parts.to_frame().name) == ["dog", "bell", "all events", "outside"]
    step = round(0.07 * end, 3)
    bins = found.per_second(step)
    assert bins.duration == found.duration
    for start, stop, value in zip(bins.start, bins.stop, bins.relevance, strict=True):
        assert value == pytest.approx(naive(found, [(start, stop)])[0][0], abs=1e-9)
    assert bins.relevance.sum() == pytest.approx(found.relevance.sum())


def test_a_token_that_an_event_overlaps_counts_by_the_overlap():
    found = TimeRelevance(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]), np.array([4.0, -2.0, 6.0]))
    parts = found.events([(0.75, 2.5, "dog"), (0.5, 1.0, "dog")])
    assert parts["dog"].relevance == 0.5 * 4 - 2 + 0.5 * 6
    assert parts["dog"].share == 0.5
    assert parts["dog"].chance == pytest.approx(2 / 3)
    assert parts["dog"].intervals == ((0.5, 2.5),)
    assert parts.outside.intervals == ((0.0, 0.5), (2.5, 3.0))
    assert TimeRelevance(found.start, found.stop, -abs(found.relevance)).events({"dog": (0, 3)})["dog"].share == 0.0


def test_even_relevance_has_the_share_of_chance():
    edges = np.linspace(0, 4, 41)
    found = TimeRelevance(edges[:-1], edges[1:], np.ones(40)).events({"dog": (0.33, 1.21), "bell": (1.0, 3.99)})
    for part in (*found.events.values(), found.inside, found.outside):
        assert part.share == pytest.approx(part.chance)


SOUND = SoundLayout("audio", (2, 3, 4), ((0, 2), (2, 6), (6, 10)))


def test_an_answer_is_summed_and_sounds_and_rows_are_counted():
    relevance = torch.arange(12.0).reshape(1, 2, 6)
    other = SoundLayout("audio", (5,), ((0, 100),), 0.01)
    found = attribution([SOUND, other], 6, relevance)
    assert found.time(0, 1).relevance.tolist() == [16.0]
    assert found.time(sound=1).duration == 1.0
    for sound in (2, -1, True):
        with pytest.raises(ValueError, match=f"The row has 2 sounds; number {sound} is not among them"):
            found.time(sound=sound)
    with pytest.raises(ValueError, match="row is 1"):
        found.time(1)


def test_unknown_seconds_are_refused_and_a_duration_makes_them_known():
    found = attribution([SOUND, UnknownLayout("audio", (0, 1), "the family has no layout")], 6)
    with pytest.raises(ValueError, match=r"no processor was given\. Give duration=.* or processor= where the prompt"):
        found.time()
    with pytest.raises(ValueError, match=r"sound 1 are not known: the family has no layout\. Give duration="):
        found.time(sound=1)
    assert found.time(duration=5.0).stop.tolist() == [1.0, 3.0, 5.0]  # by feature frames, not by tokens
    assert found.time(sound=1, duration=5.0).stop.tolist() == [2.5, 5.0]
    for duration in (0, -1.0, float("nan"), float("inf"), "4", True):
        with pytest.raises(ValueError, match="expected the length of the sound in seconds"):
            found.time(duration=duration)


def test_events_are_given_by_name_or_as_a_list():
    listed = [(0.5, 1.2, "dog"), (0.1, 0.4, "bell"), (2.0, 2.4, "bell")]
    named = {"dog": (0.5, 1.2), "bell": [(0.1, 0.4), (2.0, 2.4)]}
    assert as_events(named) == as_events(listed) == listed
    assert as_events(None) == []
    assert events_per_sound(named, 1) == events_per_sound([named], 1) == events_per_sound(listed, 1) == [listed]
    assert events_per_sound([None, named, listed], 3) == [[], listed, listed]
    assert events_per_sound(None, 2) == [[], []]
    for events in (named, listed, [named]):
        with pytest.raises(ValueError, match="one entry for each"):
            events_per_sound(events, 2)


BAD = [[(4, 2, "a")], [(1, 2)], [("a", 2, "b")], [(0, float("inf"), "b")], [3], {"a": 3}, {"a": (1, 2, 3)}]
BAD += [{"a": (-1, 2)}, {3: (1, 2)}, "dog", 5, {"a": [(1, 2), 3]}, {"a": ()}]


@pytest.mark.parametrize("events", BAD)
def test_what_is_no_event_is_refused(events):
    with pytest.raises(ValueError, match=r"expected \(start, stop, name\)|events is empty"):
        TimeRelevance(np.zeros(1), np.ones(1), np.ones(1)).events(events)


def test_events_in_another_unit_are_refused():
    found = TimeRelevance(np.array([0.0, 0.5]), np.array([0.5, 1.0]), np.ones(2))
    assert found.events({"dog": (0.5, 1.4)})["dog"].intervals == ((0.5, 1.0),)  # the end is known to a token
    for event in ((500, 1200), (0.5, 1.6), (1.0, 1.2)):
        with pytest.raises(ValueError, match=r"The event 'dog' lasts from .*the sound from 0 to 1; give times"):
            found.events({"dog": event})
    with pytest.raises(ValueError, match="the sound from 0 to 100"):
        check_inside(as_events({"dog": (0, 200)}), 100, 4)
    for seconds in (0, -1, float("nan"), "1", True):
        with pytest.raises(ValueError, match="expected a positive number"):
            found.per_second(seconds)


def test_a_union_covers_the_same_time():
    rng = np.random.default_rng(0)
    for _ in range(50):
        pairs = rng.choice(40, (5, 2)).tolist()
        intervals = [tuple(sorted(pair)) for pair in pairs if pair[0] != pair[1]]
        found = union(intervals)
        assert all(a[1] < b[0] for a, b in pairwise(found))
        covered = {moment for start, stop in intervals for moment in range(start, stop)}
        assert {moment for start, stop in found for moment in range(start, stop)} == covered


def test_lanes_hold_no_two_that_overlap_and_are_as_few_as_overlap_at_once():
    rng = np.random.default_rng(1)
    for _ in range(50):
        extents = [(start, start + length) for start, length in rng.integers(1, 30, (7, 2)).tolist()]
        lanes = lanes_of(extents)
        at_once = [sum(start <= moment < stop for start, stop in extents) for moment in range(60)]
        assert max(lanes) + 1 == max(at_once)
        for one, (start, stop) in enumerate(extents):
            for other, (begin, end) in enumerate(extents[:one]):
                assert lanes[one] != lanes[other] or stop <= begin or end <= start

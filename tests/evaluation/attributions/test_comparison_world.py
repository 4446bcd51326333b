"""The questions of the worlds, and what they say about methods that are known to differ."""

import pytest
import torch

from lime_xai import Example, compare_attributions, read_prompt
from lime_xai.attribution.regions import box_groups
from lime_xai.evaluation.attributions.world import world_examples
from lime_xai.worlds import bundled_model


def test_scene_questions_are_of_present_objects_each_scene_first_with_nine_true_tokens():
    _, processor = bundled_model()
    examples = world_examples(processor, 310)
    questions = examples.questions
    assert len(examples) == 310
    assert all(question.label for question in questions)
    assert [q.scene for q in questions[:300]] == list(range(300))
    assert len({(q.scene, q.obj, q.context) for q in questions}) == 310
    first = next(iter(examples))
    assert isinstance(first, Example)
    assert int(first.truth.sum()) == 9
    tokenizer = processor.tokenizer
    assert first.target == (tokenizer.convert_tokens_to_ids("yes"), tokenizer.convert_tokens_to_ids("no"))
    with pytest.raises(ValueError, match="questions is 0"):
        world_examples(processor, 0)


def test_lrp_finds_the_object_in_the_scene_and_gradients_do_not():
    model, processor = bundled_model()
    metrics = ["delta_a", "pointing", "mass", "rank"]
    found = compare_attributions(
        model, world_examples(processor, 4), ["attnlrp", "gradient_input"], metrics, processor=processor, progress=False
    )
    for name in metrics:
        assert found.best(name) == ("attnlrp",)
    assert found.summary["attnlrp"]["rank"].mean > 0.8


def test_the_true_region_is_the_box_of_the_objects_cell_in_the_layout():
    model, processor = bundled_model()
    examples = world_examples(processor, 12)
    for question, example in zip(examples.questions, examples, strict=True):
        row, column = divmod(examples.evaluation.scenes[question.scene].cell_of(question.obj), 2)
        box = (column / 2, row / 2, (column + 1) / 2, (row + 1) / 2)
        groups = box_groups(read_prompt(model, example.inputs), [box])
        assert torch.equal(groups.ids >= 0, example.truth)


def test_the_true_region_of_an_event_is_when_it_sounds():
    model, processor = bundled_model("sound")
    examples = world_examples(processor, 12, world="sound")
    assert [question.label for question in examples.questions] == [True] * 12
    for question, example in zip(examples.questions, examples, strict=True):
        event = examples.evaluation.scenes[question.scene].event_of(question.obj)
        ((layout,),) = read_prompt(model, example.inputs, processor=processor).layouts
        inside = [start < event.offset and event.onset < stop for start, stop in layout.intervals]
        places = torch.tensor(layout.positions)
        assert example.truth.nonzero()[:, 0].tolist() == places[torch.tensor(inside)].tolist()
        assert 0 < sum(inside) < 21


def test_lrp_finds_the_event_in_the_sound():
    model, processor = bundled_model("sound")
    metrics, examples = ["delta_a", "mass"], world_examples(processor, 4, world="sound")
    found = compare_attributions(
        model,
        examples,
        ["attnlrp", "gradient_input"],
        metrics,
        processor=processor,
        replacement=("silence", "mean"),
        progress=False,
    )
    chance = sum(float(example.truth.sum()) / 40 for example in examples) / 4
    assert found.summary["attnlrp"]["mass"].mean > 2 * chance
    assert list(found.summary["attnlrp"]) == ["delta_a", "delta_a@mean", "mass"]
    assert found.summary["attnlrp"]["delta_a"].mean > 0

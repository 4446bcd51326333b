"""The ban on repeating, and measuring through generate."""

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from lime_xai.worlds import scene
from lime_xai.worlds.scene.text import LANGUAGE, VOCABULARY
from lime_xai.worlds.shared.evaluation import SPLITS
from lime_xai.worlds.shared.measuring import generate_captions, measure, question_margins


def test_only_objects_named_after_the_prompt_are_forbidden():
    objects = [VOCABULARY[c] for c in scene.CLASSES]
    rows = [LANGUAGE.encode("the cup there is a sun ,"), LANGUAGE.encode("the sun there is a cup ,")]
    scores = torch.zeros(2, len(VOCABULARY))
    banned = scene.NoRepeatObjects(objects, prompt_length=2)(torch.tensor(rows), scores)
    assert torch.isinf(banned).sum(1).tolist() == [1, 1]
    assert banned[0, VOCABULARY["sun"]] == banned[1, VOCABULARY["cup"]] == -torch.inf
    assert not torch.isinf(scores).any()


def test_ban_without_generated_tokens_changes_nothing():
    scores = torch.randn(1, len(VOCABULARY))
    ban = scene.NoRepeatObjects([VOCABULARY["cup"]], prompt_length=2)
    assert torch.equal(ban(torch.tensor([LANGUAGE.encode("a cup")]), scores), scores)


def test_bad_bans_are_refused():
    with pytest.raises(ValueError, match="object_tokens"):
        scene.NoRepeatObjects([], 3)
    with pytest.raises(ValueError, match="prompt_length is -1"):
        scene.NoRepeatObjects([1], -1)
    with pytest.raises(ValueError, match="fewer than the prompt length"):
        scene.NoRepeatObjects([1], 9)(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 77))


class _Fond:
    """Pushes a generation toward object names, so that repetition would be the rule."""

    def __init__(self, objects):
        self.objects = torch.tensor(objects)

    def __call__(self, input_ids, scores):
        raised = scores.clone()
        raised[:, self.objects] += 100
        return raised


@pytest.mark.parametrize("beams", [1, 3])
def test_ban_holds_in_batches_and_beams(each_world, each_untrained, beams):
    model, processor = each_untrained
    evaluation = each_world.evaluation_set(seed=2, scenes=3)
    prompts = [evaluation.caption_prompt, evaluation.questions[-1].prompt, evaluation.caption_prompt]
    inputs = each_world.batch(processor, evaluation.media, prompts)
    length = inputs["input_ids"].shape[1]
    objects = each_world.name_tokens(processor)
    assert processor.tokenizer.convert_ids_to_tokens(objects) == list(each_world.language.classes)
    settings = {"do_sample": False, "num_beams": beams, "max_new_tokens": 8}
    free = model.generate(**inputs, **settings, logits_processor=LogitsProcessorList([_Fond(objects)]))
    ban = LogitsProcessorList([_Fond(objects), scene.NoRepeatObjects(objects, length)])
    held = model.generate(**inputs, **settings, logits_processor=ban)
    assert any(len(set(row)) < len(row) for row in free[:, length:].tolist())
    for row in held[:, length:].tolist():
        assert len(row) == len(set(row)) == 8


@pytest.mark.parametrize("no_repeat", [False, True])
def test_the_callers_logits_processors_are_kept(each_world, each_untrained, no_repeat):
    model, processor = each_untrained
    fond = LogitsProcessorList([_Fond(each_world.name_tokens(processor))])
    captions = generate_captions(
        model,
        processor,
        each_world.evaluation_set(seed=2, scenes=2),
        no_repeat=no_repeat,
        logits_processor=fond,
        max_new_tokens=5,
    )
    named = [each_world.language.mentions(caption) for caption in captions]
    assert [len(classes) for classes in named] == [5, 5]
    assert all((len(set(classes)) == 5) is no_repeat for classes in named)


def test_captions_end_at_the_end_of_sequence(each_world, each_untrained):
    model, processor = each_untrained
    evaluation = each_world.evaluation_set(seed=2, scenes=5)
    captions = generate_captions(model, processor, evaluation, batch_size=2, max_new_tokens=6)
    assert len(captions) == 5
    assert all("<pad>" not in c and c.count("</s>") == c.endswith("</s>") for c in captions)


def test_margins_do_not_depend_on_batches(each_world, each_untrained):
    model, processor = each_untrained
    evaluation = each_world.evaluation_set(seed=2, scenes=6)
    questions = evaluation.split("random")[:4] + evaluation.split("dialogue")[:4]
    apart = question_margins(model, processor, evaluation, questions, batch_size=1)
    joint = question_margins(model, processor, evaluation, questions, batch_size=8)
    np.testing.assert_allclose(apart, joint, atol=1e-4)
    assert question_margins(model, processor, evaluation, []).shape == (0,)


def test_measure_covers_every_split(each_world, each_untrained):
    model, processor = each_untrained
    found = measure(model, processor, each_world.evaluation_set(seed=2, scenes=8))
    assert tuple(found.splits) == SPLITS
    assert 0 <= found.captions.chair_i <= 1
    assert found.no_repeat.repeated == 0

"""The checks of conformance notice what they are for: each fault here is made by hand."""

from dataclasses import replace

import pytest
import torch
from support.families import FAMILIES, joined_rows

from lime_xai.attribution.attribute import attribute
from lime_xai.evaluation import conformance
from lime_xai.evaluation.conformance import attribution, check, decoding, places, subject, suite
from lime_xai.evaluation.conformance.state import changes, model_state


@pytest.fixture
def llava():
    model, inputs, _ = FAMILIES["llava"].build()
    joined, rows = joined_rows(FAMILIES["llava"], model, 2)
    return subject.Subject(model, inputs, rows, joined)


def outcome_of(feature, one):
    return check.run_check(suite.all_checks()[feature], one)


def test_everything_works_on_llava(llava):
    found = conformance.check_conformance(llava.model, llava.inputs, rows=llava.rows, batch=llava.batch)
    assert found.counts == {"works": len(suite.all_checks()), "refused": 0, "failed": 0}
    assert not found.failed
    assert set(found.outcomes) > {"attribute", "policy edit", "policy paper", "beams", "grids"}


def test_relevance_that_is_wrong_by_a_factor_is_noticed(llava, monkeypatch):
    def doubled(*args, **kwargs):
        found = real(*args, **kwargs)
        return replace(found, relevance=found.relevance * 1.05)

    real = attribution.attribute
    monkeypatch.setattr(attribution, "attribute", doubled)
    assert outcome_of("attribute", llava).status == "failed"
    assert "gradient_input: differs by 5.0e-02" in outcome_of("attribute", llava).reason
    assert outcome_of("stream", llava).status == "failed"


def test_logits_of_an_answer_that_belong_to_another_one_are_noticed(llava, monkeypatch):
    real = attribution.attribute

    def reversed_answer(model, prompt, target=None, method="attnlrp"):
        return real(model, prompt, target[::-1], method)

    monkeypatch.setattr(attribution, "attribute", reversed_answer)
    assert "logits of the answer" in outcome_of("answer", llava).reason


def test_rows_that_differ_in_a_batch_are_noticed(llava, monkeypatch):
    shifted = {**llava.batch, "pixel_values": llava.batch["pixel_values"].flip(0)}
    real = subject.Subject.prompt

    def other_pictures(self, inputs=None):
        return real(self, shifted if inputs is self.batch else inputs)

    monkeypatch.setattr(subject.Subject, "prompt", other_pictures)
    assert "relevance of row 0" in outcome_of("batch", llava).reason


def test_steered_logits_without_a_candidate_are_noticed(llava, monkeypatch):
    monkeypatch.setattr(decoding, "logits_of", lambda output: torch.full((1, 2, 128), -torch.inf))
    assert "leave no candidate" in outcome_of("policy edit", llava).reason


def test_a_beam_with_the_score_of_another_is_noticed(llava, monkeypatch):
    real = decoding.steered

    def swapped(one, policy, *args, **more):
        found = real(one, policy, *args, **more)
        if "num_beams" in more:
            found.generation.sequences = found.generation.sequences.flip(0)
        return found

    monkeypatch.setattr(decoding, "steered", swapped)
    assert "the score of a beam" in outcome_of("beams", llava).reason


def test_groups_that_are_swapped_are_noticed(llava, monkeypatch):
    real = places.box_groups
    monkeypatch.setattr(places, "box_groups", lambda where, boxes: real(where, boxes[::-1]))
    assert outcome_of("regions", llava).status == "failed"


@pytest.mark.parametrize(
    ("leave", "named"),
    [
        (lambda model: model.lm_head.register_forward_hook(print), "hooks"),
        (lambda model: setattr(model.generation_config, "top_k", 7), "generation_config"),
        (lambda model: model.lm_head.weight.requires_grad_(), "parameters"),
        (lambda model: model.lm_head.weight.data.zero_() is model.lm_head.weight.add_(1), "parameters"),
        (lambda model: setattr(model.get_decoder().config, "_attn_implementation", "sdpa_paged"), "attention"),
        (lambda model: model.train(), "training mode"),
        (lambda model: setattr(model.lm_head, "forward", print), "forward functions"),
    ],
)
def test_what_is_left_behind_is_named(llava, leave, named):
    before = model_state(llava.model)
    assert not changes(before, model_state(llava.model))
    outcome = check.run_check(lambda one: leave(one.model), llava)
    assert outcome.status == "failed"
    assert named in outcome.reason


def test_only_this_packages_own_documented_errors_are_refusals(llava):
    def deep(one):
        torch.zeros(3).reshape(2)

    def foreign(one):
        raise ValueError("from a test, which is not this package")

    def ours(one):
        attribute(one.model, one.inputs, method="nothing")

    assert check.run_check(deep, llava).status == "failed"
    assert check.run_check(foreign, llava) == check.Outcome(
        "failed", "ValueError: from a test, which is not this package"
    )
    assert check.run_check(ours, llava).status == "refused"


def test_an_error_that_finds_a_good_prompt_wrong_is_a_failure(monkeypatch):
    model, inputs, _ = FAMILIES["qwen2_vl"].build()
    larger = {**inputs, "image_grid_thw": torch.tensor([[1, 8, 8]])}
    real = subject.Subject.prompt
    monkeypatch.setattr(subject.Subject, "prompt", lambda self, given=None: real(self, larger))
    reason = outcome_of("attnlrp", subject.Subject(model, inputs)).reason
    assert "the model generates from this prompt, and yet: The prompt has 4 image placeholders" in reason


def test_a_model_that_does_not_generate_is_refused_for_every_feature(llava):
    found = conformance.check_conformance(llava.model, {**llava.inputs, "pixel_values": torch.zeros(1, 3, 9, 9)})
    assert found.counts["refused"] == len(suite.all_checks())
    assert all("does not generate" in outcome.reason for outcome in found.outcomes.values())


def test_names_are_checked():
    with pytest.raises(ValueError, match="There is a check 'answer' already"):
        check.register_check("answer")(lambda one: None)
    model, inputs, _ = FAMILIES["llava"].build()
    with pytest.raises(ValueError, match=r"Unknown feature 'beam'. Did you mean 'beams'\?"):
        conformance.check_conformance(model, inputs, features=["beam"])

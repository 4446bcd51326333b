"""An edit's first pass inside the model's own call, and when updates stop."""

from dataclasses import replace

import pytest
import torch
from support.families import FAMILIES, batch
from support.streams import STREAMED
from transformers import DynamicCache

import lime_xai
from lime_rules.stream import attention as stream_attention
from lime_xai import Contrast, Edit, EditSettings, LogitShift, Observe
from lime_xai.editing.deltas import GainDeltas, LayerShape
from lime_xai.editing.editor import RowwiseAdam
from lime_xai.editing.evaluate import ObjectiveValue
from lime_xai.editing.fused_first_pass import FusedFirstPass
from lime_xai.model.cache import CACHE_NAME

FULL = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}


def steered(model, inputs, policy, count=4, **settings):
    asked = {"max_new_tokens": count, "min_new_tokens": count, **FULL, **settings}
    return lime_xai.steer(model, inputs, policy, **asked)


def counted_calls(model, inputs, policy, count):
    calls = []
    handle = model.get_decoder().register_forward_hook(lambda module, args, output: calls.append(1))
    steered(model, inputs, policy, count)
    handle.remove()
    return len(calls)


@pytest.mark.parametrize("edit", [Edit(plausibility=0.0), Edit(deltas="free", edit="both", positions="all", steps=3)])
@pytest.mark.parametrize("family", STREAMED)
def test_an_edit_is_the_same_whether_its_first_pass_is_fused_or_not(family, edit, monkeypatch):
    model, inputs, _ = batch(family, 2)
    edit = replace(edit, direction="forward", learning_rate=0.05)
    fused = steered(model, inputs, edit, 3)
    monkeypatch.setattr(FusedFirstPass, "start", lambda self, *args: None)
    apart = steered(model, inputs, edit, 3)
    for ours, theirs in zip(fused.generation.logits, apart.generation.logits, strict=True):
        finite = theirs.isfinite()
        assert torch.equal(ours.isfinite(), finite)
        torch.testing.assert_close(ours[finite], theirs[finite], rtol=1e-4, atol=1e-4)


def test_nothing_is_recomputed_that_the_models_own_call_has():
    model, inputs, _ = FAMILIES["llava"].build()
    steered(model, inputs, Edit(steps=1), 1)  # probes the stream, once per model
    fewer, more = (counted_calls(model, inputs, Edit(steps=1), count) for count in (4, 9))
    assert more - fewer == 2 * 5  # per token the model's own call, which is the first pass, and one behind the update
    fewer, more = (counted_calls(model, inputs, Edit(steps=2), count) for count in (4, 9))
    assert more - fewer == 3 * 5


@pytest.mark.parametrize("asked", [{}, {"output_hidden_states": True, "output_attentions": True}])
def test_no_graph_stays_behind(asked):
    model, inputs, _ = batch("llava", 2)
    model.set_attn_implementation("eager")
    found = steered(model, inputs, Edit(), 4, return_dict_in_generate=True, **asked).generation
    cache = next(found[name] for name in ("cache", "past_key_values") if name in found)
    for layer in cache.layers:
        assert not layer.keys.requires_grad
        assert not layer.values.requires_grad
    states = [s for step in found.hidden_states or () for s in step] + [a for t in found.attentions or () for a in t]
    assert bool(states) == bool(asked)
    assert not any(tensor.requires_grad for tensor in (*found.logits, *states))
    assert all(not parameter.requires_grad or parameter.grad is None for parameter in model.parameters())


def test_the_cache_holds_what_the_model_computed():
    model, inputs, _ = FAMILIES["llava"].build()
    shift = LogitShift({5: 1e4})
    plain = steered(model, inputs, shift, 4).generation
    edited = steered(model, inputs, [Edit(learning_rate=3.0), shift], 4).generation
    for name in ("cache", "past_key_values"):
        if name in plain:
            for ours, theirs in zip(edited[name].layers, plain[name].layers, strict=True):
                torch.testing.assert_close(ours.values, theirs.values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_the_grad_mode_is_the_users(grad):
    model, inputs, _ = FAMILIES["llava"].build()
    with torch.set_grad_enabled(grad):
        steered(model, inputs, Edit(), 3)
        assert torch.is_grad_enabled() is grad

        def fail(module, args, output):
            if output.logits.shape[1] == 1 and torch.is_grad_enabled():
                raise KeyboardInterrupt

        handle = model.register_forward_hook(fail)
        with pytest.raises(KeyboardInterrupt):
            steered(model, inputs, Edit(), 3)
        handle.remove()
        assert torch.is_grad_enabled() is grad
        steered(model, inputs, Edit(), 3)


def test_inference_mode_and_company_edit_apart():
    model, inputs, _ = FAMILIES["llava"].build()
    wanted = steered(model, inputs, Edit(plausibility=0.0), 3).generation.logits
    with torch.inference_mode():
        found = steered(model, inputs, Edit(plausibility=0.0), 3).generation.logits
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True))
    for company in (Contrast("slot", plausibility=0.0), Observe()):
        steered(model, inputs, [Edit(), company], 3)


# When updates stop ---------------------------------------------------------------------------------------------------


def row_deltas(rows=3):
    shape = LayerShape(rows, 2, 4, 3, 3, torch.device("cpu"), torch.float64)
    return GainDeltas({0: shape}, {"image": torch.ones(rows, 4)}, "values")


def passes(losses, divergences, deltas):
    for loss, divergence in zip(losses, divergences, strict=True):
        gradients = tuple(torch.ones_like(parameter) for parameter in deltas.tensors())
        yield ObjectiveValue(torch.zeros(len(loss), 2), None, torch.tensor(loss), torch.tensor(divergence), gradients)


def test_rows_stop_on_their_own_plateau():
    deltas = row_deltas()
    optimizer = RowwiseAdam(deltas, EditSettings(plateau=0.1, learning_rate=0.5))
    seen = []
    losses = [[4.0, 4.0, -4.0], [3.0, 3.9, -4.5], [2.9, 1.0, -9.0], [2.9, 1.0, -9.1]]
    for one in passes(losses, [[0.0] * 3] * 4, deltas):
        assert optimizer.update(one) is (len(seen) < 3)
        seen.append(deltas.tensors()[0][:, 0, 0, 0].tolist())
    # the first update moves all; then row 1 has fallen by less than a tenth, then row 0, then row 2
    assert [moved(seen, row) for row in range(3)] == [2, 1, 3]


def moved(seen, row):
    values = [0.0, *(step[row] for step in seen)]
    return sum(a != b for a, b in zip(values[1:], values[:-1], strict=True))


def test_rows_stop_once_their_budget_is_spent():
    deltas = row_deltas()
    optimizer = RowwiseAdam(deltas, EditSettings(kl_budget=0.5))
    seen = []
    for one in passes([[1.0] * 3] * 3, [[0.0, 0.0, 0.5], [0.2, 0.6, 0.0], [0.7, 0.0, 0.0]], deltas):
        optimizer.update(one)
        seen.append(deltas.tensors()[0][:, 0, 0, 0].tolist())
    assert [moved(seen, row) for row in range(3)] == [2, 1, 0]


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("stop", [{"plateau": 0.3}, {"kl_budget": 0.01}], ids=repr)
def test_stopping_does_not_depend_on_the_other_rows(direction, stop):
    model, joined, singles = batch("llava", 3)
    edit = Edit(steps=6, direction=direction, plausibility=0.0, **stop)
    together = steered(model, joined, edit, 1).generation.logits[0]
    never = steered(model, joined, replace(edit, plateau=0.0, kl_budget=None), 1).generation.logits[0]
    assert float((together - never).abs().max()) > 1e-3
    for row, single in enumerate(singles):
        alone = steered(model, single, edit, 1).generation.logits[0]
        assert torch.allclose(together[row], alone[0], atol=1e-3)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="plateau is 1"):
        Edit(plateau=1)
    with pytest.raises(ValueError, match="kl_budget is 0"):
        Edit(kl_budget=0)


@pytest.mark.parametrize(("deltas", "differentiated"), [("gain", False), ("free", True)])
def test_gains_build_no_graph_through_cached_states(deltas, differentiated, monkeypatch):
    """Gains are factors of scores and weights, so that keys and values stay what the cache holds."""
    seen = []
    original = stream_attention._attend

    def spying(query, key, value, mask, settings):
        if torch.is_grad_enabled():
            seen.append((key.requires_grad, value.requires_grad, query.requires_grad))
        return original(query, key, value, mask, settings)

    model, inputs, _ = FAMILIES["llava"].build()
    monkeypatch.setattr(stream_attention, "_attend", spying)
    lime_xai.steer(
        model, inputs, Edit(deltas=deltas, edit="both", direction="forward"), max_new_tokens=3, eos_token_id=None
    )
    states = {(key, value) for key, value, _ in seen}
    assert states == {(differentiated, differentiated)}
    assert any(query for _, _, query in seen)


@pytest.mark.parametrize("where", ["layer", "head"])
def test_a_failed_call_leaves_the_grad_mode_that_it_was_made_in(where):
    model, inputs, _ = FAMILIES["llava"].build()
    module = model.get_decoder().layers[1] if where == "layer" else model.get_output_embeddings()

    def fail(module, args, output):
        if torch.is_grad_enabled():
            raise RuntimeError("stop")

    cache = DynamicCache(config=model.config.get_text_config())
    with torch.no_grad(), lime_xai.steering(model, Edit(direction="forward")):
        token = model(**inputs, **{CACHE_NAME: cache}).logits[:, -1:].argmax(-1)
        handle = module.register_forward_hook(fail)
        with pytest.raises(RuntimeError, match="stop"):
            model(input_ids=token, **{CACHE_NAME: cache})
        handle.remove()
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_an_editor_without_steps_changes_nothing():
    model, inputs, _ = FAMILIES["llava"].build()
    settings = lime_xai.EditSettings(steps=0)
    found = []

    class Own(lime_xai.Policy):
        @property
        def needs(self):
            return lime_xai.Needs(past=True, streams=(lime_xai.StreamNeed(settings.forward_method),))

        def step(self, step):
            found.append(lime_xai.KVEditor(settings).edit(step))
            torch.testing.assert_close(found[-1].logits, step.plain, rtol=1e-4, atol=1e-5)
            return step.logits

    lime_xai.steer(model, inputs, Own(), max_new_tokens=2, do_sample=False)
    assert [one.losses.shape for one in found] == [(0, 1)] * 2

"""Attribution: invariances, targets, reading and writing."""

import pytest
import torch
from support.families import FAMILIES, batch
from support.recordings import recorded, text_model
from zennit.attribution import Gradient

import lime_xai
from lime_rules import LRP_METHODS, AttnLRP
from lime_xai.model.replay import Replayer

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]


@pytest.mark.filterwarnings("ignore:.*have no relevance rule")
@pytest.mark.parametrize("family", ATTRIBUTABLE)
def test_every_family_gives_relevance_of_the_logit_it_would_choose(family):
    model, inputs, _ = FAMILIES[family].build()
    plain = model.generate(
        **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    found = lime_xai.attribute(model, inputs)
    assert found.relevance.shape == inputs["input_ids"].shape
    assert found.relevance.dtype == torch.float32
    assert bool(found.relevance.isfinite().all())
    assert found.target_ids.tolist() == [[int(plain.logits[0].argmax())]]
    assert torch.allclose(found.logits, plain.logits[0].max(-1).values.float(), atol=1e-4)
    assert torch.allclose(sum(found.shares.values()), torch.ones(1), atol=1e-5)
    assert torch.allclose(found.residual, found.relevance.sum(-1) - found.logits)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "qwen3_vl", "gemma3", "internvl", "qwen2_audio"])
def test_gradient_input_is_the_plain_gradient_of_generate(family, float64_norms):
    """An oracle that knows nothing of replays: perturb what the decoder is given."""
    model, inputs, _ = FAMILIES[family].build()
    float64_norms(model)
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    found = lime_xai.attribute(model, inputs, method="gradient_input")
    generator = torch.Generator().manual_seed(0)
    position = int(found.relevance[0].abs().argmax())
    scale = 1e-5

    def shifted(sign):
        def hook(module, args, kwargs):
            moved = kwargs["inputs_embeds"].clone()
            moved[:, position] *= 1 + sign * scale
            extra = {}
            if kwargs.get("deepstack_visual_embeds") is not None and bool(kwargs["visual_pos_masks"][0, position]):
                index = int(kwargs["visual_pos_masks"][0, :position].sum())
                deep = [item.clone() for item in kwargs["deepstack_visual_embeds"]]
                for item in deep:
                    item[index] *= 1 + sign * scale
                extra = {"deepstack_visual_embeds": deep}
            return args, {**kwargs, "inputs_embeds": moved, **extra}

        handle = model.get_decoder().register_forward_pre_hook(hook, with_kwargs=True)
        try:
            output = model.generate(
                **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        finally:
            handle.remove()
        return output.logits[0][0, int(found.target_ids)].double()

    del generator
    numeric = float((shifted(1) - shifted(-1)) / (2 * scale))
    # generate rounds logits to float32, which bounds what differences can show
    assert float(found.relevance[0, position]) == pytest.approx(numeric, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("method", LRP_METHODS)
@pytest.mark.parametrize("family", ["llava", "qwen2_audio", "gemma3"])
def test_zennit_alone_gives_what_attribute_gives(family, method):
    model, inputs, _ = FAMILIES[family].build()
    found = lime_xai.attribute(model, inputs, method=method)
    recording = recorded(Replayer(model), inputs)
    call = recording.calls[0]
    decoder = model.get_decoder()

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = decoder

        def forward(self, embeddings):
            hidden = self.decoder(inputs_embeds=embeddings, use_cache=False, **call.kwargs).last_hidden_state
            return model.lm_head(hidden[:, -1])

    one_hot = torch.nn.functional.one_hot(found.target_ids[:, 0], model.config.get_text_config().vocab_size).float()
    with Gradient(Head(), LRP_METHODS[method]()) as attributor:
        _, gradient = attributor(call.embeddings.clone(), one_hot)
    assert torch.allclose((gradient * call.embeddings).sum(-1), found.relevance, atol=1e-5)


@pytest.mark.parametrize("method", LRP_METHODS)
@pytest.mark.parametrize("family", ["llava", "qwen2_audio"])
def test_batch_and_padding_do_not_change_a_row(family, method):
    model, inputs = batch(family, 3)[:2]
    together = lime_xai.attribute(model, inputs, target=7, method=method)
    assert bool((together.relevance[~together.attended] == 0).all())
    for row in range(3):
        keep = inputs["attention_mask"][row].bool()
        alone = {
            name: value[row : row + 1, keep] if value.shape[1:] == keep.shape else value[row : row + 1]
            for name, value in inputs.items()
        }
        single = lime_xai.attribute(model, alone, target=7, method=method)
        assert torch.allclose(single.relevance[0], together.relevance[row, keep], atol=1e-4)
        assert [s.modality for s in single.spans[0]] == [s.modality for s in together.spans[row]]


def test_margin_is_the_difference_of_two_tokens():
    model, inputs, _ = FAMILIES["llava"].build()
    first, second = (lime_xai.attribute(model, inputs, target=token) for token in (5, 9))
    margin = lime_xai.attribute(model, inputs, target=(5, 9))
    assert torch.allclose(margin.relevance, first.relevance - second.relevance, atol=1e-5)
    assert torch.allclose(margin.logits, first.logits - second.logits, atol=1e-5)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "gemma3", "qwen2_audio", "paligemma"])
def test_an_answer_is_explained_token_by_token_or_in_one_pass(family):
    model, inputs, _ = FAMILIES[family].build()
    length = inputs["input_ids"].shape[1]
    answer = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)[:, length:]
    each = lime_xai.attribute(model, inputs, target=answer)
    total = lime_xai.attribute(model, inputs, target=answer, per_token=False)
    assert each.relevance.shape == (1, 4, length + 3)
    assert torch.allclose(each.relevance.sum(1), total.relevance, atol=1e-4)
    assert bool((each.relevance[0, 0, length:] == 0).all()), "a token owes nothing to later ones"
    first = lime_xai.attribute(model, inputs)
    assert torch.allclose(each.relevance[:, 0, :length], first.relevance, atol=1e-5)
    assert torch.allclose(each.residual, each.relevance.sum(-1) - each.logits)


def test_answers_of_different_length_are_padded():
    model, inputs = batch("llava", 2)[:2]
    answers = torch.tensor([[5, 6, 7], [8, -100, -100]])
    found = lime_xai.attribute(model, inputs, target=answers)
    assert bool((found.relevance[1, 1:] == 0).all())
    assert bool((found.relevance[0] != 0).any(-1).all())


def test_text_only_models_have_text_spans_only():
    model, inputs = text_model()
    found = lime_xai.attribute(model, inputs)
    assert [(s.modality, s.start, s.stop) for s in found.spans[0]] == [("text", 0, 9)]
    assert set(found.shares) == {"text"}


def test_an_answer_with_end_of_sequence_inside_is_recorded_to_its_end():
    model, inputs = text_model()
    eos = model.config.eos_token_id
    found = lime_xai.attribute(model, inputs, target=[7, eos, 8, 9])
    assert found.relevance.shape == (1, 4, 12)
    assert found.input_ids[0, 9:].tolist() == [7, eos, 8]


def test_saved_attributions_are_read_back(tmp_path):
    model, inputs, _ = FAMILIES["llava"].build()
    found = lime_xai.attribute(model, inputs, target=[5, 6])
    found.save(tmp_path / "a.safetensors")
    again = lime_xai.Attribution.load(tmp_path / "a.safetensors")
    for name in ("relevance", "input_ids", "target_ids", "logits", "attended"):
        assert torch.equal(getattr(found, name), getattr(again, name))
    assert (again.spans, again.method, again.tokens) == (found.spans, found.method, found.tokens)


def test_a_composite_of_ones_own_may_be_given():
    model, inputs, _ = FAMILIES["llava"].build()
    found = lime_xai.attribute(model, inputs, method=AttnLRP())
    assert torch.equal(found.relevance, lime_xai.attribute(model, inputs).relevance)
    assert found.method == "AttnLRP"


def test_uncovered_modules_are_named_once(recwarn):
    model, inputs, _ = FAMILIES["qwen3_5_moe"].build()
    with pytest.warns(UserWarning, match="modules without a rule, .*Qwen3_5MoeGatedDeltaNet.*no relevance rule"):
        lime_xai.attribute(model, inputs)
    recwarn.clear()
    lime_xai.attribute(model, inputs)
    assert not [w for w in recwarn if "relevance rule" in str(w.message)]


@pytest.mark.parametrize("family", FAMILIES)
def test_audit_is_honest(family):
    model, _, _ = FAMILIES[family].build()
    report = lime_xai.audit(model)
    assert bool(report.uncovered) is not FAMILIES[family].covered
    assert {row.rule for row in report.rows if row.role.kind == "attention"} == {"bilinear"}


@pytest.mark.parametrize("target", [5, (5, 9), [5, 6]], ids=["token", "margin", "answer"])
def test_inference_mode_changes_nothing(target):
    model, inputs, _ = FAMILIES["llava"].build()
    expected = lime_xai.attribute(model, inputs, target)
    with torch.inference_mode():
        found = lime_xai.attribute(model, inputs, target)
    assert torch.equal(found.relevance, expected.relevance)


def _parts(**new):
    parts = {
        "relevance": torch.ones(1, 4),
        "input_ids": torch.ones(1, 4, dtype=torch.long),
        "target_ids": torch.ones(1, 1, dtype=torch.long),
        "logits": torch.ones(1),
        "attended": torch.ones(1, 4, dtype=torch.bool),
        "spans": [[lime_xai.Span("text", 0, 4)]],
        "method": "attnlrp",
    }
    return parts | new


@pytest.mark.parametrize(
    ("new", "error", "message"),
    [
        ({"relevance": [[1.0]]}, TypeError, "relevance is .*list"),
        ({"method": torch.tensor(3)}, TypeError, "method is <Tensor>; expected text"),
        ({"spans": b"x"}, TypeError, "spans is b'x'"),
        ({"spans": [[("text", 0, 4)]]}, TypeError, r"spans\[0\]\[0\]"),
        ({"spans": [[lime_xai.Span("text", 0, 5)]]}, ValueError, "spans do not fit 1 rows of 4 tokens"),
        ({"relevance": torch.ones(1, 3)}, ValueError, r"relevance has shape \(1, 3\); expected \(1, 4\)"),
        ({"attended": torch.ones(2, 4, dtype=torch.bool)}, ValueError, r"attended has shape \(2, 4\)"),
        ({"logits": torch.ones(1, 2)}, ValueError, "target_ids has shape"),
        ({"tokens": [["a"]]}, ValueError, "tokens do not fit 1 rows of 4 tokens"),
        ({"layouts": [[], []]}, ValueError, "layouts has 2 rows, spans 1"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(new, error, message):
    assert lime_xai.Attribution(**_parts())
    with pytest.raises(error, match=message):
        lime_xai.Attribution(**_parts(**new))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("method", [name for name in lime_xai.METHODS if name != "feature_ablation"])
def test_another_default_dtype_changes_nothing(method, dtype):
    model, inputs, _ = FAMILIES["gemma3"].build()
    expected = lime_xai.attribute(model, inputs, 7, method)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = lime_xai.attribute(model, inputs, 7, method)
    finally:
        torch.set_default_dtype(before)
    assert found.relevance.dtype == torch.float32
    captum = method == "integrated_gradients"  # Captum's step sizes are of the default dtype
    torch.testing.assert_close(found.relevance, expected.relevance, rtol=1e-2 if captum else 1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["target", "perceptual"])
def test_arguments_on_the_meta_device_hold_no_values(name):
    model, inputs, _ = FAMILIES["llava"].build()
    given = {"target": torch.zeros(1, dtype=torch.long), "perceptual": torch.ones(1, 12, dtype=torch.bool)}[name]
    with pytest.raises(ValueError, match=f"{name}.* is on the meta device, where tensors hold no values"):
        lime_xai.attribute(model, inputs, **{name: given.to("meta")})

import pytest
import torch
from support.families import FAMILIES, batch

import lime_xai


def test_every_family_is_listed_under_its_name():
    assert len(FAMILIES) == 27
    assert all(name == family.name for name, family in FAMILIES.items())


# without its processor's cross_attention_mask mllama masks image patches by text position
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "mllama"])
def test_left_padding_does_not_change_a_row(name):
    model, inputs, singles = batch(name, 2)
    assert inputs["attention_mask"][0].tolist() == [0, 0, *[1] * (inputs["input_ids"].shape[1] - 2)]
    with torch.no_grad():
        together = model(**inputs).logits[:, -1]
        alone = torch.cat([model(**single).logits[:, -1] for single in singles])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 0.1
    assert together.std() > 0.3


@pytest.mark.parametrize("name", FAMILIES)
def test_a_build_is_reproducible_and_sees_its_input(name):
    (model, inputs, placeholders), (twin, _, _) = FAMILIES[name].build(), FAMILIES[name].build()
    features = {key: value for key, value in inputs.items() if value.is_floating_point()}
    with torch.no_grad():
        logits = model(**inputs).logits
        assert torch.equal(twin(**inputs).logits, logits)
        other = model(**inputs | {key: value.flip(-1) for key, value in features.items()}).logits
    assert (other[0, -1] - logits[0, -1]).abs().max() > 1e-4
    assert FAMILIES[name].modality in placeholders
    count = (inputs["input_ids"] == placeholders[FAMILIES[name].modality]).sum()
    assert count == FAMILIES[name].tokens


def test_float64_norms_make_norms_exact_and_are_undone(float64_norms):
    model, _, _ = FAMILIES["gemma3"].build()
    x = torch.randn(2, 32, dtype=torch.float64)
    norm = float64_norms(model).get_decoder().norm
    wanted = x / (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * (1 + norm.weight)
    torch.testing.assert_close(norm(x), wanted, rtol=1e-14, atol=0)
    assert (type(norm).forward(norm, x) - wanted).abs().max() > 1e-9
    assert norm(x).dtype == torch.float64


@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_no_item_are_refused_before_any_compute(name):
    model, inputs, _ = FAMILIES[name].build()
    empty = {key: value[:0] if value.is_floating_point() else value for key, value in inputs.items()}
    with pytest.raises(ValueError, match=r"hold no pixel values or audio|by cross-attention"):
        lime_xai.read_prompt(model, empty)

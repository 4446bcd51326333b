"""Methods beside LRP name what is wrong with settings, groups and models."""

import pytest
import torch
from support.families import FAMILIES, batch
from support.recordings import text_model

import lime_xai
from lime_xai.attribution.methods.registry import METHODS, method_from_dict


@pytest.fixture(scope="module")
def pair():
    return batch("llava", 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "shapley_value"}, "Unknown method 'shapley_value'. Did you mean 'shapley_value_sampling'"),
        ({"method": "attnlpr"}, r"Did you mean 'attnlrp'\? Known: .*attnlrp.*kernel_shap"),
        ({"method": METHODS["feature_ablation"](limit=3)}, r"would run \d+ forward rows over \d+ groups.*limit is 3"),
        ({"groups": "one"}, "groups has 1 entries, the batch 2 rows"),
        ({"groups": "short"}, r"groups has 4 positions, the prompt \d+ and"),
        ({"groups": "empty"}, "groups holds no group"),
    ],
)
def test_bad_settings_are_named(settings, message, pair):
    model, inputs, _ = pair
    length = inputs["input_ids"].shape[1]
    known = {
        "one": [lime_xai.Groups(torch.zeros(length, dtype=torch.long), ("a",))],
        "short": lime_xai.Groups(torch.zeros(4, dtype=torch.long), ("a",)),
        "empty": lime_xai.Groups(torch.full((length,), -1), ()),
    }
    given = {**settings, "groups": known.get(settings.get("groups"))}
    with pytest.raises(ValueError, match=message):
        lime_xai.attribute(model, inputs, 5, **{"method": "feature_ablation", **given})


@pytest.mark.parametrize("method", [METHODS["saliency"], 3, None, object()])
def test_what_is_no_method(method, pair):
    model, inputs, _ = pair
    with pytest.raises(TypeError, match="is no attribution method; give a name"):
        lime_xai.attribute(model, inputs, 5, method)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"method": "occlusion", "window": 2, "stride": 3}, "stride is 3, window 2"),
        ({"method": "occlusion", "window": 0}, "window is 0; expected at least one"),
        ({"method": "kernel_shap", "samples": 0}, "samples is 0"),
        ({"method": "shapley_value_sampling", "samples": 0}, "samples is 0"),
        ({"method": "integrated_gradients", "steps": 0}, "steps is 0"),
        ({"method": "gradient_shap", "replacement": "means"}, "Did you mean 'mean'"),
        ({"method": "feature_ablation", "rows_per_pass": 0}, "rows_per_pass is 0"),
        ({"method": "eagle", "most": 0}, "most is 0"),
        ({"method": "tam", "window": 2}, "window is 2; expected an odd number"),
        ({"method": "tam", "sigma": 0}, "sigma is 0"),
        ({"method": "stream", "form": "directly"}, "Did you mean 'direct'"),
        ({"method": "stream", "composite": "lrp"}, "Unknown composite 'lrp'"),
        ({"method": "stream", "forms": "direct"}, "Did you mean 'form'"),
        ({"method": "streams"}, "Did you mean 'stream'"),
    ],
)
def test_settings_out_of_range(data, message):
    with pytest.raises(ValueError, match=message):
        method_from_dict(data)


def test_one_group_has_nothing_to_share_by_kernel_shap(pair):
    model, _, singles = pair
    one = lime_xai.Groups(torch.tensor([-1, 0, 0, *[-1] * (singles[0]["input_ids"].shape[1] - 3)]), ("a",))
    with pytest.raises(ValueError, match="shares between groups and found 1"):
        lime_xai.attribute(model, singles[0], 5, "kernel_shap", groups=one)
    assert lime_xai.attribute(model, singles[0], 5, "shapley_value_sampling", groups=one).relevance[0, 1:3].all()


@pytest.mark.parametrize("name", ["attention_rollout", "gradient_attention_rollout"])
@pytest.mark.filterwarnings("ignore:.*have no relevance rule")
def test_rollout_refuses_layers_without_attention_weights(name):
    model, inputs, _ = FAMILIES["qwen3_5_moe"].build()
    with pytest.raises(NotImplementedError, match=r"layers of .* give attention weights"):
        lime_xai.attribute(model, inputs, 5, name)


def test_token_activation_maps_need_tokens():
    model, inputs = text_model()
    embeddings = model.get_input_embeddings()(inputs["input_ids"]).detach()
    with pytest.raises(ValueError, match="give input_ids, not inputs_embeds"):
        lime_xai.attribute(model, {"inputs_embeds": embeddings}, 5, "tam")

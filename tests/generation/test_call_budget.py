"""How often each policy calls the decoder and the vision tower, on caches of six structures."""

import warnings
from itertools import pairwise

import pytest
import torch
from support.calls import counted
from support.families import FAMILIES
from transformers.generation.streamers import BaseStreamer

import lime_xai
from lime_xai import POLICIES, Calibration, Constant, Contrast, Edit, LogitShift, Reweight
from lime_xai.storage.weights import weights_hash

STRUCTURES = {
    "plain": "llava",
    "sliding": "llava_mistral_sliding",
    "mixed": "gemma3",
    "shared": "gemma4",
    "recurrent": "qwen3_5_moe",
    "chunked": "aya_vision",
}
"""Families by the structure of their cache. Only a plain one can be cut; for others the prompt runs again."""

REFUSED = "refused"
REASONS = {"recurrent": "linear attention|linear_attn", "shared": "does not run through Gemma4TextModel"}
"""Why a structure is refused."""

# Decoder calls at the prompt, and at every later token; three numbers where the third token takes more than the second:
# masks that the model makes for each call cannot be merged, so that the sequence is run call by call.
EXPECTED = {
    #                    plain    sliding   mixed     shared   recurrent chunked
    "none":              ((1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1)),
    "plausible":         ((1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1)),
    "logit_shift":       ((1, 1), (1, 1), (1, 1), (1, 1), (1, 1), (1, 1)),
    "observe":           ((2, 2), (3, 2), (3, 2), (3, 2), REFUSED, (3, 2)),
    "uniform_gain":      ((2, 2), (3, 2), (3, 2), (3, 2), (3, 2), (3, 2)),
    "constant":          ((2, 1), (3, 1), (3, 1), (3, 1), (3, 1), (3, 1)),
    "edit":              ((4, 3), (5, 3), (5, 3), (5, 4), REFUSED, (5, 3)),
    "edit, backward":    ((4, 4), (5, 4), (5, 4), (5, 4), REFUSED, (5, 4)),
    "paper":             ((9, 17), (10, 17), (10, 17, 25), (10, 17, 25), REFUSED, (10, 17)),
    "paper, cache":      ((9, 9), (10, 9), (10, 9), (10, 9), REFUSED, (10, 9)),
    "reweight":          ((2, 1), (3, 1), (3, 1), REFUSED, REFUSED, (3, 1)),
    "reweight, full":    ((1, 1), (1, 1), (1, 1), REFUSED, REFUSED, (1, 1)),
    "reweight, backward": ((2, 2), (3, 2), (3, 2), (3, 2), REFUSED, (3, 2)),
    "contrast":          ((2, 1), (2, 1), (2, 1), (2, 1), (2, 2), (2, 1)),
    "contrast, slot":    ((2, 1), (3, 1), (3, 1), (3, 1), (3, 2), (3, 1)),
    "contrast, noise":   ((2, 1), (2, 1), (2, 1), (2, 1), (2, 2), (2, 1)),
    "edit and contrast": ((5, 4), (6, 4), (6, 4), (6, 4), REFUSED, (6, 4)),
}  # fmt: skip

SETTINGS = {
    "none": lambda model: [],
    "logit_shift": lambda model: LogitShift({5: 1.0}),
    "constant": lambda model: Constant(made_up_calibration(model)),
    "edit, backward": lambda model: Edit(direction="backward"),
    "paper, cache": lambda model: Edit.paper("cache"),
    "reweight, full": lambda model: Reweight(relevance="full"),
    "reweight, backward": lambda model: Reweight(direction="backward"),
    "contrast, slot": lambda model: Contrast("slot"),
    "contrast, noise": lambda model: Contrast("noise"),
    "edit and contrast": lambda model: [Edit(), Contrast()],
}


def made_up_calibration(model):
    config = model.config.get_text_config()
    gains = torch.full((config.num_hidden_layers, config.num_key_value_heads), 0.1)
    zeros = torch.zeros(config.vocab_size)
    return Calibration(weights_hash(model), "direct", 1, 1, zeros, {"image": gains})


class EachToken(BaseStreamer):
    """Notes how many decoder calls were made when each token came."""

    def __init__(self, calls):
        self.calls, self.at = calls, []

    def put(self, value):
        self.at.append(self.calls.decoder)

    def end(self):
        pass


def calls_of(model, inputs, policy, count):
    """Decoder calls at the prompt and at each later token of a generation, and calls of the tower."""
    with counted(model) as calls:
        noted, settings = EachToken(calls), {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
        lime_xai.steer(model, inputs, policy, streamer=noted, **settings)
    assert noted.at[-1] == calls.decoder  # nothing is called behind the last token
    return [after - before for before, after in pairwise(noted.at)], calls.tower


def test_every_registered_policy_has_a_budget():
    assert set(POLICIES) <= set(EXPECTED)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_policy_calls_decoder_and_tower_as_often_as_the_table_says(name, structure):
    model, inputs, _ = FAMILIES[STRUCTURES[structure]].build()
    policy = SETTINGS[name](model) if name in SETTINGS else POLICIES[name]()
    expected = EXPECTED[name][list(STRUCTURES).index(structure)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # edits of some families work by double backward passes and say so
        if expected == REFUSED:
            with counted(model) as calls, pytest.raises((ValueError, NotImplementedError), match=REASONS[structure]):
                lime_xai.steer(model, inputs, policy, max_new_tokens=1)
            assert calls.tower <= 1
            return
        calls_of(model, inputs, policy, 3)  # adjoint check, tests of a branch and of several tokens: once per model
        calls, tower = calls_of(model, inputs, policy, 3)
    prompt, second, *third = expected
    assert calls == [prompt, second, *(third or [second])]
    assert tower == 1

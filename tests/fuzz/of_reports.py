"""Calls that explain an answer."""

import json
import math

from support.words import numbered_tokenizer

import lime_xai

from .models import drawn_subject
from .of_models import drawn_mask, drawn_model, model_call
from .prompts import drawn_inputs
from .settings import drawn_generation, drawn_method, drawn_policy

TOKENIZER = numbered_tokenizer()


def explain(draw):
    """``explain``, with the tables and the page of its result."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject)
    model, mask, make = drawn_model(draw, subject), drawn_mask(draw, subject, inputs), drawn_policy(draw, subject)
    method = drawn_method(draw) if draw.chance(0.3) else lambda: "attnlrp"
    settings = drawn_generation(draw)
    given = {"processor": TOKENIZER if draw.chance(0.93) else draw.choice((None, draw.junk()))}
    table = {
        "answer": ("w5 w9", "w7", [4, 5, 6], [], "", draw.ids(1, 2), 2**70, 5),
        "against": ("w9", 11, "w3 w4", -1, 10**6),
        "compare": (True, False),
        "progress": (True, False),
    }
    given |= draw.some(table, most=2)
    draw.note(f"{ {name: value for name, value in given.items() if name != 'processor'} }")
    plain = draw.chance(0.5)

    def run():
        return lime_xai.explain(
            model, inputs, None if plain else make(), method=method(), perceptual=mask, **{**settings, **given}
        )

    def of_the_model():
        wanted = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
        return subject.model.generate(**wanted, **{"max_new_tokens": 1, **settings})

    sampled = bool(settings.get("do_sample"))
    return model_call("explain", draw, run, _check, subject, inputs, of_the_model, samples=sampled, generates=True)


def _check(found):
    assert [token for word in found.words for token in range(word.start, word.stop)] == list(
        range(found.attribution.relevance.shape[1])
    )
    for index, word in enumerate(found.words):
        assert math.isclose(sum(word.shares.values()), 1, abs_tol=1e-3) or not found.relevance(index).any()
        assert 0 <= word.probability <= 1 + 1e-5
        assert word.entropy >= -1e-4
    assert len(found.to_frame()) == len(found.words)
    assert json.loads(found.to_json()) == found.to_dict()
    assert found.to_html().count("<script") == 2
    assert len(repr(found)) < 3000

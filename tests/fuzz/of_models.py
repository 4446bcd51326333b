"""Calls that take a model and inputs."""

import json
from collections.abc import Mapping

import torch
from rich.console import Console
from torch import Tensor

import lime_xai

from .draw import Call
from .models import drawn_subject
from .oracle import MODES
from .prompts import drawn_inputs
from .settings import drawn_generation, drawn_method, drawn_policy

IGNORED = -100


def drawn_mode(draw):
    """Return the name of a context to make the call in."""
    mode = "usual" if draw.chance(0.75) else draw.choice(list(MODES))
    draw.note(f"mode {mode}")
    return mode


def drawn_model(draw, subject):
    """Return the subject's model; rarely something else."""
    if not draw.chance(0.02):
        return subject.model
    value = draw.junk()
    draw.note(f"model {value!r:.40}")
    return value


def shape_of(inputs):
    """Return rows and tokens of inputs."""
    inputs = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
    ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
    ids = ids if isinstance(ids, Tensor) else (inputs.get("inputs_embeds") if isinstance(inputs, Mapping) else None)
    return tuple(ids.shape[:2]) if isinstance(ids, Tensor) and ids.dim() > 1 else (1, 12)


def drawn_mask(draw, subject, inputs):
    """Return ``perceptual=``: mostly None, or what a text-only model needs."""
    text = subject.family.modality == "text"
    if not draw.chance(0.85 if text else 0.08):
        return None
    if draw.chance(0.1):
        return draw.junk()
    rows, length = shape_of(inputs)
    mask = torch.zeros(rows, length, dtype=torch.bool)
    mask[:, -9:-5] = True
    kind = draw.choice(("mask", "mask", "mapping", "random", "whole numbers", "empty", "all", "other shape"))
    draw.note(f"perceptual: {kind}")
    kinds = {
        "mask": mask,
        "mapping": {draw.choice(("image", "audio", "smell", "text")): mask},
        "random": draw.flags(rows, length),
        "whole numbers": mask.long(),
        "empty": torch.zeros_like(mask),
        "all": torch.ones_like(mask),
        "other shape": mask[:, 1:],
    }
    return kinds[kind]


def drawn_target(draw, rows):
    """Return a target of some kind, good or bad."""
    kinds = {
        "none": lambda: None,
        "id": lambda: draw.randrange(3, 90),
        "margin": lambda: (draw.randrange(3, 90), draw.randrange(3, 90)),
        "phrase": lambda: draw.choice(("yes", "", "is there a cup")),
        "ids": lambda: [draw.randrange(3, 90) for _ in range(draw.randrange(3))],
        "id per row": lambda: draw.ids(rows),
        "answers": lambda: draw.ids(rows, draw.randrange(1, 4)),
        "answers of different length": lambda: torch.cat(
            [draw.ids(rows, 1), draw.ids(rows, 1).masked_fill(draw.flags(rows, 1), IGNORED)], -1
        ),
        "padding anywhere": lambda: draw.ids(rows, 2).masked_fill(draw.flags(rows, 2), IGNORED),
        "out of range": lambda: draw.choice((128, -1, 10**9, (7, 500), [7, -5], 2**70)),
        "another batch": lambda: draw.ids(rows + 1),
        "of float": lambda: draw.numbers(rows),
        "junk": draw.junk,
    }
    weights = (30, 18, 8, 4, 8, 6, 10, 6, 2, 4, 2, 2, 4)
    kind = draw.choices(list(kinds), weights)[0]
    found = kinds[kind]()
    draw.note(f"target {kind} {found!r:.60}")
    return found


def _plain(subject, inputs, **settings):
    """Return a function that gives the inputs to the plain model."""
    given = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
    return lambda: subject.model.generate(**given, **{"max_new_tokens": 1, "do_sample": False, **settings})


def attribute(draw):
    """``attribute``."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject)
    rows, length = shape_of(inputs)
    model, target, make = drawn_model(draw, subject), drawn_target(draw, rows), drawn_method(draw)
    given = {"perceptual": drawn_mask(draw, subject, inputs)}
    table = {
        "per_token": (True, False),
        "progress": (True, False),
        "processor": (None,),
        "groups": (
            None,
            lime_xai.Groups(torch.arange(length) // 4, tuple(f"part {i}" for i in range((length + 3) // 4))),
            [lime_xai.Groups(torch.arange(length), tuple(map(str, range(length))))] * rows,
            lime_xai.Groups(torch.full((length,), -1), ()),
            lime_xai.Groups(torch.zeros(3, dtype=torch.long), ("one",)),
        ),
    }
    given |= draw.some(table, most=2)

    def run():
        return lime_xai.attribute(model, inputs, target, make(), **given)

    def check(found):
        _check_attribution(found, subject, inputs)

    return model_call("attribute", draw, run, check, subject, inputs, _plain(subject, inputs))


def attribute_pixels(draw):
    """``attribute_pixels``."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject)
    rows, _ = shape_of(inputs)
    model, target = drawn_model(draw, subject), drawn_target(draw, rows)
    method = draw.choices(("attnlrp", "cplrp", "gradient_input", "saliency", "nonsense"), (50, 20, 15, 10, 5))[0]
    given = {"perceptual": drawn_mask(draw, subject, inputs)}
    table = {"encoder": (None, "cplrp", "gradient_input", "nonsense", 3), "per_token": (True, False)}
    given |= draw.some(table, most=2)
    draw.note(f"{method} {given.get('encoder')!r}")

    def run():
        return lime_xai.attribute_pixels(model, inputs, target, method, **given)

    def check(found):
        _check_attribution(found.tokens, subject, inputs)
        read = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
        for name, relevance in found.relevance.items():
            assert relevance.shape[-read[name].dim() :] == read[name].shape
            assert relevance.isfinite().all()
        assert len(repr(found)) < 3000

    return model_call("attribute_pixels", draw, run, check, subject, inputs, _plain(subject, inputs))


def _check_attribution(found, subject, inputs):
    rows, length = shape_of(inputs)
    relevance, answer = found.relevance, found.target_ids.shape[1]
    assert relevance.dtype == torch.float32
    assert relevance.isfinite().all()
    assert found.logits.isfinite().all()
    assert relevance.shape == (*found.logits.shape, found.input_ids.shape[1])
    assert relevance.shape[0] == rows
    assert length <= relevance.shape[-1] <= length + max(answer - 1, 0)
    padding = ~(found.attended[:, None] if relevance.dim() == 3 else found.attended)
    assert not relevance.masked_select(padding).any()
    total = sum(found.shares.values())
    assert torch.allclose(total[total > 0], torch.ones_like(total[total > 0]), atol=1e-4)
    assert torch.equal(found.residual, relevance.sum(-1) - found.logits)
    assert "Attribution(" in repr(found)
    _check_logits(found, subject, inputs)


def _check_logits(found, subject, inputs):
    """Compare the explained logit of a single token with the plain model's."""
    plain = isinstance(inputs, Mapping) and subject.variant in ("usual", "trainable") and found.target_ids.shape[1] == 1
    if not plain or torch.get_default_dtype() != torch.float32:
        return
    settings = {"max_new_tokens": 1, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    logits = subject.model.generate(**inputs, **settings).logits[0]
    expected = logits.gather(1, found.target_ids.clamp(min=0))[:, 0] * (found.target_ids[:, 0] >= 0)
    explained = found.logits.reshape(len(logits), -1)[:, 0]
    margin = not torch.allclose(explained, expected, atol=2e-3)
    if margin:  # of a margin, one of the logits minus the explained value
        rest = (expected - explained)[:, None] - logits
        assert (rest.abs().min(1).values < 2e-3).all(), (explained, expected)


def routes(draw):
    """``routes``."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject)
    rows, length = shape_of(inputs)
    model, mask = drawn_model(draw, subject), drawn_mask(draw, subject, inputs)
    table = {
        "continuation": (None, draw.ids(rows, 1), draw.ids(rows, 3), draw.ids(rows, 2) + 90, draw.ids(rows + 1, 2)),
        "groups": (
            None,
            {"first": draw.flags(rows, length), "second": draw.flags(rows, length)},
            {"all": torch.ones(rows, length, dtype=torch.bool)},
            {"none": torch.zeros(rows, length, dtype=torch.bool)},
            {"other": draw.flags(rows, length + 1)},
            {},
        ),
        "relevance": ("full", "direct"),
        "method": ("attnlrp", "cplrp", "gradient_input"),
    }
    given = draw.some(table, most=4)
    draw.note(f"{ {name: value if isinstance(value, str) else type(value).__name__ for name, value in given.items()} }")

    def run():
        return lime_xai.routes(model, inputs, perceptual=mask, **given)

    def check(found):
        continuation = given.get("continuation")
        count = 1 if continuation is None else continuation.shape[1]
        assert found.logits.shape == (rows, count, found.logits.shape[2])
        for part in (*found.contributions.values(), found.residual, found.logits):
            assert part.shape == found.logits.shape
            assert part.isfinite().all()
        best = found.relevance(found.logits.argmax(-1))
        assert best.keys() == found.contributions.keys()
        assert bool(found.states) == (given.get("relevance", "full") == "full")
        assert len(repr(found)) < 3000

    return model_call("routes", draw, run, check, subject, inputs, _plain(subject, inputs))


def read_prompt(draw):
    """``read_prompt``, and what a ``Prompt`` offers."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject, wrong=0.6)
    model, mask = drawn_model(draw, subject), drawn_mask(draw, subject, inputs)
    processor = draw.junk() if draw.chance(0.1) else None
    records = draw.chance(0.3)

    def run():
        prompt = lime_xai.read_prompt(model, inputs, processor=processor, perceptual=mask)
        return prompt, prompt.recording(logits=True) if records else None

    def check(found):
        prompt, recording = found
        rows, length = shape_of(inputs)
        assert prompt.positions.input_ids.shape == prompt.positions.attended.shape == (rows, length)
        assert len(prompt.positions.spans) == len(prompt.layouts) == rows
        assert "Prompt(" in repr(prompt)
        if recording is not None:
            assert recording.logits.shape[:2] == (rows, 1)

    return model_call("read_prompt", draw, run, check, subject, inputs, _plain(subject, inputs))


def estimate_memory(draw):
    """``estimate_memory``."""
    subject = drawn_subject(draw)
    inputs, model, make = drawn_inputs(draw, subject), drawn_model(draw, subject), drawn_policy(draw, subject)

    def check(found):
        assert found.weights > 0
        assert found.total >= found.weights + found.cache + found.optimiser

    return model_call(
        "estimate_memory", draw, lambda: lime_xai.estimate_memory(model, inputs, make()), check, subject, inputs, None
    )


def audit(draw):
    """``audit``."""
    subject = drawn_subject(draw)
    model = draw.junk() if draw.chance(0.3) else subject.model

    def check(found):
        assert found.rows
        assert found.summary()

    return model_call("audit", draw, lambda: lime_xai.audit(model), check, subject, None, None)


def _check_generation(found, rows, length, inputs, given, trace):
    sequences = found if isinstance(found, Tensor) else found.sequences
    embedded = not (isinstance(inputs, Mapping) and isinstance(inputs.get("input_ids"), Tensor))
    assert sequences.dim() == 2
    assert sequences.shape[0] % rows == 0
    assert sequences.dtype == torch.long
    if not embedded:
        ids = inputs["input_ids"].long().repeat_interleave(sequences.shape[0] // rows, 0)
        assert torch.equal(sequences[:, :length], ids)
    new = sequences.shape[1] - (0 if embedded else length)
    assert new >= 1
    if trace is not None and trace.steps:
        assert len(trace) >= new
        json.dumps(trace.to_dict())
        Console(quiet=True).print(trace.table(row=0))
        assert trace.changed() >= 0
        for step in trace.steps:
            assert all(value is None or value.isfinite().all() for value in step.numbers)


def _generation(draw):
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject, wrong=0.3)
    return subject, inputs, drawn_model(draw, subject), drawn_mask(draw, subject, inputs), drawn_generation(draw)


def _samples(given):
    config = given.get("generation_config")
    return bool(given.get("do_sample")) or bool(getattr(config, "do_sample", False))


def _merged(inputs, given):
    found = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
    return {**found, **given}


def steer(draw):
    """``steer``."""
    subject, inputs, model, mask, given = _generation(draw)
    make = drawn_policy(draw, subject)

    def run():
        return lime_xai.steer(model, inputs, make(), perceptual=mask, **given)

    def check(found):
        read = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
        assert isinstance(found.sequences, Tensor)
        assert "SteeringOutput(" in repr(found)
        _check_generation(found.generation, *shape_of(inputs), read, given, found.trace)

    plain = _plain(subject, inputs, **given)
    return model_call("steer", draw, run, check, subject, inputs, plain, samples=_samples(given), generates=True)


def steering(draw):
    """``steering`` around ``model.generate``."""
    subject, inputs, _, mask, given = _generation(draw)
    make, inside = (
        drawn_policy(draw, subject),
        draw.choices(("generate", "attribute", "twice", "forward"), (8, 1, 1, 1))[0],
    )
    draw.note(f"inside: {inside}")

    def run():
        with lime_xai.steering(subject.model, make(), perceptual=mask) as trace:
            if inside == "attribute":
                lime_xai.attribute(subject.model, inputs)
            if inside == "forward":
                subject.model(**_merged(inputs, {}))
            found = subject.model.generate(**inputs, **given)
            if inside == "twice":
                subject.model.generate(**inputs, **given)
        return found, trace

    def check(found):
        _check_generation(found[0], *shape_of(inputs), inputs, given, found[1])

    plain = _plain(subject, inputs, **given)
    return model_call("steering", draw, run, check, subject, inputs, plain, samples=_samples(given), generates=True)


def steered_generate(draw):
    """``model.generate(custom_generate=steered_generate)``."""
    subject, inputs, _, mask, given = _generation(draw)
    make, alone = drawn_policy(draw, subject), draw.chance(0.05)

    def run():
        if alone:
            return lime_xai.steered_generate(subject.model, inputs["input_ids"], policy=make())
        kwargs = {"policy": make(), "perceptual": mask, "custom_generate": lime_xai.steered_generate}
        return subject.model.generate(**inputs, **given, **kwargs)

    def check(found):
        _check_generation(found, *shape_of(inputs), inputs, given, None)

    plain = _plain(subject, inputs, **given)
    return model_call(
        "steered_generate", draw, run, check, subject, inputs, plain, samples=_samples(given), generates=True
    )


def model_call(entry, draw, run, check, subject, inputs, plain, **more):
    """Return a call that takes a subject's model."""
    if any("own policy" in str(one) for one in draw.noted):
        more["errors"] = (RuntimeError,)  # what a policy of a user's own did wrong
    return Call(entry, run, check, "", subject, inputs, plain, mode=drawn_mode(draw), **more)

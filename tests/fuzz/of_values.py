"""Calls without a model: settings, records, groups, JSON, registration."""

import json
import math
from dataclasses import asdict, dataclass, replace

import torch
from rich.console import Console

import lime_xai
from lime_xai.model.layouts.reading import LAYOUTS
from lime_xai.policies import registry

from .draw import Call
from .models import subject
from .settings import VALUES, calibration_of, drawn_settings

SETTINGS = (
    "BranchKind",
    "Constant",
    "Contrast",
    "ContributionNeed",
    "Edit",
    "EditSettings",
    "LogitShift",
    "Needs",
    "Observe",
    "Plausible",
    "RelevanceObjective",
    "Reweight",
    "StreamNeed",
    "UniformGain",
)


def settings(draw):
    """A constructor of settings, and a policy as JSON and back."""
    name = draw.choice(SETTINGS)
    cls = getattr(lime_xai, name)
    given = drawn_settings(draw, cls)
    if name == "Constant":
        given["calibration"] = calibration_of(subject("llava")) if draw.chance(0.8) else draw.junk()
    draw.note(f"{name} {given!r:.200}")

    def run():
        made = cls(**given)
        data = lime_xai.policy_to_dict(made) if hasattr(made, "check_model") else None
        return made, data

    def check(found):
        made, data = found
        assert made == cls(**given)
        hash(made) if name != "LogitShift" else None
        assert name in repr(made)
        if data is not None and "calibration" not in given:
            assert lime_xai.policy_from_dict(json.loads(json.dumps(data))) == made

    return Call(f"settings: {name}", run, check)


def policy_from_dict(draw):
    """``policy_from_dict`` of data with a change."""
    policy = draw.choice((lime_xai.Edit(), lime_xai.Contrast(), lime_xai.LogitShift({7: 1.0}), lime_xai.Reweight()))
    data = lime_xai.policy_to_dict(policy)
    for _ in range(draw.choice((0, 1, 1, 2))):
        kind = draw.choice(("value", "value", "drop", "key", "name", "nested"))
        key = draw.choice(list(data)) if data else "policy"
        if kind == "value":
            data[key] = draw.junk() if draw.chance(0.5) else draw.choice(VALUES.get(key, (1,)))
        elif kind == "drop":
            data.pop(key, None)
        elif kind == "key":
            data[draw.choice(("nonsense", "", 3, None))] = draw.junk()
        elif kind == "name":
            data["policy"] = draw.choice(("Edit", "edit", "Observe", "Constant", 3, None))
        elif isinstance(data.get("objective"), dict):
            data["objective"][draw.choice(("form", "temperature", "nonsense"))] = draw.junk()
    data = draw.junk() if draw.chance(0.05) else data
    draw.note(f"{data!r:.300}")

    def check(found):
        assert hasattr(found, "check_model")
        again = json.loads(json.dumps(lime_xai.policy_to_dict(found)))
        assert lime_xai.policy_from_dict(again) == found

    files = (FileNotFoundError,)
    return Call("policy_from_dict", lambda: lime_xai.policy_from_dict(data), check, inputs=data, errors=files)


def policy_to_dict(draw):
    """``policy_to_dict``."""
    kinds = (lime_xai.Edit(), lime_xai.Edit.paper(), lime_xai.Span("text", 0, 1), lime_xai.Observe, draw.junk())
    policy = draw.choice(kinds)
    draw.note(f"{policy!r:.60}")
    return Call("policy_to_dict", lambda: lime_xai.policy_to_dict(policy), lambda found: json.dumps(found))


def groups(draw):
    """``Groups``."""
    length, count = draw.randrange(1, 9), draw.randrange(4)
    ids = torch.tensor([draw.randrange(-1, max(count, 1)) for _ in range(length)])
    wrong = draw.chance(0.4)
    if wrong:
        ids = draw.choice((ids.float(), ids.tolist(), ids + 7, ids - 5, ids[None], ids.bool(), draw.junk()))
    names = tuple(f"part {i}" for i in range(count))
    if draw.chance(0.1):
        names = draw.choice((list(names), (*names, 3), draw.junk()))
    draw.note(f"{ids!r:.80} {names!r:.80}")
    relevance = draw.numbers(2, length)
    if draw.chance(0.1):
        relevance = draw.choice((draw.numbers(2, length + 1), draw.numbers(length), draw.junk()))
    kept = draw.flags(3, count)

    def run():
        made = lime_xai.Groups(ids, names)
        return made, made.sums(relevance), made.positions(kept) if count else None, made.spread(made.sums(relevance))

    def check(found):
        made, sums, positions, spread = found
        assert len(made) == len(names)
        inside = relevance[..., made.ids >= 0].sum(-1)
        assert torch.allclose(sums.sum(-1), inside, atol=1e-4)
        assert torch.allclose(spread.sum(-1), inside, atol=1e-4)
        assert positions is None or positions.shape == (3, length)
        assert made == lime_xai.Groups(ids, names)

    return Call("Groups", run, check)


def example(draw):
    """``Example``."""
    inputs = subject("llava").batches[1]
    table = {"target": (3, None), "truth": (None, draw.flags(12)), "cluster": (None, "scene", 3)}
    given = draw.some(table, wrong=0.3)
    first = draw.junk() if draw.chance(0.3) else inputs
    draw.note(f"{first!r:.40} {given!r:.100}")
    return Call("Example", lambda: lime_xai.Example(first, **given), lambda found: repr(found))


def span(draw):
    """``Span``, ``StepTrace``, ``SteeringTrace`` and ``SteeringOutput``: records that the package makes."""
    rows, steps = draw.randrange(1, 4), draw.randrange(3)

    def run():
        one = lime_xai.StepTrace(0, draw.ids(rows), draw.ids(rows), *(None,) * draw.randrange(3))
        trace = lime_xai.SteeringTrace([replace(one, index=i).over(one) for i in range(steps)])
        row = draw.choice((0, 0, rows - 1, rows, -1, "0"))
        Console(quiet=True).print(trace.table(row=row))
        return trace, lime_xai.SteeringOutput(draw.ids(rows, 4), trace, None)

    def check(found):
        trace, output = found
        assert len(trace) == steps
        json.dumps(trace.to_dict())
        assert output.trace == trace
        assert len(lime_xai.Span("image", 1, 4)) == 3

    return Call("records", run, check)


def objective(draw):
    """``RelevanceObjective`` on relevance and logits."""
    given = drawn_settings(draw, lime_xai.RelevanceObjective)
    rows, length, count = draw.randrange(1, 4), draw.randrange(2, 9), draw.randrange(2, 12)
    attended = draw.flags(rows, length, share=0.8)
    attended[:, -1] = True
    perceptual = draw.flags(rows, length, share=0.4)
    values = [draw.numbers(rows, length), perceptual, attended, draw.numbers(rows, count), draw.numbers(rows, count)]
    if draw.chance(0.3):
        place = draw.randrange(5)
        values[place] = draw.choice((values[place][..., :-1], values[place][0], values[place].tolist(), draw.junk()))
        draw.note(f"argument {place} {values[place]!r:.80}")
    draw.note(f"{given}")

    def run():
        made = lime_xai.RelevanceObjective(**given)
        return made, made(*values)

    def check(found):
        made, loss = found
        assert loss.shape == (rows,)
        assert loss.isfinite().all()
        assert (made.divergence(values[3], values[4]) > -1e-5).all()
        assert lime_xai.RelevanceObjective(**asdict(made)) == made

    return Call("RelevanceObjective", run, check, inputs=values)


def register(draw):
    """``register_policy``, ``register_method``, ``register_layout``; registries are put back."""
    kind = draw.choice(("policy", "method", "layout"))
    cls = draw.choice((_Nothing, _NoDataclass, _HasPolicy, lime_xai.Edit, draw.junk()))
    name = draw.choice(("nothing", "edit", None, draw.junk()))
    draw.note(f"{kind} {cls!r:.60} {name!r:.40}")

    def run():
        kept = [dict(one) for one in (lime_xai.POLICIES, lime_xai.METHODS, registry._CLASSES, LAYOUTS)]
        try:
            if kind == "policy":
                return lime_xai.register_policy(name)(cls)
            if kind == "method":
                return lime_xai.register_method(cls)
            return lime_xai.register_layout(name, modality=draw.choice(("image", "audio", "smell", 3)))(print)
        finally:
            for one, before in zip(
                (lime_xai.POLICIES, lime_xai.METHODS, registry._CLASSES, LAYOUTS), kept, strict=True
            ):
                one.clear()
                one.update(before)

    return Call(f"register_{kind}", run)


@dataclass(frozen=True)
class _Nothing(lime_xai.Policy):
    """A policy that changes nothing."""

    name = "nothing"
    amount: float = 0.0

    def step(self, step):
        return step.logits


class _NoDataclass(lime_xai.AttributionMethod):
    name = "no_dataclass"

    def explain(self, task):
        raise AssertionError("it is never called")


@dataclass(frozen=True)
class _HasPolicy(lime_xai.Policy):
    policy: str = "x"

    def step(self, step):
        return step.logits


def composite(draw):
    """The composites ``AttnLRP``, ``CPLRP``, ``GradientInput`` and ``EncoderLRP``."""
    if draw.chance(0.25):
        return _encoder_composite(draw)
    cls = draw.choice((lime_xai.AttnLRP, lime_xai.CPLRP, lime_xai.GradientInput))
    table = {
        "layer_map": (None, [], [(torch.nn.Linear, None)], [torch.nn.Linear], [(3, 4)]),
        "canonizers": (None, [], [3]),
        "second_order": ("exact", "frozen", "nonsense"),
    }
    given = draw.some(table, wrong=0.3)
    draw.note(f"{cls.__name__} {given!r:.120}")
    model = subject("llava")

    def run():
        made = cls(**given)
        return made, lime_xai.attribute(model.model, model.batches[1], method=made)

    return Call("composites", run, lambda found: repr(found[0]), "", model)


def _encoder_composite(draw):
    table = {
        "base": ("attnlrp", "cplrp", "gradient_input", "nonsense", 3),
        "gamma": (0.0, 0.1, {"*": 0.25}, {"*layers*": 0.1, "*": 0.0}, -1.0, math.nan, "much", {3: 0.1}),
        "epsilon": (0.0, 1e-6, {"*": 1e-3}, -1.0, None),
        "first": (None, "flat", "wsquare", "nonsense", 3),
    }
    given = draw.some(table, most=3, wrong=0.1)
    draw.note(f"EncoderLRP {given!r:.160}")
    model = subject("llava")

    def run():
        made = lime_xai.EncoderLRP(**given)
        return lime_xai.attribute_pixels(model.model, model.batches[1], 7, encoder=made)

    def check(found):
        assert found.relevance["pixel_values"].shape == model.batches[1]["pixel_values"].shape
        assert found.relevance["pixel_values"].isfinite().all()

    return Call("composites", run, check, "", model)

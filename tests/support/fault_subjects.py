"""Calls of the package in which faults are injected: every policy, every attribution method, and the other entries."""

import copy
import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from inspect import isfunction
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

import lime_xai
from lime_xai import METHODS, Constant, Contrast, Edit, LogitShift, Observe, Plausible, Reweight
from lime_xai.policies.registry import POLICIES

from .families import FAMILIES

TOKENS = 3
"""Generated tokens."""

GREEDY = {"max_new_tokens": TOKENS, "do_sample": False}
COMPLETE = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
PHRASE = "w5 w6"


@cache
def words():
    """A tokenizer of transformers that knows ``w0`` to ``w99``."""
    known = {f"w{index}": index for index in range(100)} | {"<unk>": 100}
    tokenizer = Tokenizer(WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@cache
def untouched(family):
    """A model that is only copied, its prompt, and a calibration of each form."""
    model, inputs, _ = FAMILIES[family].build()
    prompts = [inputs, {**inputs, "input_ids": inputs["input_ids"].clone()}]
    prompts[1]["input_ids"][0, -1] = 12
    return model, prompts


def fresh(family):
    """A model without any memory of earlier calls, and prompts."""
    model, prompts = untouched(family)
    return copy.deepcopy(model), [dict(prompt) for prompt in prompts]


@cache
def calibration(family):
    """What ``Reweight`` and ``Constant`` take, measured on an untouched copy."""
    model, prompts = fresh(family)
    return lime_xai.calibrate(model, prompts[:1], max_new_tokens=2, progress=False)


@dataclass(frozen=True)
class Subject:
    """A call of the package.

    Attributes
    ----------
    name : str
        Key in ``subjects``.
    kind : str
        ``policy``, ``method`` or ``call``.
    call : callable
        ``(model, prompts, folder, **generate_arguments)`` to anything that ``same`` compares.
    own : tuple
        Class and name of the methods that are the policy's or the attribution method's own code.
    """

    name: str
    kind: str
    call: Any
    own: tuple = field(default=())

    @property
    def tokenizer(self):
        """What the call gives as ``processor``."""
        return words()


def _steered(policy, model, prompts, folder, **arguments):
    policy = policy() if isfunction(policy) else policy
    prompt = lime_xai.read_prompt(model, prompts[0], processor=words())
    if "num_beams" in arguments:
        arguments.pop("streamer", None)
    found = lime_xai.steer(model, prompt, policy, **{**GREEDY, **COMPLETE, **arguments})
    return _of_generation(found.generation, found.trace)


def _of_generation(found, trace):
    return [found.sequences, *found.scores, *found.logits, *(step.token_after for step in trace.steps)]


def _by_context(policy, model, prompts, folder, **arguments):
    with lime_xai.steering(model, policy) as trace:
        found = model.generate(**prompts[0], **GREEDY, **COMPLETE, **arguments)
    return _of_generation(found, trace)


def _by_custom_loop(policy, model, prompts, folder, streamer=None, **arguments):
    arguments |= {"custom_generate": lime_xai.steered_generate, "policy": policy, "token_streamer": streamer}
    found = model.generate(**prompts[0], **GREEDY, **COMPLETE, **arguments)
    return [found.sequences, *found.scores, *found.logits]


def plain(model, prompts, **arguments):
    """What the model generates without this package: sequences, scores and logits."""
    found = model.generate(**prompts[0], **GREEDY, **COMPLETE, **arguments)
    return [found.sequences, *found.scores, *found.logits]


def _attributed(method, model, prompts, folder, **arguments):
    found = lime_xai.attribute(model, prompts[0], PHRASE, method, processor=words())
    return [found.relevance, found.logits, found.target_ids]


def attributed(model, prompts):
    """Relevance by AttnLRP, of one token."""
    return lime_xai.attribute(model, prompts[0], 5).relevance


def _routes(form, model, prompts, folder, **arguments):
    found = lime_xai.routes(model, prompts[0], torch.tensor([[5, 6]]), relevance=form)
    return [found.logits, found.contributions]


def _calibrated(model, prompts, folder, **arguments):
    path = folder / "calibration.safetensors"
    found = lime_xai.calibrate(model, prompts, max_new_tokens=2, path=path, progress=False)
    return [found.mean_contribution, found.gains, found.steps, found.prompts]


_METRICS = ("delta_a", "randomisation", "residual")
"""One that perturbs and one that changes weights, beside one that computes nothing."""


def _compared(model, prompts, folder, **arguments):
    examples = [lime_xai.Example(prompt, target=5 + index) for index, prompt in enumerate(prompts)]
    out = folder / "comparison.json"
    settings = {"processor": words(), "out": out, "progress": False, "replacement": "mean"}
    found = lime_xai.compare_attributions(model, examples, "attnlrp", _METRICS, **settings)
    return json.loads(json.dumps(found.to_dict()))["examples"]


def _audited(model, prompts, folder, **arguments):
    found = lime_xai.audit(model)
    return [list(map(str, found.uncovered)), list(map(str, found.operations)), found.summary()]


def _policies():
    """Policies by a name: the registry with usual settings, and the settings that run other code."""
    few = {"logit_shift": LogitShift({5: 1.0}), "paper": replace(Edit.paper(), steps=2)}
    return {name: few[name] if name in few else make() for name, make in POLICIES.items()} | {
        "paper, cache": replace(Edit.paper("cache"), steps=2),
        "edit, backward": Edit(direction="backward"),
        "edit, sequence": Edit(scope="sequence", steps=1),
        "edit, stops": Edit(plateau=0.01, kl_budget=1.0),
        "contrast, slot": Contrast("slot"),
        "contrast, noise": Contrast("noise"),
        "contrast, separate": Contrast(batched=False),
        "reweight, full": Reweight(relevance="full"),
        "reweight, backward": Reweight(direction="backward"),
        "reweight, auto": Reweight(direction="auto"),
        "observe, sequence": Observe(scope="sequence"),
        "contrast and reweight": [Contrast("slot", plausibility=0.0), Reweight(plausibility=0.0), Plausible()],
    }


def _calibrated_policies(family):
    """Classes of policies that take a calibration, and functions that make them; it is measured when it is needed."""
    return {
        "reweight, calibrated": (Reweight, lambda: Reweight(calibration=calibration(family))),
        "constant": (Constant, lambda: Constant(calibration(family))),
    }


SMALL = {
    "shapley_value_sampling": {"samples": 2},
    "kernel_shap": {"samples": 8},
    "integrated_gradients": {"steps": 4, "tolerance": None},
    "gradient_shap": {"samples": 2},
}
"""Settings of attribution methods with which they run the model a few times."""


def _own_of(policies):
    return tuple((kind, "step") for kind in {type(one) for one in policies})


def _method(name):
    made = METHODS[name](**SMALL.get(name, {}))
    own = "relevance_and_delta" if hasattr(made, "relevance_and_delta") else "explain"
    return Subject(name, "method", partial(_attributed, made), ((type(made), own),))


@cache
def subjects(family):
    """All subjects by name."""
    found = []
    for name, policy in _policies().items():
        own = _own_of(policy if isinstance(policy, list) else [policy])
        found.append(Subject(name, "policy", partial(_steered, policy), own))
    for name, (kind, make) in _calibrated_policies(family).items():
        found.append(Subject(name, "policy", partial(_steered, make), ((kind, "step"),)))
    edit, contrast = Edit(), Contrast()
    found += [
        Subject("edit, beams", "policy", partial(_steered, edit, num_beams=2), _own_of([edit])),
        Subject("contrast, beams", "policy", partial(_steered, contrast, num_beams=2), _own_of([contrast])),
        Subject("edit in steering()", "policy", partial(_by_context, edit), _own_of([edit])),
        Subject("edit by steered_generate", "policy", partial(_by_custom_loop, edit), _own_of([edit])),
    ]
    found += [_method(name) for name in METHODS]
    found += [
        Subject("routes, full", "call", partial(_routes, "full")),
        Subject("routes, direct", "call", partial(_routes, "direct")),
        Subject("calibrate", "call", _calibrated),
        Subject("compare_attributions", "call", _compared),
        Subject("audit", "call", _audited),
    ]
    return {one.name: one for one in found}


def empty(folder):
    """Make an empty folder."""
    Path(folder).mkdir(exist_ok=True)
    for path in Path(folder).iterdir():
        with suppress(FileNotFoundError):
            path.unlink()
    return Path(folder)

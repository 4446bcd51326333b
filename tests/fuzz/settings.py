"""Policies, attribution methods and generation settings, good and bad; they are made inside the call."""

import json
from dataclasses import fields, is_dataclass

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

import lime_xai
from lime_xai.editing.editor import KVEditor

from .draw import INFINITY, NAN, UsersError

ORDER = ("attnlrp", "cplrp", "gradient_input")
VALUES = {
    "method": ORDER,
    "scope": ("cache", "cache", "sequence"),
    "deltas": ("gain", "free"),
    "edit": ("values", "keys", "both"),
    "positions": ("perceptual", "all"),
    "layers": (None, (0,), (-1,), (0, 1), [1], (), (5,), (-9,), (0, 0)),
    "steps": (0, 1, 1, 2),
    "learning_rate": (1e-6, 1e-3, 0.5, 10, 1e6, 1e30),
    "second_order": ("exact", "frozen"),
    "include_bos": (True, False),
    "direction": ("auto", "forward", "backward"),
    "plateau": (0.0, 0.1, 0.999),
    "kl_budget": (None, 1e-9, 0.1, 100),
    "plausibility": (0.0, 0.1, 0.999, 1.0),
    "branch": ("blind", "slot", "noise"),
    "strength": (0.0, 0.5, 1, 3.0, 1e4, 1e38),
    "noise": (0.1, 0.92, 1.0, 0.0, 1.5),
    "seed": (0, 7, 2**32 - 1, 2**32),
    "batched": (True, False),
    "relevance": ("direct", "full"),
    "gain": (0.0, 0.8, -1.0, 1e6, 1e38),
    "form": ("contrastive", "difference"),
    "temperature": (0.1, 1.0, 1e-6, 1e6),
    "kl_weight": (0.0, 0.1, 10),
    "kl_direction": ("steered_reference", "reference_steered"),
    "target": ("argmax", "margin", "expected"),
    "samples": (1, 2, 5, 0),
    "limit": (1, 10, 4096),
    "composite": ORDER,
    "name": ("blind", "slot", "noise"),
    "required": (True, False),
    "past": (True, False),
    "history": (True, False),
    "rewrites_cache": (True, False),
    "gradients": (True, False),
    "first_pass": (None,),
    "streams": ((), (lime_xai.StreamNeed("attnlrp"),), [lime_xai.StreamNeed("cplrp", True)]),
    "contributions": (None, lime_xai.ContributionNeed(), lime_xai.ContributionNeed("full")),
    "modalities": (None, None, ("image",), ("audio",), ["audio", "image"], ("video",), (), ("audio", "audio"), "audio"),
    "groups": ((), (None,), (("image",),), (("audio",), None)),
    "shifts": ({}, {7: 1.0}, {7: 1e30}, {500: 1.0}, {-1: 1.0}, {7: NAN}, {7: INFINITY}, {"7": 1.0}),
    "objective": (
        lime_xai.RelevanceObjective(),
        lime_xai.RelevanceObjective(form="difference", target="expected"),
        lime_xai.RelevanceObjective(form="difference", target="margin", kl_direction="reference_steered"),
    ),
    "scale": (0.0, 1.0, -1, 1e4),
    "replacement": ("mean", "zero", "blur", "silence", "deletion"),
    "steps_": (1, 3),
    "tolerance": (None, 0.05, 0.5),
}
POLICIES = ("Contrast", "Edit", "LogitShift", "Observe", "Plausible", "Reweight", "UniformGain")


def calibration_of(subject, gains=True):
    """Return a calibration that fits a model."""
    config = subject.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    made = {"image": torch.full((config.num_hidden_layers, heads), 0.1)} if gains else {}
    weights = "0" * 64
    if subject.variant not in ("meta",):
        from lime_xai.storage.weights import weights_hash

        weights = weights_hash(subject.model)
    return lime_xai.Calibration(weights, "direct", 1, 3, torch.zeros(subject.vocabulary), made)


class Uses(lime_xai.Policy):
    """A policy of a user's own that does something odd."""

    def __init__(self, kind, settings=None):
        self.kind, self.settings = kind, settings

    @property
    def needs(self):
        method = None if self.settings is None else self.settings.forward_method
        streams = () if method is None else (lime_xai.StreamNeed(method),)
        history = self.settings is not None and self.settings.scope == "sequence"
        return lime_xai.Needs(past=self.kind == "editor", history=history, streams=streams)

    def step(self, step):
        if self.kind == "editor":
            return KVEditor(self.settings).edit(step).logits
        return OWN[self.kind](step)


def _raises(step):
    raise UsersError("a policy of a user's own")


def _inside(step):
    return lime_xai.attribute(step.replayer.model, {"input_ids": step.positions.input_ids}).relevance


OWN = {
    "same": lambda step: step.logits,
    "none": lambda step: None,
    "another shape": lambda step: step.logits[:, :5],
    "nan": lambda step: step.logits * NAN,
    "infinity": lambda step: step.logits + INFINITY,
    "no token": lambda step: step.logits - INFINITY,
    "raises": _raises,
    "uses the past": lambda step: step.logits_with(step.fork()),
    "keeps": lambda step: step.keep(step.fork()),
    "attributes": _inside,
}


def drawn_policy(draw, subject, wrong=0.08):
    """Return a function that makes a policy, a name, a list, or something else."""
    roll = draw.random()
    if roll < 0.28:
        name = draw.choice([*lime_xai.POLICIES, "nonsense"] if draw.chance(0.2) else list(lime_xai.POLICIES))
        draw.note(f"policy {name!r}")
        return lambda: name
    if roll < 0.3:
        return lambda: None
    if roll < 0.34:
        value = draw.junk()
        draw.note(f"policy {value!r:.40}")
        return lambda: value
    if roll < 0.42:
        parts = [drawn_policy(draw, subject, wrong) for _ in range(draw.randrange(3))]
        return lambda: [part() for part in parts]
    if roll < 0.5:
        return _own_policy(draw)
    return _made_policy(draw, subject, wrong)


def _own_policy(draw):
    kind = draw.choice(["editor", *OWN])
    settings = draw.some({name: VALUES[name] for name in _names(lime_xai.EditSettings)}, wrong=0)
    draw.note(f"own policy {kind} {settings if kind == 'editor' else ''}")
    return lambda: Uses(kind, lime_xai.EditSettings(**settings) if kind == "editor" else None)


def _made_policy(draw, subject, wrong):
    name = draw.choice((*POLICIES, "Edit", "Edit", "Constant"))
    cls = getattr(lime_xai, name)
    given = draw.some({field: VALUES[field] for field in _names(cls) if field in VALUES}, wrong=wrong)
    if name == "Constant" or (name == "Reweight" and draw.chance(0.3)):
        given["calibration"] = calibration_of(subject, draw.chance(0.8)) if draw.chance(0.9) else draw.junk()
    draw.note(f"{name} {given}")
    if draw.chance(0.15) and name != "Constant":
        return lambda: lime_xai.policy_from_dict(json.loads(json.dumps(lime_xai.policy_to_dict(cls(**given)))))
    return lambda: cls(**given)


def _names(cls):
    return [item.name for item in fields(cls) if item.init]


def drawn_settings(draw, cls):
    """Return keyword arguments for a dataclass of settings; some are junk, and a few names are unknown."""
    given = draw.some({name: VALUES.get(name, (None,)) for name in _names(cls)}, most=4, wrong=0.3)
    if draw.chance(0.05):
        given["nonsense"] = 1
    return given


def drawn_method(draw, cheap=False):
    """Return a function that makes an attribution method."""
    roll = draw.random()
    slow = {"feature_ablation", "kernel_shap", "shapley_value_sampling", "integrated_gradients"}
    if roll < 0.6:
        name = draw.choice([name for name in lime_xai.METHODS if not cheap or name not in slow])
        if name in slow and draw.chance(0.6):
            name = "attnlrp"
        draw.note(f"method {name!r}")
        return lambda: name
    if roll < 0.7:
        cls = draw.choice((lime_xai.AttnLRP, lime_xai.CPLRP, lime_xai.GradientInput))
        given = draw.some({"second_order": ("exact", "frozen"), "layer_map": (None, [])})
        draw.note(f"{cls.__name__} {given}")
        return lambda: cls(**given)
    if roll < 0.76:
        value = draw.junk()
        draw.note(f"method {value!r:.40}")
        return lambda: value
    name = draw.choice(list(lime_xai.METHODS))
    usual = lime_xai.METHODS[name]()
    names = _names(type(usual)) if is_dataclass(usual) else []
    given = draw.some({one: VALUES[one] for one in names if one in VALUES}, wrong=0.15)
    draw.note(f"method {name} {given}")
    return lambda: lime_xai.METHODS[name](**given)


class _Processor(LogitsProcessor):
    def __call__(self, input_ids, scores):
        return scores.masked_fill(torch.arange(scores.shape[-1]) % 2 == 0, -INFINITY)


class _Nothing(LogitsProcessor):
    def __call__(self, input_ids, scores):
        return torch.full_like(scores, NAN)


class _Stop(StoppingCriteria):
    def __call__(self, input_ids, scores, **kwargs):
        return torch.ones(len(input_ids), dtype=torch.bool)


class _Streamer(BaseStreamer):
    def put(self, value):
        assert value.numel()

    def end(self):
        pass


GENERATION = {
    "do_sample": (True, False),
    "num_beams": (1, 2, 3),
    "num_return_sequences": (1, 2),
    "min_new_tokens": (1, 2, 5),
    "no_repeat_ngram_size": (1, 2, 3),
    "bad_words_ids": ([[7]], [[7], [8, 9]], [[i] for i in range(1, 127)], []),
    "repetition_penalty": (1.0, 1.3, 0.0),
    "temperature": (0.5, 1.0, 2.0, 1e-6),
    "top_k": (1, 5),
    "top_p": (0.1, 0.9),
    "typical_p": (0.2, 0.9),
    "eos_token_id": (2, [2, 7], -1),
    "pad_token_id": (0, 2),
    "output_scores": (True,),
    "output_logits": (True,),
    "output_attentions": (True,),
    "output_hidden_states": (True,),
    "return_dict_in_generate": (True,),
    "use_cache": (True, False, None),
    "cache_implementation": ("static", "dynamic", "offloaded", "nonsense", "hybrid"),
    "prompt_lookup_num_tokens": (2,),
    "penalty_alpha": (0.6,),
    "num_beam_groups": (2,),
    "max_length": (5, 20, 40),
    "max_time": (0.0, 10.0),
    "early_stopping": (True, False, "never"),
    "length_penalty": (0.5, 2.0),
    "generation_config": (GenerationConfig(max_new_tokens=2, do_sample=False), GenerationConfig(num_beams=2)),
    "guidance_scale": (1.5,),
    "forced_eos_token_id": (2,),
    "suppress_tokens": ([7, 8], list(range(128))),
    "nonsense": (1,),
    "attention_mask": (None,),
    "seed": (1,),
}
OBJECTS = {
    "logits_processor": (lambda: LogitsProcessorList([_Processor()]), lambda: LogitsProcessorList([_Nothing()]), list),
    "stopping_criteria": (lambda: StoppingCriteriaList([_Stop()]), list),
    "streamer": (_Streamer,),
}


def drawn_generation(draw):
    """Return keyword arguments of ``generate``."""
    given = {"max_new_tokens": draw.choices((1, 2, 3, 5), (30, 40, 25, 5))[0], "do_sample": False}
    if draw.chance(0.6):
        given |= draw.some(GENERATION, most=3, wrong=0.05)
    if draw.chance(0.12):
        name = draw.choice(list(OBJECTS))
        given[name] = draw.choice(OBJECTS[name])()
    if draw.chance(0.03):
        given["max_new_tokens"] = draw.junk()
    draw.note(f"generate {given}")
    return given

"""The models that calls use: tiny, one per family and variant, built once and kept."""

from dataclasses import dataclass, field
from functools import cache

import torch
import transformers as hf
from support.every_family import EVERY_FAMILY
from support.families import Family, joined_rows

import lime_xai

TEXT_ONLY = "llama"
NAMES = ("llava", "qwen2_5_vl", "gemma3", "qwen2_audio", TEXT_ONLY, "qwen3_5", "jamba")
VARIANTS = ("usual", "bfloat16", "float16", "trainable", "training", "meta")
WEIGHTS = (70, 6, 6, 8, 5, 5)
"""How often each variant is drawn, in per cent."""


def _llama():
    config = hf.LlamaConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return hf.LlamaForCausalLM(config), {}


@dataclass
class Subject:
    """A model, prompts for it, and what it said when it was new."""

    family: Family
    variant: str
    model: object
    batches: dict
    reference: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    @property
    def name(self):
        return f"{self.family.name} ({self.variant})"

    @property
    def vocabulary(self):
        return int(self.model.config.get_text_config().vocab_size)

    @property
    def layers(self):
        return int(self.model.config.get_text_config().num_hidden_layers)

    def answers(self):
        """Return what the model says: a greedy generation, its logits, and an attribution."""
        inputs = {name: value.clone() for name, value in self.batches[2].items()}
        mask = inputs["input_ids"] == inputs["input_ids"][0, -4] if self.family.modality == "text" else None
        with torch.no_grad():
            found = self.model.generate(
                **inputs, max_new_tokens=3, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        answers = {"sequences": found.sequences, "logits": torch.stack(found.logits)}
        if self.variant != "training":
            answers["relevance"] = lime_xai.attribute(self.model, inputs, perceptual=mask).relevance
        return answers

    def check(self):
        """Compare what the model says with what it said when it was new, bit for bit."""
        if self.variant in ("training", "meta"):
            return
        answers = self.answers()
        changed = [name for name, value in answers.items() if not torch.equal(value, self.reference[name])]
        last = ", ".join(map(str, self.calls))
        assert not changed, f"{self.name} gives other {changed} after calls {last} than when it was new"
        self.calls.clear()


@cache
def _family(name):
    """Return a family, and its prompts of one, two and three rows; making them builds the model again."""
    family = EVERY_FAMILY[name] if name != TEXT_ONLY else Family(TEXT_ONLY, _llama, "text", 4)
    model, _, _ = family.build(0)
    return family, {rows: joined_rows(family, model, rows)[0] for rows in (1, 2, 3)}


def _built(name, variant):
    family, batches = _family(name)
    model, _, _ = family.build(0)
    if variant in ("bfloat16", "float16"):
        dtype = getattr(torch, variant)
        model.to(dtype)
        batches = {
            rows: {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
            for rows, inputs in batches.items()
        }
    if variant == "meta":
        model.to("meta")
    model.train(variant == "training").requires_grad_(variant == "trainable")
    return Subject(family, variant, model, batches)


@cache
def subject(name, variant="usual"):
    """Return a subject; what it is compared with later comes from a second model, built alike."""
    with torch.random.fork_rng():
        found = _built(name, variant)
        if variant not in ("training", "meta"):
            found.reference = _built(name, variant).answers()
    return found


def drawn_subject(draw, names=NAMES):
    """Return a subject of any kind."""
    return subject(draw.choice(names), draw.choices(VARIANTS, WEIGHTS)[0])

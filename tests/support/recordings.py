"""Recordings and problems of prompts, without ``read_prompt``."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lime_xai.attribution.problem import problems
from lime_xai.attribution.targets import resolve_target
from lime_xai.model.positions import read_positions
from lime_xai.model.prompt import Prompt
from lime_xai.model.recording import record
from lime_xai.model.replay import Replayer


def text_model():
    """A language model without images, and a prompt."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval(), {"input_ids": torch.randint(3, 64, (1, 9))}


def positions_of(model, inputs):
    return read_positions(model.config, inputs["input_ids"], inputs.get("attention_mask"))


def recorded(replayer, inputs, continuation=None):
    """The recording of a prompt and a continuation."""
    return record(replayer, inputs, positions_of(replayer.model, inputs), continuation)


def posed(model, inputs, target):
    """The problems of a batch, and the recording they come from."""
    replayer, ids = Replayer(model), inputs["input_ids"]
    goal = resolve_target(target, ids.shape[0], model.config.get_text_config().vocab_size, ids.device)
    recording = recorded(replayer, inputs, goal.continuation)
    prompt = Prompt(replayer, inputs, positions_of(model, inputs))
    return list(problems(prompt, recording, goal)), recording

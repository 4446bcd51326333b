"""Against numbers recorded from the published reference implementation, through Zennit's attributor alone."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM
from zennit.attribution import Gradient

from lime_rules import AttnLRP

PARITY = Path(__file__).parents[1] / "data" / "parity"


class LastLogits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, embeddings):
        return self.model(inputs_embeds=embeddings, use_cache=False).logits[:, -1]


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3"])
def test_logits_and_relevance_equal_the_recorded_ones(name):
    recorded = json.loads((PARITY / name / "attnlrp.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(PARITY / name, dtype=torch.float32).eval().requires_grad_(False)
    embeddings = model.get_input_embeddings()(torch.tensor([recorded["ids"]]))
    assert recorded["cases"]
    for case in recorded["cases"]:
        one_hot = nn.functional.one_hot(torch.tensor([case["target"]]), model.config.vocab_size).float()
        with Gradient(LastLogits(model), composite=AttnLRP()) as attributor:
            logits, gradient = attributor(embeddings, one_hot)
        relevance = (embeddings * gradient).sum(-1)[0]
        assert (logits[0] - torch.tensor(recorded["logits"])).abs().max() <= 1e-5
        assert (relevance - torch.tensor(case["relevance"])).abs().max() <= 1e-5

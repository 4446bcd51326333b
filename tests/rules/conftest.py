import pytest
import torch
from support.rule_oracles import NORM_MODULES
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


class GatedMLP(nn.Module):
    def __init__(self, size=6, width=10, act=None, bias=False):
        super().__init__()
        self.gate_proj = nn.Linear(size, width, bias=bias)
        self.up_proj = nn.Linear(size, width, bias=bias)
        self.act_fn = act or nn.SiLU()
        self.down_proj = nn.Linear(width, size, bias=bias)
        self.double()

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


@pytest.fixture
def gated_mlp():
    return GatedMLP


@pytest.fixture
def toy(gated_mlp):
    """A bias-free net of every kind of module but attention."""
    parts = nn.Linear(5, 6, bias=False), NORM_MODULES["rms_norm"](6), gated_mlp(), nn.ReLU()
    return nn.Sequential(*parts, nn.Linear(6, 3, bias=False)).double()


def llama_config(**options):
    plain = {
        "vocab_size": 40,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "pad_token_id": 0,
        "attn_implementation": "eager",
    }
    return LlamaConfig(**plain | options)


@pytest.fixture
def make_llama():
    """Build tiny Llamas with eager attention and lively weights."""

    def make(config=None, seed=0):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config or llama_config()).eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.normal_(0, 0.4) if parameter.dim() > 1 else parameter.uniform_(0.5, 1.5)
        return model

    return make


@pytest.fixture
def make_llama_config():
    return llama_config


@pytest.fixture
def llama(make_llama):
    return make_llama()


@pytest.fixture
def llama64(make_llama, float64_norms):
    return float64_norms(make_llama())


@pytest.fixture
def gradient():
    """The (modified) gradient of the largest last logit with respect to input embeddings."""

    def compute(model, length=7, target=5):
        ids = torch.arange(3, 3 + length)[None]
        embeddings = model.get_input_embeddings()(ids).detach().requires_grad_()
        logits = model(inputs_embeds=embeddings, use_cache=False).logits[0, -1]
        return torch.autograd.grad(logits[target], embeddings)[0]

    return compute

"""The hash of weights: another one after every change that PyTorch or a sample shows."""

import hashlib

import pytest
import torch
from torch import nn

from lime_xai.storage.weights import weights_hash


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3).bfloat16())


def oracle(model):
    """The same hash, in the plainest way."""
    data = b""
    for name, tensor in sorted(model.state_dict().items()):
        data += f"{name}{tuple(tensor.shape)}".encode() + bytes(
            tensor.contiguous().flatten().view(torch.uint8).tolist()
        )
    return hashlib.sha256(data).hexdigest()


def in_place(model):
    model[0].weight.mul_(2)


def through_data(model):
    model[0].weight.data += 1


def exchanged(model):
    model[0].weight = nn.Parameter(torch.ones(7, 5))


def buffer(model):
    model[1].running_mean.add_(1)


def converted(model):
    model.half()


def transposed(model):
    model[0].weight.data = torch.arange(35.0).reshape(5, 7).T


@pytest.mark.parametrize("change", [in_place, through_data, exchanged, buffer, converted, transposed])
@pytest.mark.parametrize("inference", [False, True])
def test_the_hash_follows_every_change(change, inference):
    with torch.inference_mode(inference), torch.no_grad():
        model = make()
        before = weights_hash(model)
        assert before == oracle(model) == weights_hash(model) == weights_hash(make())
        change(model)
        assert weights_hash(model) == oracle(model) != before


def test_inference_tensors_are_read_at_every_call():
    with torch.inference_mode():
        model = make()
        before = weights_hash(model)
        model[0].weight[3, 2] += 1  # none of the sampled values
        assert weights_hash(model) == oracle(model) != before

"""The hash of weights: another one after every change that PyTorch or a sample shows."""

import hashlib
import warnings

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


# Weights that are no ordinary tensors --------------------------------------------------------------------------------


def two(seed):
    """A layer whose weight is of a subclass that holds two tensors, as quantised weights are."""
    from torch.testing._internal.two_tensor import TwoTensor

    layer, generator = nn.Linear(5, 7), torch.Generator().manual_seed(seed)
    parts = [torch.randn(7, 5, generator=generator) for _ in range(2)]
    layer.weight = nn.Parameter(TwoTensor(*parts))
    layer.bias.data.zero_()
    return nn.Sequential(layer)


def dynamic(seed):
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(5, 7)), {nn.Linear}, dtype=torch.qint8)


def per_channel(seed):
    model, generator = nn.Module(), torch.Generator().manual_seed(seed)
    exact = torch.randn(3, 4, generator=generator)
    model.register_buffer("held", torch.quantize_per_channel(exact, torch.ones(3) / 9, torch.zeros(3), 0, torch.qint8))
    return model


@pytest.mark.parametrize("build", [two, dynamic, per_channel])
def test_quantised_weights_have_a_hash(build):
    assert weights_hash(build(0)) == weights_hash(build(0)) != weights_hash(build(1))


def test_a_change_inside_a_subclass_is_noticed():
    model = two(0)
    before = weights_hash(model)
    assert weights_hash(model) == before
    with torch.no_grad():
        model[0].weight.b[0, 0] += 1
    assert weights_hash(model) != before


def test_a_weight_that_cannot_be_read_is_named():
    class Closed(torch.Tensor):
        @staticmethod
        def __new__(cls, shape):
            return torch.Tensor._make_wrapper_subclass(cls, shape)

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            return args[0] if func is torch.ops.aten.detach.default else NotImplemented

    model = nn.Module()
    model.register_buffer("held", Closed((2, 3)))
    with pytest.raises(ValueError, match=r"The weight held is a Closed.*without this quantisation"):
        weights_hash(model)


@pytest.mark.parametrize("kind", ["parameter", "buffer"])
def test_weights_on_the_meta_device_are_refused(kind):
    model = make()
    if kind == "parameter":
        model[0].weight = nn.Parameter(model[0].weight.to("meta"))
    else:
        model[1].running_mean = model[1].running_mean.to("meta")
    with pytest.raises(ValueError, match=r"Sequential are on the meta device \(.*load them with from_pretrained"):
        weights_hash(model)
    model[0]._hf_hook = object()  # what accelerate leaves on a module
    with pytest.raises(ValueError, match=r"are offloaded \(.*load the model without offloading"):
        weights_hash(model)

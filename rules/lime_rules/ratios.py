"""The ratio of each rule, written once.

An identity rule lets all relevance of an output pass to the input of the same index. In gradient x input form
this is one factor, the *ratio*, ``output / input``, computed without dividing by the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attempts import attempt

ElementwiseRatio = Callable[[Tensor], Tensor]

ACTIVATION_RATIOS: dict[str, ElementwiseRatio] = {
    "silu": torch.sigmoid,
    "gelu": lambda x: 0.5 * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: torch.sigmoid(1.702 * x),
    "relu": lambda x: (x > 0).to(x.dtype),
    "relu_squared": torch.relu,
    "linear": torch.ones_like,
}
"""``act(x) / x`` in closed form, exact at 0, by the name of the activation."""


@dataclass(frozen=True)
class NormRatio:
    r"""A normalisation ``y = ratio * (x - centred * mean(x)) + bias`` over the last dimension.

    ``ratio = weight * rsqrt(mean(x**2) + eps)``, the mean of squares taken after centring.

    Parameters
    ----------
    centred : bool
        Whether the mean is removed (LayerNorm).
    offset : float or None
        The gain is ``offset + weight``; None: there is no weight.
    """

    centred: bool
    offset: float | None

    def gain(self, module: nn.Module, input: Tensor) -> Tensor:
        """Return ``weight * rsqrt(...)`` for ``input``, ``[..., D]``, in at least float32."""
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm_epsilon(module, input.dtype))
        if self.offset is None:
            return scale.expand_as(x)
        weight = module.get_parameter("weight").to(x.dtype)
        return scale * (weight + self.offset)

    def local(self, module: nn.Module, input: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient of the input: the scale is held fixed, the centring is differentiated."""
        out = grad.to(torch.promote_types(grad.dtype, torch.float32)) * self.gain(module, input)
        if self.centred:
            out = out - out.mean(-1, keepdim=True)
        return out.to(input.dtype)

    def jvp(self, module: nn.Module, input: Tensor, tangent: Tensor) -> Tensor:
        """Return the tangent of the output for one of the input: the adjoint of ``local``."""
        out = tangent.to(torch.promote_types(tangent.dtype, torch.float32))
        if self.centred:
            out = out - out.mean(-1, keepdim=True)
        return (out * self.gain(module, input)).to(tangent.dtype)

    def apply(self, module: nn.Module, input: Tensor) -> Tensor:
        """Return the normalisation itself, for comparison with what a module computes."""
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        gain = self.gain(module, input)
        out = gain * (x - x.mean(-1, keepdim=True) if self.centred else x)
        bias = getattr(module, "bias", None)
        return out if bias is None else out + bias.to(out.dtype)


NORM_RATIOS: dict[str, NormRatio] = {
    "rms_norm": NormRatio(centred=False, offset=0.0),
    "rms_norm_plus_one": NormRatio(centred=False, offset=1.0),
    "rms_norm_weightless": NormRatio(centred=False, offset=None),
    "layer_norm": NormRatio(centred=True, offset=0.0),
    "layer_norm_weightless": NormRatio(centred=True, offset=None),
}
"""The normalisations that are known, by name; modules are matched to them by what they compute."""


def norm_epsilon(module: nn.Module, dtype: torch.dtype) -> float:
    """Return the constant that a normalisation adds to the mean of squares of inputs of one dtype."""
    for name in ("variance_epsilon", "eps", "epsilon", "norm_eps"):
        value = getattr(module, name, None)
        if value is None and name in vars(module):  # torch.nn.RMSNorm(eps=None)
            return torch.finfo(dtype).eps
        if isinstance(value, int | float):
            return float(value)
    return 0.0


def match_activation(module: nn.Module) -> str | None:
    """Name the activation that a parameterless module computes.

    The module is called on a grid and compared with every known closed form, so that an unknown class
    is recognised by what it computes.

    Parameters
    ----------
    module : nn.Module
        Must be elementwise and hold no parameters.

    Returns
    -------
    str or None
        A key of ``ACTIVATION_RATIOS``; None if nothing fits.
    """
    grid = torch.linspace(-24, 24, 385, dtype=torch.float64).reshape(1, -1)  # far enough to see clipping
    output = _tried(module, grid)
    if output is None:
        return None
    for name, ratio in ACTIVATION_RATIOS.items():
        if torch.allclose(output, grid * ratio(grid), atol=1e-6, rtol=0):
            return name
    return None


def _tried(module: nn.Module, probe: Tensor) -> Tensor | None:
    """Return what a module makes of a tensor if it has the same shape, otherwise None.

    A module may expect another shape (pooling, convolution), or a second argument (a gated norm).
    """

    def run() -> object:
        with torch.no_grad():
            return module(probe)

    output = attempt(run, (RuntimeError, IndexError, TypeError, ValueError, AttributeError))
    return output if isinstance(output, Tensor) and output.shape == probe.shape else None


def _normalized_size(module: nn.Module) -> int:
    """Return the width that a normalisation without weight expects; most take any."""
    shape = getattr(module, "normalized_shape", ())
    return int(shape[-1]) if isinstance(shape, tuple | list) and shape else 16


def match_norm(module: nn.Module) -> str | None:
    """Name the normalisation that a module computes, found by calling it once on a fixed vector.

    Parameters
    ----------
    module : nn.Module
        Normalises over its last dimension; at most a one-dimensional ``weight`` and ``bias``.

    Returns
    -------
    str or None
        A key of ``NORM_RATIOS``; None if nothing fits.

    Raises
    ------
    ValueError
        If the weight is on the meta device: nothing can be computed there.
    """
    weight = getattr(module, "weight", None)
    size = weight.shape[-1] if isinstance(weight, Tensor) else _normalized_size(module)
    device = weight.device if isinstance(weight, Tensor) else torch.device("cpu")
    dtype = weight.dtype if isinstance(weight, Tensor) else torch.float32
    if device.type == "meta":
        raise ValueError(f"{type(module).__name__} has weights on the meta device; load the model before use.")
    probe = torch.cos(torch.arange(1, size + 1, device=device, dtype=torch.float32) ** 2) * 3 + 0.5
    probe = probe.to(dtype).reshape(1, 1, -1)
    output = _tried(module, probe)
    if output is None:
        return None
    output = output.float()
    tolerance = 1e-4 if dtype in (torch.float32, torch.float64) else 3e-2
    for name, ratio in NORM_RATIOS.items():
        if (ratio.offset is None) != (weight is None):
            continue
        expected = ratio.apply(module, probe).float()
        if (output - expected).norm() <= tolerance * expected.norm():
            return name
    return None

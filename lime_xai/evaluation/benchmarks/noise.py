"""Noise on the pixels that a processor returns, as visual contrastive decoding (VCD) has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lime_xai.evaluation.against import NOISE_STEP
from lime_xai.model.perception import signals


def check_noise(processor: Any, inputs: Mapping[str, Any]) -> None:
    """Refuse a processor on whose pixels noise cannot be put.

    Parameters
    ----------
    processor : object
        That made the inputs.
    inputs : mapping of str to object
        What the model is given for a prompt with pictures alone.

    Raises
    ------
    ValueError
        For no pixels as numbers, or frames in an unknown order.
    """
    _by_frames(processor, inputs)


def noisy_pixels(processor: Any, inputs: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    r"""Return the pixels of a prompt with noise.

    Pixels :math:`x` become :math:`\sqrt{\bar a} x + \sqrt{1 - \bar a} e`, with standard normal :math:`e` and
    :math:`\bar a` of ``kept_share``. A picture that the processor repeats in the frames of a patch, as that of Qwen2-VL
    does, has the same noise in each.

    Parameters
    ----------
    processor, inputs : object
        As ``check_noise`` takes them.
    seed : int
        Of the noise.

    Returns
    -------
    dict of str to Tensor
        Of the same names, shapes and dtypes as the pixels among the inputs.

    Raises
    ------
    ValueError
        As ``check_noise``.
    """
    generator = torch.Generator().manual_seed(seed)
    return {name: _noisy(pixels, shape, generator) for name, (pixels, shape) in _by_frames(processor, inputs).items()}


def kept_share(step: int = NOISE_STEP) -> float:
    r"""Return the share of variance that a picture keeps after some of 1,000 diffusion steps.

    :math:`\bar a_t = \prod_{s \le t} (1 - b_s)` with
    :math:`b_s = \sigma(-6 + 12 s / 999) (.005 - 10^{-5}) + 10^{-5}`, the schedule of visual contrastive decoding
    (Leng et al., CVPR 2024).

    Examples
    --------
    >>> round(kept_share(500), 2), round(kept_share(999), 2)
    (0.75, 0.08)
    """
    rates = torch.linspace(-6, 6, 1000, dtype=torch.float64).sigmoid() * (5e-3 - 1e-5) + 1e-5
    return float((1 - rates)[: step + 1].prod())


def _by_frames(processor: Any, inputs: Mapping[str, Any]) -> dict[str, tuple[Tensor, tuple[int, ...]]]:
    """Return the pixels of a prompt, each with its shape as ``_repeated`` returns it; refuse as ``check_noise``."""
    pixels, frames = signals(inputs), _frames(processor)
    if not pixels:
        raise ValueError(
            f"{type(processor).__name__} returns no pixels as numbers (found {', '.join(inputs)}); "
            "use contrast_nothing."
        )
    found = {}
    for name, values in pixels.items():
        shape = _repeated(values, frames)
        if shape is None:
            raise ValueError(
                f"{type(processor).__name__} makes patches of {frames} frames, and where a frame lies in {name} "
                f"{list(values.shape)} is not known; use contrast_nothing."
            )
        found[name] = (values, shape)
    return found


def _frames(processor: Any) -> int:
    """Return in how many frames of a patch a processor repeats a still picture."""
    frames: int = getattr(getattr(processor, "image_processor", None), "temporal_patch_size", 1)
    return frames


def _repeated(pixels: Tensor, frames: int) -> tuple[int, ...] | None:
    """Return the shape of pixels with the frames of a patch as the last axis but one; None if they are not repeated.

    In a patch colours lie before frames (Qwen2-VL), or frames before colours.
    """
    if frames == 1:
        return (*pixels.shape[:-1], 1, pixels.shape[-1])
    for colours in (3, 1):
        rest, left = divmod(pixels.shape[-1], colours * frames)
        shape = (*pixels.shape[:-1], colours, frames, rest)
        if not left and bool((split := pixels.reshape(shape)).eq(split[..., :1, :]).all()):
            return shape
    return None


def _noisy(pixels: Tensor, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return pixels with noise, the same in all frames of a patch."""
    kept = kept_share()
    noise = torch.randn((*shape[:-2], 1, shape[-1]), generator=generator, dtype=torch.float32)
    noise = noise.expand(shape).reshape(pixels.shape)
    mixed: Tensor = kept**0.5 * pixels.float() + (1 - kept) ** 0.5 * noise.to(pixels.device)
    return mixed.to(pixels.dtype)

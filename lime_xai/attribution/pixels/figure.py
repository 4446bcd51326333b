"""A figure of relevance of pixels: what the model was given beside its map, on one signed scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize

from lime_xai.attribution.sheet import OVERLAY, ShownFigure, fonts

from .maps import PixelMap

if TYPE_CHECKING:
    from .result import PixelAttribution

QUANTILE = 0.995
"""Of absolute relevance: its largest values are drawn in the colour of this one, so that the others are seen."""

MOST = 6
"""Most maps in a figure."""


def pixel_figure(found: PixelAttribution, title: str | None = None) -> ShownFigure:
    """Return the figure of ``PixelAttribution.plot``."""
    pairs = [
        (seen, relevance)
        for seen, relevance in zip(found.seen(), found.maps(), strict=True)
        if relevance.values is not None
    ]
    if not pairs:
        raise ValueError("; ".join(one.reason for one in found.maps()) + ": relevance has the shape of the input.")
    shown = pairs[:MOST]
    limit = max(float(np.quantile(np.abs(_array(one)), QUANTILE)) for _, one in shown) or 1.0
    figure = ShownFigure(figsize=(6.4, 2.9 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 2, squeeze=False)
    colours = _coloured(found)
    for index, ((left, right), (seen, relevance)) in enumerate(zip(grid, shown, strict=True)):
        if seen.kind == "picture" and colours is not None:
            left.imshow(colours[index])
            left.set_xticks([])
            left.set_yticks([])
        else:
            _draw(left, seen, "gray", None)
        _draw(right, relevance, OVERLAY, limit)
        left.set_title(f"{seen.kind} as the model received it", fontsize=9)
        right.set_title("relevance", fontsize=9)
    bar = figure.colorbar(ScalarMappable(Normalize(-limit, limit), OVERLAY), ax=grid[:, 1], extend="both", shrink=0.9)
    bar.set_label(f"relevance, to {QUANTILE:.1%}", fontsize=8)
    kept = {name: float(value.sum()) for name, value in found.conservation.items()}
    more = f"; {len(pairs) - MOST} maps more are not shown" if len(pairs) > MOST else ""
    about = f"{found.tokens.method}: tokens {kept['tokens']:.3g}, pixels {kept['inputs']:.3g} in all{more}"
    figure.suptitle(about if title is None else f"{title}\n{about}", fontsize=9, parse_math=False, family=fonts())
    figure.numbers = [_summary(index, one) for index, (_, one) in enumerate(shown)]
    return figure


def _summary(index: int, one: PixelMap) -> dict[str, Any]:
    """Return the numbers of a map; its pixels are too many for a table, ``PixelAttribution.save`` keeps them."""
    values = _array(one)
    strongest = np.unravel_index(np.abs(values).argmax(), values.shape)
    return {
        "map": index,
        "input": one.signal,
        "kind": one.kind,
        "shape": " x ".join(map(str, values.shape)),
        "relevance": float(values.sum(dtype=np.float64)),
        "strongest": float(values[strongest]),
        "at": ", ".join(str(int(place)) for place in strongest),
    }


def _coloured(found: PixelAttribution) -> Any:
    """Return pictures ``[N, H, W, 3]`` from 0 to 1 where the only input is made of them; otherwise None."""
    (value, *others) = found.inputs.values()
    if others or found.companions or value.dim() < 4 or value.shape[-3] != 3:
        return None
    pictures = value.float().cpu().flatten(0, -4).permute(0, 2, 3, 1)
    low, high = pictures.amin((1, 2, 3), keepdim=True), pictures.amax((1, 2, 3), keepdim=True)
    return ((pictures - low) / (high - low).clamp(min=1e-9)).numpy()


def _array(one: PixelMap) -> Any:
    if one.values is None:
        raise RuntimeError("An unknown map is not drawn.")
    values = one.values.float().cpu().numpy()
    return values.sum(0) if one.kind == "video" else values


def _draw(axes: Any, one: PixelMap, colours: str | Colormap, limit: float | None) -> None:
    """Draw a map; a video as the sum of its frames, a waveform as a strip."""
    values = _array(one)
    scale = {} if limit is None else {"vmin": -limit, "vmax": limit}
    if one.kind in ("spectrogram", "waveform"):
        axes.imshow(np.atleast_2d(values), cmap=colours, aspect="auto", origin="lower", **scale)
        axes.set_xlabel("frame" if one.kind == "spectrogram" else "sample", fontsize=8)
        axes.set_yticks([]) if one.kind == "waveform" else axes.set_ylabel("band", fontsize=8)
        return
    axes.imshow(values, cmap=colours, **scale)
    axes.set_xticks([])
    axes.set_yticks([])

"""``lime-xai attribute``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Audios, Device, Images, Model, Prompt, Threads, console, set_threads


def attribute(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    target: Annotated[str | None, typer.Option(help="Phrase to explain; by default the model's next token.")] = None,
    method: Annotated[
        str, typer.Option(help="attnlrp, cplrp, gradient_input or another name in lime_xai.METHODS.")
    ] = "attnlrp",
    out: Annotated[Path | None, typer.Option(help="PNG to write.")] = None,
    save: Annotated[Path | None, typer.Option(help="Safetensors file to write.")] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Show the relevance of each input token for an answer."""
    from lime_xai.attribution.attribute import attribute as attribute_model

    from .loading import load_model, make_inputs

    set_threads(threads)
    network, processor = load_model(model, device)
    inputs, pictures = make_inputs(processor, prompt, image or (), audio or ())
    found = attribute_model(network, inputs.to(network.device), target, method, per_token=False, processor=processor)
    said = processor.tokenizer.decode(found.target_ids[0])
    console.print(f"target {said!r}, logit {float(found.logits[0]):.3f}, residual {float(found.residual[0]):+.3f}")
    console.print("shares: " + ", ".join(f"{name} {float(value[0]):.3f}" for name, value in found.shares.items()))
    console.print(found.text())
    if out is not None:
        found.plot(image=pictures[0] if len(pictures) == 1 else None).savefig(out, dpi=150)
        console.print(f"picture: {out}")
    if save is not None:
        found.save(save)
        console.print(f"tensors: {save}")

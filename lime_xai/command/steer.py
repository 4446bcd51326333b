"""``lime-xai steer``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from .common import Audios, Device, Images, Model, Prompt, Threads, console, set_threads


def steer(
    model: Model,
    prompt: Prompt,
    image: Images = None,
    audio: Audios = None,
    policy: Annotated[str, typer.Option(help="Name, or JSON as policy_to_dict writes it.")] = "edit",
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 64,
    sample: Annotated[bool, typer.Option(help="Sample instead of taking the best token.")] = False,
    seed: Annotated[int, typer.Option(help="For sampling.")] = 0,
    trace: Annotated[bool, typer.Option(help="Print the trace, token by token.")] = False,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Answer a prompt with and without a policy."""
    import torch

    from lime_xai.generation.steer import steer as steer_model
    from lime_xai.policies.registry import as_policies, policy_from_dict

    from .loading import load_model, make_inputs

    set_threads(threads)
    chosen = policy_from_dict(_policy_json(policy)) if policy.lstrip().startswith("{") else as_policies(policy)[0]
    network, processor = load_model(model, device)
    inputs, _ = make_inputs(processor, prompt, image or (), audio or ())
    inputs = inputs.to(network.device)
    length = inputs["input_ids"].shape[1]
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "do_sample": sample}
    torch.manual_seed(seed)
    plain = network.generate(**inputs, **settings)
    torch.manual_seed(seed)
    output = steer_model(network, inputs, chosen, **settings)
    for name, sequence in (("plain", plain), ("steered", output.sequences)):
        console.print(
            f"[bold]{name}[/bold]: {processor.tokenizer.decode(sequence[0, length:], skip_special_tokens=True)}"
        )
    if trace:
        console.print(output.trace.table(tokenizer=processor.tokenizer))


def _policy_json(text: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--policy is no valid JSON ({error}); give a name or what policy_to_dict writes.") from error
    return data

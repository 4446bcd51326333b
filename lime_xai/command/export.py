"""``lime-xai export-custom-generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import console


def export_custom_generate(
    folder: Annotated[Path, typer.Argument(help="Gets README.md and custom_generate/; a model may be in it.")],
    policy: Annotated[
        str, typer.Option(help="Name, or JSON as policy_to_dict writes it; several separated by commas, in order.")
    ] = "edit",
) -> None:
    """Write a folder for generate(..., custom_generate=FOLDER, trust_remote_code=True) of transformers."""
    from lime_xai.generation.exported import export_custom_generate as export

    from .policies import read_policies, steering_choice

    chosen = steering_choice(read_policies(policy), str(folder), None)
    policies = [one for one in chosen.values() if one is not None]
    if not policies:
        raise typer.BadParameter("vanilla is generation as it is; name a policy.")
    for path in export(folder, policies):
        console.print(str(path), soft_wrap=True)

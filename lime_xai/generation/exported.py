"""A folder with which any user of transformers steers a model: ``generate(..., custom_generate=FOLDER)``.

transformers runs ``custom_generate/generate.py`` of a folder, or of a repository of a hub, in place of its own loop.
The file written here calls ``steered_generate`` with a policy whose settings it holds.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from string import Template

from lime_xai.policies.registry import PolicyLike, as_policies, policy_to_dict
from lime_xai.storage.store import write_text

_GENERATE = Template('''"""Generate under a policy of lime_xai ($names); written by lime-xai export-custom-generate."""

import json

import lime_xai

POLICY = json.loads(r"""$policies""")
"""The policies and their settings, used unless ``policy`` is given to ``generate``."""


def generate(model, policy=None, streamer=None, **arguments):
    """Do what ``model.generate`` does, with tokens decided by the policies.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only model in eval mode.
    policy : Policy, str, or a list of these, optional
        In place of ``POLICY``.
    streamer : BaseStreamer, optional
        Gets the tokens.
    **arguments
        What ``model.generate`` takes.
    """
    if policy is None:
        policy = [lime_xai.policy_from_dict(one) for one in POLICY]
    given = {name: value for name, value in arguments.items() if value is not None}  # generate names all it could take
    return model.generate(**given, policy=policy, token_streamer=streamer, custom_generate=lime_xai.steered_generate)
''')
_README = Template("""---
library_name: transformers
tags:
  - custom_generate
---

# Steering with lime_xai: $names

Tokens are decided by a policy of the Python package lime_xai, in greedy search, sampling and beam search:

```python
inputs = processor(images=image, text=prompt, return_tensors="pt")
model.generate(**inputs, custom_generate="PATH OR NAME OF THIS FOLDER", trust_remote_code=True, max_new_tokens=64)
```

`policy=` takes another policy of lime_xai or a name (`"contrast"`). The settings of this folder:

```json
$policies
```

It needs `$requirement`. Models that work: the page "Which models work" of lime_xai's documentation. A policy does not
make every model better: measure it on yours.
""")


def export_custom_generate(folder: Path, policy: PolicyLike = None) -> list[Path]:
    """Write a folder for ``generate(..., custom_generate=folder, trust_remote_code=True)``.

    Parameters
    ----------
    folder : Path
        Gets ``README.md``, ``custom_generate/generate.py`` and ``custom_generate/requirements.txt``. Other files in it
        stay, those of a model for example.
    policy : Policy, str, or a list of these, optional
        By default ``Edit()``.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    FileExistsError
        If one of the files exists; none is written then.
    ValueError
        For a policy class that lime_xai does not hold: whoever uses the folder could not make it.
    TypeError
        For a policy that cannot be written as JSON.
    """
    policies = as_policies(policy)
    foreign = [type(one) for one in policies if not type(one).__module__.startswith("lime_xai.")]
    if foreign:
        raise ValueError(
            f"{foreign[0].__name__} is defined in {foreign[0].__module__}, which users of the folder may lack; export "
            "a policy of lime_xai, or have them pass policy= to generate."
        )
    described = [policy_to_dict(one) for one in policies]
    requirement = f"lime_xai>={version('lime_xai')}"
    values = {
        "names": ", ".join(str(one["policy"]) for one in described),
        "policies": json.dumps(described, indent=2),
        "requirement": requirement,
    }
    texts = {
        folder / "README.md": _README.substitute(values),
        folder / "custom_generate" / "generate.py": _GENERATE.substitute(values),
        folder / "custom_generate" / "requirements.txt": f"{requirement}\n",
    }
    there = [str(path) for path in texts if path.exists()]
    if there:
        raise FileExistsError(f"{there[0]} is there already; give another folder, or delete it.")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return list(texts)

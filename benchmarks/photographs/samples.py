"""Photographs of the gallery: samples of scikit-learn and scikit-image that may be handed on.

Taken is every colour or grey photograph of a scene or a thing that lies in the wheels of the two and whose licence is
named there and permits it. Left out are pictures of textures, of a person's face, of microscopes and of telescopes.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

_CC_BY: Final = "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/)"
_CC0: Final = "CC0"
_FLICKR: Final = "https://www.flickr.com/photos"


@dataclass(frozen=True)
class Sample:
    """A photograph of others.

    Attributes
    ----------
    name : str
        Of the loader in ``skimage.data``, or of the file of scikit-learn without its ending.
    package : str
        That holds it: ``"scikit-learn"`` or ``"scikit-image"``.
    shows : str
        What a person sees, in words.
    objects : tuple of str
        Classes of ``catalogue.CLASSES`` that it shows; mostly none.
    author, licence : str
        In Markdown.
    """

    name: str
    package: str
    shows: str
    objects: tuple[str, ...]
    author: str
    licence: str


SAMPLES: Final = (
    Sample(
        "china",
        "scikit-learn",
        "a temple in China",
        (),
        f"[danielbuechele]({_FLICKR}/danielbuechele/6061409035/sizes/z/in/photostream/)",
        _CC_BY,
    ),
    Sample(
        "flower",
        "scikit-learn",
        "a flower",
        (),
        f"[vultilion]({_FLICKR}/vultilion/6056698931/sizes/z/in/photostream/)",
        _CC_BY,
    ),
    Sample("chelsea", "scikit-image", "a cat", (), "Stefan van der Walt", _CC0),
    Sample("coffee", "scikit-image", "a cup of coffee with a spoon", (), "Rachel Michetti, Pikolo Espresso Bar", _CC0),
    Sample("clock", "scikit-image", "a clock, blurred by motion", (), "Stefan van der Walt", "public domain"),
    Sample("camera", "scikit-image", "a man with a camera on a tripod", ("camera",), "Lav Varshney", _CC0),
    Sample("rocket", "scikit-image", "the launch of a rocket", (), "SpaceX", "public domain"),
)
"""What is shown is said by hand; whether a named object is there is counted by ``objects``."""


def check_packages() -> None:
    """Refuse to begin without the packages that hold the photographs.

    Raises
    ------
    ValueError
        Naming those that are missing.
    """
    modules = {"scikit-learn": "sklearn", "scikit-image": "skimage"}
    missing = [name for name, module in modules.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ValueError(
            f"the gallery shows photographs of {' and '.join(missing)}, which Python does not find here; "
            f"pip install {' '.join(missing)}"
        )


def photograph(sample: Sample) -> Image.Image:
    """Return a photograph, RGB; a grey one has three equal channels."""
    if sample.package == "scikit-learn":
        from sklearn.datasets import load_sample_image

        return Image.fromarray(np.asarray(load_sample_image(f"{sample.name}.jpg")))
    import skimage.data

    return Image.fromarray(np.asarray(getattr(skimage.data, sample.name)())).convert("RGB")

"""Cut-outs drawn in code, for tests of photographs without the stamps."""

import hashlib

import numpy as np

from benchmarks.photographs.catalogue import CLASSES, Catalogue, CutOut


def drawn_cutout(seed: int, width: int = 40, height: int = 52) -> CutOut:
    """Return an ellipse in random colours, with a soft edge and a hole."""
    rng = np.random.default_rng((91, seed))
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x - width / 2 + 0.5) / (width / 2), (y - height / 2 + 0.5) / (height / 2))
    alpha = np.clip((1 - radius) * 8, 0, 1) * np.clip((radius - 0.15) * 8, 0, 1)
    pixels = np.dstack([rng.integers(0, 256, (height, width, 3)), np.rint(alpha * 255)]).astype(np.uint8)
    return CutOut(f"drawn/{seed}.png", hashlib.sha256(pixels.tobytes()).hexdigest(), pixels)


def drawn_catalogue() -> Catalogue:
    """Return a catalogue of all classes, of which every third has two cut-outs; their shapes differ."""
    cutouts = [
        tuple(drawn_cutout(100 * index + one, 24 + 7 * (index % 5), 30 + 11 * (index % 4)) for one in range(count))
        for index, count in ((index, 2 if index % 3 == 0 else 1) for index in range(len(CLASSES)))
    ]
    return Catalogue(CLASSES, tuple(cutouts))

"""Calls about sounds: ``read_sound``, ``check_heard`` and ``split_sound``."""

from functools import cache

import numpy as np
import soundfile

import lime_xai
from lime_xai.worlds import bundled_model

from .draw import Call


@cache
def _processor():
    """Return the processor of the bundled model, which hears four seconds at 16 kHz."""
    return bundled_model("sound")[1]


def _drawn_samples(draw, longest=90_000):
    """Return samples, sometimes none, with two channels, of another type, or with what is no number."""
    count = draw.choice((0, 1, 700, 16_000, 64_000, longest))
    samples = np.random.default_rng(draw.number).uniform(-0.5, 0.5, count).astype(np.float32)
    kind = draw.choice(("plain",) * 5 + ("stereo", "float64", "int16", "nan"))
    draw.note(f"{count} samples, {kind}")
    if kind == "nan" and count:
        samples[count // 2] = np.nan
    changed = {
        "stereo": lambda: np.stack([samples, samples], 1),
        "float64": lambda: samples.astype(np.float64),
        "int16": lambda: (samples * 1000).astype(np.int16),
    }
    return changed.get(kind, lambda: samples)()


def read_sound(draw, folder):
    """``read_sound`` of files that are sounds or not, at rates that there are or not."""
    path = folder / f"{draw.number}.wav"
    kind = draw.choice(("sound",) * 5 + ("damaged", "none", "folder", "junk"))
    rate = draw.choice((8_000, 16_000, 22_050, 44_100))
    channels = draw.choice((1, 2))
    draw.note(f"path: {kind}, {rate} Hz, {channels} channels")
    count = draw.choice((0, 1, 4_000))
    if kind == "sound":
        samples = np.random.default_rng(draw.number).uniform(-0.5, 0.5, (count, channels)).astype(np.float32)
        soundfile.write(path, samples, rate)
    elif kind == "damaged":
        path.write_bytes(bytes(draw.randrange(256) for _ in range(80)))
    given = {"folder": folder, "junk": draw.junk()}.get(kind, path)
    wanted = draw.choice((16_000, 8_000, _processor(), draw.junk()))

    def run():
        return lime_xai.read_sound(given, wanted)

    def check(found):
        assert found.dtype == np.float32
        assert found.ndim == 1
        assert np.isfinite(found).all()
        if wanted in (8_000, 16_000):
            assert abs(len(found) - count * wanted / rate) <= 2

    return Call("read_sound", run, check)


def heard(draw):
    """``check_heard`` and ``split_sound`` of samples that a processor hears whole or not."""
    samples = draw.junk() if draw.chance(0.1) else _drawn_samples(draw)
    processor = draw.junk() if draw.chance(0.1) else _processor()
    split = draw.chance(0.5)
    draw.note("split" if split else "check")

    def run():
        return lime_xai.split_sound(samples, processor) if split else lime_xai.check_heard(processor, [samples])

    def check(found):
        if split:
            assert np.array_equal(np.concatenate(found), samples)
            assert lime_xai.check_heard(processor, found) == []
        else:
            assert found in ([], ["sound 0"])

    return Call("split_sound" if split else "check_heard", run, check)

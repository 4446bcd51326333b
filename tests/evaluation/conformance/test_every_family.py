"""Every family that transformers can build tiny: what works, what is refused, and that nothing fails unseen."""

import importlib.util
import inspect

import pytest
from support import (
    every_family,
    family_apart,
    family_audio,
    family_codes,
    family_documents,
    family_grids,
    family_patches,
    family_pictures,
    family_recurrent,
    family_speech,
    family_tiles,
    family_vision,
)
from support.every_family import EVERY_FAMILY, NOT_BUILT
from support.known_failures import KNOWN
from support.versions import RECORDED, built
from transformers.models.auto import modeling_auto

from benchmarks.conformance import PAGE, conformance_of, page, read_record, recorded, recorded_version
from lime_xai.evaluation.conformance.suite import all_checks

SUBSET = ("qwen3_vl", "video_llava_video", "qwen2_audio", "jamba", "idefics")
"""Deep visual features, a video, a sound, a state without a cache of keys, cross-attention."""

TIMM = {"fast_vlm", "perception_lm", "gemma3n", "gemma3n_audio"}
"""Their towers are timm's."""

MAPPINGS = ("IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SPEECH_SEQ_2_SEQ", "TEXT_TO_WAVEFORM")
BUILDERS = (
    family_apart,
    family_audio,
    family_codes,
    family_documents,
    family_grids,
    family_patches,
    family_pictures,
    family_recurrent,
    family_speech,
    family_tiles,
    family_vision,
)


def check_family(name):
    if name in TIMM and importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm")
    built(EVERY_FAMILY[name].build)
    found = conformance_of(EVERY_FAMILY[name])
    unknown = {feature: outcome.reason for feature, outcome in found.failed.items() if (name, feature) not in KNOWN}
    assert not unknown
    if RECORDED:
        assert {feature: recorded(outcome) for feature, outcome in found.outcomes.items()} == read_record()[name]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SUBSET)
def test_some_families_are_as_recorded(name):
    check_family(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in EVERY_FAMILY if name not in SUBSET])
def test_all_other_families_are_as_recorded(name):
    check_family(name)


def test_the_page_of_the_docs_says_what_was_recorded():
    assert PAGE.read_text() == page(read_record(), recorded_version())


def test_the_record_has_every_family_and_every_feature():
    record = read_record()
    assert list(record) == list(EVERY_FAMILY)
    assert all(list(row) == list(all_checks()) for row in record.values())


def test_known_failures_are_those_of_the_record():
    """A fault that was mended leaves the list."""
    record = read_record()
    failed = {
        (name, feature) for name, row in record.items() for feature, cell in row.items() if cell["status"] == "failed"
    }
    assert failed == set(KNOWN)
    assert all(KNOWN.values())


def test_every_class_that_transformers_lists_is_built_or_has_a_reason():
    listed = set()
    for name in MAPPINGS:
        for found in getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES").values():
            listed |= {found} if isinstance(found, str) else set(found)
    source = "".join(inspect.getsource(module) for module in BUILDERS)
    built = {name for name in listed if f"hf.{name}(" in source}
    assert len(built) >= 85  # transformers 5.17 lists 85 of them, later releases more
    assert listed - built <= set(NOT_BUILT)
    assert not built & set(NOT_BUILT)
    assert all(NOT_BUILT.values())
    assert every_family.FURTHER.keys().isdisjoint(every_family.FAMILIES)

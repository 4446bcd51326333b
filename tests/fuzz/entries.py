"""Every public entry, how often it is called, and the public names that each covers."""

import re
from functools import partial

import lime_xai

from . import of_commands, of_files, of_measurements, of_models, of_reports, of_sounds, of_values
from .draw import Draw

SHARES = (
    (of_reports.explain, 6, {"explain", "ExplainedAnswer", "ExplainedWord"}),
    (of_models.attribute_pixels, 4, {"attribute_pixels", "PixelAttribution"}),
    (of_models.attribute, 22, {"attribute", "Attribution", "AttributionMethod"}),
    (of_models.steer, 20, {"steer", "SteeringOutput", "Policy", "DecodingStep", "KVEditor"}),
    (of_models.steering, 10, {"steering", "SteeringTrace", "StepTrace"}),
    (of_models.steered_generate, 7, {"steered_generate"}),
    (of_models.routes, 6, {"routes", "Routes"}),
    (of_models.read_prompt, 6, {"read_prompt", "Prompt"}),
    (of_models.audit, 1, {"audit"}),
    (of_models.estimate_memory, 1, {"estimate_memory"}),
    (of_measurements.calibrate, 3, {"calibrate"}),
    (of_measurements.compare_attributions, 3, {"compare_attributions"}),
    (of_measurements.deletion_curves, 2, {"deletion_curves", "DeletionCurves"}),
    (of_values.settings, 6, set(of_values.SETTINGS)),
    (of_values.policy_from_dict, 2, {"policy_from_dict"}),
    (of_values.policy_to_dict, 1, {"policy_to_dict"}),
    (of_values.groups, 2, {"Groups"}),
    (of_values.example, 1, {"Example"}),
    (of_values.span, 1, {"Span"}),
    (of_values.objective, 1, {"RelevanceObjective"}),
    (of_values.register, 1, {"register_policy", "register_method", "register_layout"}),
    (of_values.composite, 1, {"AttnLRP", "CPLRP", "GradientInput", "EncoderLRP"}),
    (of_files.attribution, 1, {"Attribution"}),
    (of_files.attribution_methods, 1, {"Attribution"}),
    (of_files.calibration, 1, {"Calibration"}),
    (of_files.comparison, 1, {"Comparison"}),
    (of_sounds.read_sound, 1, {"read_sound"}),
    (of_sounds.heard, 1, {"check_heard", "split_sound"}),
    (of_commands.command, 2, set()),
)
"""A function that draws a call, its share in per cent, and the public names that it covers."""

COVERED = set().union(*(names for _, _, names in SHARES))
PUBLIC = {name for name in lime_xai.__all__ if callable(getattr(lime_xai, name))}

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""In the repr of an object; differs from run to run."""

_WITH_FILES = (of_measurements, of_files, of_sounds, of_commands)


def drawn_call(seed, number, folder):
    """Return call ``number`` of a campaign; it depends on nothing else."""
    draw = Draw(seed, number)
    make = draw.choices([one for one, _, _ in SHARES], [share for _, share, _ in SHARES])[0]
    without = (of_files.attribution_methods, of_sounds.heard)
    needs_folder = make.__module__ in {module.__name__ for module in _WITH_FILES} and make not in without
    call = (partial(make, folder=folder) if needs_folder else make)(draw)
    call.number, call.text = number, _ADDRESS.sub("", "; ".join(map(str, draw.noted)))
    return call

"""Draw ``docs/_static/architecture-*.png``: ``python docs/architecture_figure.py``."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

STATIC = Path(__file__).parent / "_static"

LAYERS = (
    ("integrations", "other evaluation engines"),
    ("command", "one file per command"),
    ("report   |   evaluation", "explain an answer   |   compare, measure"),
    ("generation   |   worlds", "hooks on generate   |   embedded worlds"),
    ("policies   |   attribution", "one file per policy   |   methods, targets, figures"),
    ("editing", "objective, deltas, editor"),
    ("decoding", "one step as data; Policy, Needs, trace"),
    ("stream   |   branches", "forward mode   |   contrastive branches"),
    ("model", "prompt, positions, cache, record, replay"),
    ("storage, values, errors", "resumable files, hash of weights; checks; messages"),
    ("lime_rules", "rules, composites, forward mode of the rules"),
)

ATTRIBUTE = (
    ("attribution/attribute.py", "look up the method"),
    ("model/prompt.py", "read the prompt: check, ids,\nattended, modalities"),
    ("attribution/targets.py", "read the target"),
    ("model/recording.py", "run generate up to the first decoder call\n(towers run here) and record its arguments"),
    ("attribution/methods/lrp.py", "replay the decoder with rules active,\ninputs as leaves of a graph"),
    ("lime_rules", "hooks replace local derivatives by ratios"),
    ("model/gradients.py", "backward pass; relevance =\ninput x gradient, summed over channels"),
    ("attribution/result.py", "Attribution: relevance, spans, shares,\nresidual, figures"),
)

STEER = (
    ("generation/steer.py", "read the prompt, merge the needs,\nregister hooks, call generate"),
    ("generation/session.py", "model pre-hook: check the call,\ngrow the state, fork the cache if needed"),
    ("model/replay.py", "decoder pre-hook: record the arguments"),
    ("model/extra_rows.py", "decoder pre-hook: add rows for a stream,\na branch or a fused first pass"),
    ("generation/extras.py", "model hook: take the extra rows out of the\noutput; compute separately what is missing"),
    ("decoding/step.py", "DecodingStep: logits, past, contributions,\nbranch logits, streams"),
    ("policies/", "every policy returns new logits\n(Edit: editing/editor.py)"),
    ("generation/session.py", "the last position's logits are replaced;\ngenerate picks the token"),
)


def draw_layers(axes: Axes) -> None:
    """Draw the packages, each of which imports only those below it."""
    for row, (name, what) in enumerate(LAYERS):
        _box(axes, row, len(LAYERS), name, what, "#e8eef7")
    axes.set_title("packages: imports point downwards only", fontsize=11)


def draw_steps(axes: Axes, title: str, steps: tuple[tuple[str, str], ...], repeated: range) -> None:
    """Draw the steps of a call from the top; those in ``repeated`` run once per token."""
    for row, (place, what) in enumerate(steps):
        _box(axes, row, len(steps), place, what, "#fdf3e1" if row in repeated else "#eaf5ea")
        if row:
            top = 1 - row / len(steps)
            axes.annotate("", (0.5, top - 0.012), (0.5, top + 0.012), arrowprops={"arrowstyle": "->", "color": "#555"})
    axes.set_title(title, fontsize=11)


def _box(axes: Axes, row: int, count: int, name: str, what: str, colour: str) -> None:
    height = 1 / count
    bottom = 1 - (row + 1) * height + 0.012
    rounded, size = "round,pad=0,rounding_size=0.015", height - 0.024
    axes.add_patch(FancyBboxPatch((0.02, bottom), 0.96, size, boxstyle=rounded, facecolor=colour, edgecolor="#777"))
    middle, centred = bottom + size / 2, {"ha": "center", "va": "center"}
    lines = what.count("\n") + 1
    axes.text(0.5, middle + 0.012 * lines, name, fontsize=9, family="monospace", weight="bold", **centred)
    axes.text(0.5, middle - 0.016, what, fontsize=8.5, **centred)


def main() -> None:
    """Draw and write both figures."""
    packages = Figure(figsize=(8, 6.5), layout="constrained")
    draw_layers(packages.subplots())
    calls = Figure(figsize=(9, 9), layout="constrained")
    left, right = calls.subplots(1, 2)
    draw_steps(left, "one call of attribute (LRP)", ATTRIBUTE, range(0))
    draw_steps(right, "one call of steer; yellow: once per token", STEER, range(1, len(STEER)))
    for figure, name in ((packages, "packages"), (calls, "calls")):
        for axes in figure.axes:
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1)
            axes.set_axis_off()
        figure.savefig(STATIC / f"architecture-{name}.png", dpi=160)


if __name__ == "__main__":
    main()

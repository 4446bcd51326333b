"""What the paper (LIME, arXiv 2605.01766) reports: cells of its tables, and its settings for each of its models.

Figures and settings are as a third-party note on the paper gives them (read on 25 November 2026), not checked against
the paper itself. All figures are percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lime_xai.editing.objective import RelevanceObjective
from lime_xai.errors import unknown_name
from lime_xai.policies.edit import Edit

from .scoring import ALL

SOURCE = "arXiv 2605.01766; figures as given in a third-party note, read on 25 November 2026"
"""Where the cells are from."""

NO_MODEL = "none"
"""Names that a model is none of the paper's."""


@dataclass(frozen=True)
class PaperModel:
    """A model of the paper, and the paper's setting for it.

    Attributes
    ----------
    name : str
        As in the paper.
    ids : tuple of str
        Its id on the hub in the format of transformers; without one, transformers has no class for it.
    shape : tuple of (str, int, int) or None
        ``model_type`` of its config, hidden size and layers of its text model; None: not a model of transformers.
    learning_rate, kl_weight : float
        Of the method, lambda being the latter.
    steps : int
        Of Adam, for each token.
    temperature : float
        Tau of the objective.
    """

    name: str
    ids: tuple[str, ...]
    shape: tuple[str, int, int] | None
    learning_rate: float = 3e-4
    kl_weight: float = 0.1
    steps: int = 7
    temperature: float = 0.1

    def policy(self) -> Edit:
        """Return the paper's setting for this model."""
        objective = RelevanceObjective("contrastive", self.temperature, self.kl_weight, target="argmax")
        return replace(Edit.paper(learning_rate=self.learning_rate), steps=self.steps, objective=objective)


MODELS = {
    model.name: model
    for model in (
        PaperModel("LLaVA-1.5-7B", ("llava-hf/llava-1.5-7b-hf",), ("llava", 4096, 32)),
        PaperModel("Qwen-VL-Chat", (), ("qwen", 4096, 32), learning_rate=4e-4),
        PaperModel("Qwen2.5-VL-7B", ("Qwen/Qwen2.5-VL-7B-Instruct",), ("qwen2_5_vl", 3584, 28)),
        PaperModel("SALMONN", (), None),
        PaperModel(
            "Qwen2-Audio-7B",
            ("Qwen/Qwen2-Audio-7B-Instruct",),
            ("qwen2_audio", 4096, 32),
            learning_rate=5e-4,
            kl_weight=7e-3,
        ),
    )
}
"""The paper's models by name."""


@dataclass(frozen=True)
class Cell:
    """A number of the paper.

    Attributes
    ----------
    table : str
        "T1", for example.
    model : str
        One of ``MODELS``.
    benchmark, group, measure : str
        As the protocol names them.
    row : str
        As the paper calls it: "regular" for the model alone, "LIME" for its method, else another method.
    value : float
        In percent.
    remark : str
        What the source leaves open.
    """

    table: str
    model: str
    benchmark: str
    group: str
    measure: str
    row: str
    value: float
    remark: str = ""


def _cells(
    place: tuple[str, str, str], columns: Sequence[tuple[str, str]], rows: dict[str, Sequence[float]], remark: str = ""
) -> list[Cell]:
    """Return the cells of rows; a place is table, benchmark and model, a column group and measure."""
    table, benchmark, model = place
    return [
        Cell(table, model, benchmark, group, measure, row, value, remark)
        for row, values in rows.items()
        for (group, measure), value in zip(columns, values, strict=True)
    ]


def _pairs(*groups: str) -> list[tuple[str, str]]:
    return [(group, measure) for group in groups for measure in ("accuracy", "f1")]


_SPLITS = _pairs("random", "popular", "adversarial")
_MEAN = _pairs(ALL)
_CAPTIONS = [("all", "chair_s"), ("all", "chair_i"), ("all", "recall")]
_SOUNDS = [("speech", "accuracy"), ("sound", "accuracy"), ("music", "accuracy")]
_UNNAMED = "the source does not say over which splits; taken as the mean of all"

CELLS: tuple[Cell, ...] = (
    *_cells(
        ("T1", "pope-coco", "LLaVA-1.5-7B"),
        [*_SPLITS, *_MEAN],
        {
            "regular": (83.49, 82.28, 79.98, 79.34, 76.03, 76.26, 79.83, 79.29),
            "LIME": (90.27, 89.75, 87.91, 87.85, 85.51, 84.52, 87.89, 87.37),
        },
    ),
    *_cells(
        ("T1", "pope-coco", "LLaVA-1.5-7B"),
        _MEAN,
        {
            "OPERA": (84.21, 83.55),
            "VCD": (82.27, 83.16),
            "ICD": (82.96, 81.56),
            "MemVR": (86.93, 85.88),
            "V-ITI": (87.00, 84.98),
        },
    ),
    *_cells(
        ("T2", "chair", "LLaVA-1.5-7B"),
        _CAPTIONS,
        {
            "regular": (52.0, 15.8, 75.2),
            "OPERA": (47.8, 14.6, 77.3),
            "VCD": (48.6, 14.9, 76.8),
            "MemVR": (46.6, 13.0, 80.8),
            "V-ITI": (46.1, 13.5, 80.4),
            "LIME": (42.7, 13.0, 72.0),
        },
    ),
    *_cells(("T2", "chair", "Qwen-VL-Chat"), _CAPTIONS, {"regular": (46.0, 12.5, 64.3), "LIME": (44.5, 12.0, 68.7)}),
    *_cells(("T2", "chair", "Qwen2.5-VL-7B"), _CAPTIONS, {"regular": (25.6, 9.1, 55.1), "LIME": (21.2, 8.2, 56.5)}),
    *_cells(
        ("T3a", "audio-hallucination", "SALMONN"),
        _SPLITS,
        {
            "regular": (53.91, 23.37, 49.32, 18.27, 50.31, 20.01),
            "AAD": (57.22, 36.74, 48.71, 18.78, 48.04, 17.42),
            "LIME": (56.88, 36.85, 53.12, 25.76, 54.35, 26.00),
        },
    ),
    *_cells(
        ("T3a", "audio-hallucination", "Qwen2-Audio-7B"),
        _SPLITS,
        {
            "regular": (56.19, 26.78, 51.34, 20.50, 50.13, 20.24),
            "AAD": (59.50, 31.62, 51.31, 12.09, 51.29, 11.43),
            "LIME": (63.36, 50.27, 57.53, 46.43, 53.10, 37.08),
        },
    ),
    *_cells(
        ("T3b", "air-bench-foundation", "SALMONN"),
        _SOUNDS,
        {"regular": (37.51, 33.58, 31.05), "AAD": (42.62, 34.56, 30.38), "LIME": (45.20, 36.90, 31.95)},
    ),
    *_cells(
        ("T3b", "air-bench-foundation", "Qwen2-Audio-7B"),
        _SOUNDS,
        {"regular": (57.56, 60.86, 55.89), "AAD": (60.00, 61.90, 57.43), "LIME": (66.10, 66.41, 56.25)},
    ),
    *_cells(("T7", "pope-coco", "Qwen-VL-Chat"), _MEAN, {"regular": (83.70, 81.70), "LIME": (87.25, 87.03)}),
    *_cells(("T7", "pope-coco", "Qwen2.5-VL-7B"), _MEAN, {"regular": (85.34, 83.25), "LIME": (86.40, 84.76)}),
    *_cells(("T7", "pope-aokvqa", "Qwen-VL-Chat"), _MEAN, {"regular": (83.93, 83.24), "LIME": (86.32, 86.17)}),
    *_cells(("T7", "pope-aokvqa", "Qwen2.5-VL-7B"), _MEAN, {"regular": (86.56, 85.48), "LIME": (87.80, 87.08)}),
    *_cells(
        ("T8", "pope-aokvqa", "LLaVA-1.5-7B"),
        _MEAN,
        {
            "regular": (79.13, 79.10),
            "MemVR": (86.21, 86.64),
            "V-ITI": (86.44, 86.37),
            "LIME": (87.33, 87.15),
        },
        _UNNAMED,
    ),
)
"""Every cell of the benchmarks that can be asked here."""


def cells_of(model: PaperModel | None, benchmark: str) -> list[Cell]:
    """Return the cells of a model and a benchmark; none for a model that is not the paper's."""
    return [cell for cell in CELLS if model is not None and (cell.model, cell.benchmark) == (model.name, benchmark)]


def named_model(name: str) -> PaperModel | None:
    """Return a model of the paper by its name, None for ``none``.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name == NO_MODEL:
        return None
    if name not in MODELS:
        raise unknown_name("model of the paper", name, [*MODELS, NO_MODEL])
    return MODELS[name]


def paper_model(name: str, config: Any) -> PaperModel | None:
    """Return which of the paper's models one is, by its id and its config; None if the paper has no such model.

    A config tells the class and the size, and not which weights they are. So it alone identifies no model.

    Parameters
    ----------
    name : str
        Id on the hub, or a folder with the last part of one as its name.
    config : PreTrainedConfig
        Of the model.

    Raises
    ------
    ValueError
        If only one of both, name and config, is that of a model of the paper.
    """
    text = config.get_text_config()
    shape = config.model_type, getattr(text, "hidden_size", None), getattr(text, "num_hidden_layers", None)
    found = f"{shape[0]} with a hidden size of {shape[1]} and {shape[2]} layers"
    advice = f"give --paper-model NAME ({', '.join([*MODELS, NO_MODEL])})"
    for model in MODELS.values():
        known = _is_named(name, model)
        if known and shape == model.shape:
            return model
        if known:
            raise ValueError(f"{name} is named like the paper's {model.name}, but its config is {found}; {advice}.")
        if shape == model.shape:
            raise ValueError(
                f"The config of {name} is {found}, as that of the paper's {model.name}, but other weights have it too "
                f"and the name is not {' or '.join(model.ids) or 'known'}; {advice}."
            )
    return None


def _is_named(name: str, model: PaperModel) -> bool:
    """Whether a name is the id of a model, or that of a folder with the last part of the id."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve().name.lower() in {one.rpartition("/")[2].lower() for one in model.ids}
    return name.lower() in {one.lower() for one in model.ids}

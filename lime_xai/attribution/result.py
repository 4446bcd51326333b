"""The result of an attribution: relevance with positions, target and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.text import Text
from torch import Tensor

from lime_xai.model.layouts.layout import Layout, unknown_layouts
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.modalities import Span
from lime_xai.model.records import Content
from lime_xai.storage.store import write_tensors, write_text
from lime_xai.values.checking import check_fields, check_row

from .files import KEY, OPTIONAL, TENSORS, check_shapes, check_target_tokens, described, read_parts
from .row import Explained, GridLike, RowRelevance
from .targets import Target
from .terminal import relevance_text
from .time import TimeRelevance

if TYPE_CHECKING:
    from .sheet import Columns, ShownFigure


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Content):
    r"""Relevance :math:`\Phi_i = e_i \cdot \nabla_{e_i} z` of every input token for a logit.

    Attributes
    ----------
    relevance : Tensor
        ``[B, T]`` float32, or ``[B, G, T]`` for an answer of ``G`` tokens. ``T`` counts the prompt and, for an
        answer, its tokens but the last. Zero on padding.
    input_ids : Tensor
        ``[B, T]``.
    target_ids : Tensor
        ``[B, G]`` (``G`` is 1 for a single token); -100 where an answer is shorter.
    logits : Tensor
        ``[B]`` or ``[B, G]`` float32: what was explained (for a margin, the difference; for a sum, the sum).
    attended : Tensor
        ``[B, T]`` bool.
    spans : list of list of Span
        Per row, in order: where image, video, audio and text tokens lie.
    shares : dict of str to Tensor
        Per modality, ``[B]`` or ``[B, G]``: its share of the absolute relevance.
    residual : Tensor
        ``[B]`` or ``[B, G]``: sum of relevance minus logit (biases and softmax absorb the rest). What it means for
        methods that are not LRP, the docstring of each class in ``lime_xai.attribution.methods`` says.
    method : str
        Name of the attribution method.
    tokens : list of list of str, or None
        Labels, if a processor was given: text tokens as they are decoded, others as the tokenizer writes them.
    convergence_delta : Tensor or None
        ``[B]`` or ``[B, G]`` float32: by how much the sum of relevance misses the one that the method has by
        definition, the change of the logit from the replaced prompt to the real one; Captum's name. Of integrated
        gradients and gradient SHAP; None for all others.
    layouts : list of list of Layout
        Per row, in order: how the tokens of every image, video and sound lie in it. By default unknown.
    received : list of list of Received
        Per row, aligned with ``layouts``: what the model received of each; figures draw maps on it. By default empty.
    targets : list of str
        Per row: what was explained, as text. By default the ids of the target.
    target_tokens : list of list of str, or None
        Per row, the tokens of ``target_ids`` as text, if a processor was given; empty text where an answer is shorter.
    against : list of str, or None
        Of a margin: per row, the token whose logit is subtracted, as text. Files that an earlier version wrote do not
        say it.

    Raises
    ------
    TypeError
        For values of another type.
    ValueError
        For shapes that do not belong together, and spans that leave the sequence.
    """

    relevance: Tensor
    input_ids: Tensor
    target_ids: Tensor
    logits: Tensor
    attended: Tensor
    spans: list[list[Span]]
    method: str
    tokens: list[list[str]] | None = None
    convergence_delta: Tensor | None = None
    layouts: list[list[Layout]] = field(default_factory=list)
    received: list[list[Received]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    target_tokens: list[list[str]] | None = None
    against: list[str] | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        found = {name: getattr(self, name) for name in (*TENSORS, *OPTIONAL) if getattr(self, name) is not None}
        check_shapes([[(s.modality, s.start, s.stop) for s in row] for row in self.spans], self.tokens, found)
        if not self.layouts:
            unknown = [unknown_layouts(row, "the attribution was made without layouts") for row in self.spans]
            object.__setattr__(self, "layouts", unknown)
        if len(self.layouts) != len(self.spans):
            raise ValueError(f"layouts has {len(self.layouts)} rows, spans {len(self.spans)}.")
        if self.against is not None and len(self.against) != len(self.spans):
            raise ValueError(f"against has {len(self.against)} rows, spans {len(self.spans)}.")
        check_target_tokens(self.target_tokens, self.target_ids)
        if not self.targets:
            object.__setattr__(self, "targets", Target(self.target_ids).texts() if self.target_ids.dim() == 2 else [])

    @property
    def residual(self) -> Tensor:
        """Sum of relevance minus logit, ``[B]`` or ``[B, G]``."""
        return self.relevance.sum(-1) - self.logits

    @property
    def shares(self) -> dict[str, Tensor]:
        """Share of the absolute relevance per modality, ``[B]`` or ``[B, G]``; they add up to 1."""
        weight = self.relevance.abs()
        total = weight.sum(-1).clamp(min=torch.finfo(weight.dtype).tiny)
        names = sorted({span.modality for row in self.spans for span in row})
        return {name: (weight * self._expanded(self.mask(name))).sum(-1) / total for name in names}

    def mask(self, modality: str) -> Tensor:
        """Return ``[B, T]``: the positions of a modality (``text`` included)."""
        mask = torch.zeros_like(self.attended)
        for row, found in enumerate(self.spans):
            for span in found:
                if span.modality == modality:
                    mask[row, span.start : span.stop] = True
        return mask

    def _expanded(self, mask: Tensor) -> Tensor:
        return mask[:, None] if self.relevance.dim() == 3 else mask

    def plot(
        self,
        row: int = 0,
        image: Any = None,
        grid: GridLike = None,
        title: str | None = None,
        *,
        columns: Columns = 2,
        events: Any = None,
    ) -> ShownFigure:
        """Return a figure of one row: maps on images and videos, sounds over time, text as bars.

        Maps are drawn on the pictures as the model received them, in grey. All maps have one scale; a line below gives
        the strongest token of each kind, so that a map that is small beside the text is known to be. Where a layout is
        unknown, the tokens are a strip in their order, and the figure says why. Of a long text, the tokens with the
        most relevance are drawn, with their neighbours.

        Parameters
        ----------
        row : int
            Of the batch.
        image : PIL.Image or array ``[H, W, 3]``, or a list of them, optional
            The picture, or one per image of the row, under its map in place of what the model received.
        grid : (int, int) or sequence of (int, int) or None, optional
            Rows and columns of the tokens of the only image, or of each, instead of its layout.
        title : str, optional
            Over the figure; by default it names what was explained.
        columns : int
            Columns of a page that the figure is as wide as: 1 (3.3 inches) or 2 (6.9 inches).
        events : mapping or sequence, optional
            What sounds when, in seconds (feature frames where seconds are not known), of the only sound:
            ``{"dog": (0.5, 1.2)}``, or ``[(0.5, 1.2, "dog"), ...]``; of several sounds, a list of these, None for a
            sound without. Their bounds are drawn; events that overlap have bars in lanes of their own.

        Returns
        -------
        ShownFigure
            A figure of matplotlib; ``save(path)`` also writes the numbers behind it as CSV.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit the row, and events that go on behind their sound.
        """
        from .figure import attribution_figure  # matplotlib is slow to import

        return attribution_figure(self.row(row), image, grid, title, columns=columns, events=events)

    def text(self, row: int = 0, width: int | None = None, grid: GridLike = None) -> Text:
        """Return one row for a terminal: maps as shaded cells, text tokens with their values.

        Parameters
        ----------
        row : int
            Of the batch.
        width : int, optional
            Columns that maps may take; by default those of the terminal.
        grid : (int, int) or sequence of (int, int) or None, optional
            As in ``plot``.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit the row.
        """
        return relevance_text(self.row(row), width, grid)

    def time(self, row: int = 0, sound: int = 0, *, duration: float | None = None) -> TimeRelevance:
        """Return the relevance of a sound over time, summed over the tokens of an answer.

        Parameters
        ----------
        row : int
            Of the batch.
        sound : int
            Which sound of the row, in order.
        duration : float, optional
            Of the sound in seconds. Needed where its tokens' seconds are not known: the family has no layout, or no
            processor was given (``attribute(..., processor=processor)``).

        Returns
        -------
        TimeRelevance
            Start, stop and relevance ``[N]`` per token; ``per_second`` and ``events`` sum it up.

        Raises
        ------
        ValueError, TypeError
            If the batch has no such row, the row no such sound, or seconds are not known.
        """
        return self.row(row).time(sound, duration)

    def to_html(self, path: str | Path | None = None, title: str | None = None, *, events: Any = None) -> str:
        """Return a page to click through, and write it if a path is given.

        One file that needs no network, with a section per row: maps on the pictures and sounds as the model received
        them, the text with its relevance, logit, residual and shares; of an answer ``[B, G, T]``, those of the token
        that is chosen. Probability, doubt and grounding are in the page of ``lime_xai.explain``.

        Parameters
        ----------
        path : str or Path, optional
            Where to write.
        title : str, optional
            By default what was explained.
        events : mapping or sequence, optional
            Bounds on the sounds, as in ``plot``; of a batch, a list of these, one per row, None for a row without.

        Raises
        ------
        ValueError
            If there is no such folder; for other events, before anything is written.
        """
        from .page.rows import attribution_page  # jinja2 is not needed otherwise

        page = attribution_page(self, title, events)
        if path is not None:
            write_text(path, page)
        return page

    def _repr_html_(self) -> str:
        from .page.rows import attribution_page
        from .page.template import embedded

        return embedded(attribution_page(self), "attribution")

    def row(self, index: int) -> RowRelevance:
        """Return one row of the batch, summed over the tokens of an answer.

        Raises
        ------
        TypeError, ValueError
            If the batch has no such row.
        """
        check_row(index, len(self.relevance))
        relevance = self.relevance[index]
        values = (relevance if relevance.dim() == 1 else relevance.sum(0)).float().cpu().numpy()
        labels = [str(token) for token in self.input_ids[index].tolist()] if self.tokens is None else self.tokens[index]
        return RowRelevance(
            values,
            self.spans[index],
            labels,
            self.layouts[index],
            self.received[index] if self.received else (),
            self._explained(index),
        )

    def _explained(self, index: int) -> Explained | None:
        if not self.targets:
            return None
        other = None if self.against is None else self.against[index]
        return Explained(self.targets[index], self.method, float(self.logits[index].sum()), other)

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file.

        Raises
        ------
        ValueError
            If there is no such folder.
        """
        description, tensors = described(self)
        write_tensors(path, tensors, KEY, description)

    @classmethod
    def load(cls, path: str | Path) -> Attribution:
        """Read what ``save`` wrote; in files of earlier versions, layouts are unknown and there are no pictures.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is a file of something else, or damaged.
        """
        return cls(**read_parts(path))

"""Whether relevance lies where the thing is: a region of an image, or, the same, a stretch of sound or video.

Only positions that stand for a part of an image, video or sound count (``TokenTask.located``).
"""

from __future__ import annotations

from torch import Tensor

from .scored import Scored


def pointing(scored: Scored) -> float:
    """Return 1 if the perceptual position of largest relevance lies in the true region, otherwise 0.

    Of equal ones each counts its share. Source: the pointing game, Zhang et al. 2018.
    """
    return hits(*_perceived(scored), count=1)


def mass(scored: Scored) -> float:
    r"""Return the share of positive relevance of the perceptual positions that lies in the true region :math:`T`.

    .. math:: \sum_{i \in T} \max(R_i, 0) \big/ \sum_i \max(R_i, 0)

    Zero if no perceptual position has positive relevance. Source: relevance mass accuracy, Arras et al. 2022.
    """
    return positive_share(*_perceived(scored))


def rank(scored: Scored) -> float:
    """Return the share of the ``k`` most relevant perceptual positions in the true region of ``k`` positions.

    Of equal ones each counts its share. Source: relevance rank accuracy, Arras et al. 2022.
    """
    relevance, truth = _perceived(scored)
    return hits(relevance, truth, count=int(truth.sum()))


def _perceived(scored: Scored) -> tuple[Tensor, Tensor]:
    """Return relevance, float64, and truth of the perceptual positions that lie somewhere, on the CPU."""
    located = scored.task.located.cpu()
    return scored.relevance.cpu().double()[located], scored.truth.cpu()[located]


def positive_share(relevance: Tensor, truth: Tensor) -> float:
    """Return the share of positive relevance ``[N]`` that lies where ``truth`` ``[N]`` is; 0 if nothing is positive."""
    positive = relevance.clamp(min=0)
    total = float(positive.sum())
    return float(positive[truth].sum()) / total if total > 0 else 0.0


def hits(relevance: Tensor, truth: Tensor, count: int) -> float:
    """Return the share of the ``count`` most relevant positions that are true, expected over orders of equal ones.

    ``relevance`` and ``truth`` are ``[N]``: of positions, or of pixels.
    """
    last = relevance.sort(descending=True).values[count - 1]
    above, equal = relevance > last, relevance == last
    left = count - int(above.sum())
    return (int(truth[above].sum()) + left * float(truth[equal].double().mean())) / count

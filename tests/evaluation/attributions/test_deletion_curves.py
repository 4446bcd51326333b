"""Curves behind delta_a, deletion and insertion: their areas are those metrics, and the figure shows them."""

import numpy as np
import pytest
import torch
from matplotlib.transforms import Bbox
from support.comparisons import example
from support.families import FAMILIES

import lime_xai
from lime_xai.evaluation.attributions.deletions import ORDERS
from lime_xai.evaluation.attributions.figure import comparison_figure
from lime_xai.evaluation.attributions.summary import Summary

METHODS = ("attnlrp", "gradient_input")


@pytest.fixture(scope="module")
def subject():
    return FAMILIES["llava"].build()[0], example("llava").inputs


@pytest.fixture(scope="module")
def found(subject):
    return lime_xai.deletion_curves(*subject, METHODS, target=(7, 9))


def test_their_areas_are_the_metrics_of_a_comparison(subject, found):
    metrics = ("delta_a", "deletion", "insertion")
    compared = lime_xai.compare_attributions(
        *subject, METHODS, metrics, target=(7, 9), replacement="deletion", progress=False
    )
    for method in METHODS:
        means = {metric: compared.summary[method][metric].mean for metric in metrics}
        probabilities = found.probabilities[method]
        assert found.areas[method] == pytest.approx(means["delta_a"], abs=1e-6)
        assert np.trapezoid(probabilities["most"], found.shares) == pytest.approx(means["deletion"], abs=1e-6)
        assert np.trapezoid(probabilities["inserted"], found.shares) == pytest.approx(means["insertion"], abs=1e-6)


def test_they_begin_with_the_whole_prompt_and_end_without(subject, found):
    model, inputs = subject
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1].double()
    whole = float(logits[7] - logits[9])
    for curves in found.values.values():
        assert curves["most"][0] == pytest.approx(whole, abs=1e-4)
        assert curves["least"][0] == pytest.approx(whole, abs=1e-4)
        assert curves["inserted"][-1] == pytest.approx(whole, abs=1e-4)
        assert curves["most"][-1] == curves["least"][-1] == curves["inserted"][0]
    assert found.target == "token 7 against token 9"


@pytest.mark.parametrize("columns", [1, 2])
def test_their_figure_has_every_curve_and_its_numbers(found, columns, tmp_path):
    figure = found.plot(columns=columns)
    drawn = [line for axes in figure.axes if axes.get_xlabel() for line in axes.lines]
    assert len(drawn) == 4 * len(METHODS)
    assert np.array_equal(drawn[0].get_ydata(), found.values["attnlrp"]["most"])
    figure.save(tmp_path / "curves.pdf")
    assert len((tmp_path / "curves.csv").read_text().splitlines()) == 1 + len(METHODS) * len(ORDERS) * len(found.shares)
    assert not any(text.get_parse_math() for text in figure.texts)


def test_several_prompts_or_tokens_are_refused(subject):
    model, inputs = subject
    two = {name: torch.cat([value, value]) for name, value in inputs.items()}
    with pytest.raises(ValueError, match="of one token of one prompt"):
        lime_xai.deletion_curves(model, two)
    with pytest.raises(ValueError, match="of one token of one prompt"):
        lime_xai.deletion_curves(model, inputs, target=[7, 9])


def test_numbers_of_points_that_lie_together_do_not_overlap():
    """Fifteen methods, several of equal cost and area, as in the study."""
    names = tuple(f"method {number}" for number in range(15))
    areas = [6.0, 5.4, 0.1, 4.2, 0.1, 5.3, 4.9, 6.4, 5.9, 7.8, 7.6, 4.6, 5.4, 0.7, 6.0]
    costs = [4, 3.8, 3.6, 3.4, 3.4, 20, 20, 14, 13, 290, 280, 2.7, 3.7, 2.7, 16]
    values = {
        name: {"delta_a": np.full(3, area), "passes": np.full(3, float(cost))}
        for name, area, cost in zip(names, areas, costs, strict=True)
    }
    figure = comparison_figure(Summary(names, ("delta_a", "passes"), (0, 1, 2), values))
    figure.canvas.draw()
    numbers = [text for axes in figure.axes for text in axes.texts]
    assert [text.get_text() for text in numbers] == [str(number) for number in range(1, 16)]
    boxes = [text.get_window_extent() for text in numbers]
    boxes = [Bbox.from_extents(b.x0 + 1, b.y0 + 1, b.x1 - 1, b.y1 - 1) for b in boxes]
    pairs = [(i, j) for i in range(15) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert pairs == []

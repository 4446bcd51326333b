"""Policies that keep what they see, and derivatives of objectives by finite differences."""

import torch

import lime_xai
from lime_xai import Needs, Policy


class Capture(Policy):
    """Keeps the steps it sees."""

    needs = Needs(past=True, history=True)

    def __init__(self):
        self.seen = []

    def step(self, step):
        self.seen.append(step)
        return step.logits


def captured_step(model, inputs, index):
    """Return the step of generated token number ``index``."""
    capture = Capture()
    with lime_xai.steering(model, capture):
        model.generate(**inputs, max_new_tokens=index + 1, min_new_tokens=index + 1, do_sample=False)
        return capture.seen[index]


def directional(editor, step, point, direction):
    """Return the loss gradient along a direction: analytic, and by central differences."""

    def loss(shift, differentiate):
        deltas = editor.zero_deltas(step)
        with torch.no_grad():
            for parameter, start, move in zip(deltas.tensors(), point, direction, strict=True):
                parameter.copy_(start + shift * move)
        return editor.evaluate(step, deltas, differentiate)

    analytic = sum((g.detach() * d).sum() for g, d in zip(loss(0.0, True).gradients, direction, strict=True))
    step_size = 1e-6
    ends = [loss(sign * step_size, False).loss.detach().sum() for sign in (1, -1)]
    return float(analytic), float((ends[0] - ends[1]) / (2 * step_size))

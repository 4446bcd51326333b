"""Attribution methods written once more, naively, on functions that know nothing of the library's replays."""

import itertools
import math

import numpy as np
import torch


class Row:
    """One prompt of a model as a function of its decoder's embeddings, by a hook on the plain model.

    Attributes
    ----------
    inputs : tuple of Tensor
        Embeddings ``[1, T, d]``, then deep visual features ``[1, N, d]``.
    visual : Tensor
        ``[N]`` positions of these.
    """

    def __init__(self, model, inputs):
        self.model, self.given = model, inputs
        seen = {}
        handle = model.get_decoder().register_forward_pre_hook(lambda m, a, k: seen.update(k), with_kwargs=True)
        try:
            with torch.no_grad():
                model(**inputs)
        finally:
            handle.remove()
        deep = seen.get("deepstack_visual_embeds") or []
        self.inputs = (seen["inputs_embeds"].detach(), *(item.detach()[None] for item in deep))
        self.visual = seen["visual_pos_masks"][0].nonzero()[:, 0] if deep else torch.zeros(0, dtype=torch.long)

    def logits(self, embeddings, *deep):
        """``[R, T, V]`` of ``R`` rows."""
        rows = embeddings.shape[0]
        repeated = {name: value.repeat(rows, *[1] * (value.dim() - 1)) for name, value in self.given.items()}

        def hook(module, args, kwargs):
            new = {**kwargs, "inputs_embeds": embeddings}
            if deep:
                new["deepstack_visual_embeds"] = [item.flatten(0, 1) for item in deep]
            return args, new

        handle = self.model.get_decoder().register_forward_pre_hook(hook, with_kwargs=True)
        try:
            return self.model(**repeated).logits
        finally:
            handle.remove()

    def logit(self, token):
        return lambda *inputs: self.logits(*inputs)[:, -1, token]

    def probability(self, token):
        return lambda *inputs: self.logits(*inputs)[:, -1].softmax(-1)[:, token]


def mean_replaced(row, image, ids):
    """Inputs in which positions of a group are the mean of image or text embeddings; all others as they are."""
    embeddings, *deep = row.inputs
    found = embeddings.clone()
    for position in range(embeddings.shape[1]):
        if ids[position] >= 0:
            found[0, position] = embeddings[0, image == image[position]].mean(0)
    return (found, *(item.mean(1, keepdim=True).expand_as(item).clone() for item in deep))


def feature_masks(row, ids):
    """Captum's masks: the shape of the inputs, contiguous; positions of no group count as group 0."""
    numbers = ids.clamp(min=0)
    whole = numbers[None, :, None].expand(1, -1, row.inputs[0].shape[2]).contiguous()
    return (whole, *(numbers[row.visual][None, :, None].expand_as(item).contiguous() for item in row.inputs[1:]))


def summed(row, attributions):
    """Captum's attributions per position."""
    total = attributions[0].detach()[0].sum(-1)
    for item in attributions[1:]:
        total[row.visual] += item.detach()[0].sum(-1)
    return total


def shared(attributions, ids):
    """What positions get of the value of their group, read off the embedding's attribution."""
    found = torch.zeros(len(ids), dtype=torch.float64)
    for group in range(int(ids.max()) + 1):
        members = (ids == group).nonzero()[:, 0]
        found[members] = attributions[0][0, members[0], 0].double() / len(members)
    return found


def game(function, row, start, ids):
    """The value of a set of groups, by its members."""
    known = {}

    def value(members):
        key = frozenset(members)
        if key not in known:
            kept = torch.tensor([int(g) < 0 or int(g) in key for g in ids])
            masks = (kept, *(kept[row.visual] for _ in row.inputs[1:]))
            mixed = [
                torch.where(m[None, :, None], new, old) for m, new, old in zip(masks, row.inputs, start, strict=True)
            ]
            with torch.no_grad():
                known[key] = float(function(*mixed))
        return known[key]

    return value


def ablation(value, count):
    return [value(range(count)) - value(set(range(count)) - {group}) for group in range(count)]


def occlusion(value, count, window, stride):
    """Windows as Captum lays them: the last may hang over the end."""
    total, hits = np.zeros(count), np.zeros(count)
    for step in range(math.ceil((count - window) / stride) + 1):
        members = [group for group in range(step * stride, step * stride + window) if group < count]
        total[members] += value(range(count)) - value(set(range(count)) - set(members))
        hits[members] += 1
    return (total / hits).tolist()


def shapley(value, count):
    """Exact, over all sets."""
    found = []
    for group in range(count):
        others = [g for g in range(count) if g != group]
        total = 0.0
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for members in itertools.combinations(others, size):
                total += weight * (value({*members, group}) - value(members))
        found.append(total)
    return found


def eagle(value, count):
    """Order of choice, and the objective after each choice."""
    order, objective = [], [value(())]
    everything = set(range(count))
    while len(order) < count:
        scores = {}
        for group in sorted(everything - set(order)):
            chosen = {*order, group}
            scores[group] = value(chosen) + value(everything) - value(everything - chosen)
        order.append(max(scores, key=scores.get))
        objective.append(scores[order[-1]])
    return order, objective


def rollout(attentions, position):
    """Abnar and Zuidema, by matrices: attentions ``[H, T, T]`` per layer."""
    total = torch.eye(attentions[0].shape[-1]).to(attentions[0])
    for weights in attentions:
        total = (weights.mean(0) + torch.eye(total.shape[0]).to(total)) / 2 @ total
    return total[position]


def gradient_rollout(attentions, gradients, position):
    """Chefer et al., by matrices."""
    identity = torch.eye(attentions[0].shape[-1]).to(attentions[0])
    total = identity
    for weights, gradient in zip(attentions, gradients, strict=True):
        total = total + (weights * gradient).clamp(min=0).mean(0) @ total
    return (total - identity)[position]


def token_activation(states, table, ids, image, token, last, window, sigma):
    """A token activation map in NumPy, position by position."""
    states, table, length = states.numpy(), table.numpy(), len(ids)
    activation = [float(states[i] @ table[token]) for i in range(length)]
    found = np.array([max(0.0, a) if i <= last and not image[i] else 0.0 for i, a in enumerate(activation)])
    context = [i for i in range(last + 1) if not image[i] and int(ids[i]) != token]
    weight = sum(max(0.0, activation[c]) for c in context)
    places = [i for i in range(length) if image[i]]
    noise = [
        sum(max(0.0, activation[c]) / weight * float(states[i] @ table[int(ids[c])]) for c in context) for i in places
    ]
    own = np.array([activation[i] for i in places])
    scale = max(0.0, float(np.linalg.lstsq(np.array(noise)[:, None], own, rcond=None)[0][0]))
    clean = np.maximum(0.0, own - scale * np.array(noise))
    side, half = math.isqrt(len(places)), window // 2
    padded = np.pad(clean.reshape(side, side), half, mode="edge")
    kernel = np.array([math.exp(-((rank - window**2 // 2) ** 2) / (2 * sigma**2)) for rank in range(window**2)])
    for index, place in enumerate(places):
        y, x = divmod(index, side)
        patch = np.sort(padded[y : y + window, x : x + window].flatten())
        found[place] = float((patch * kernel).sum() / kernel.sum())
    return found

"""Inputs of a prompt: valid ones, and each with one change."""

import torch
from support.families import PER_TOKEN
from transformers import BatchFeature, DynamicCache

import lime_xai

from .draw import NAN
from .models import subject


def drawn_inputs(draw, model, wrong=0.4):
    """Return inputs for a subject's model; a share of them is changed."""
    rows = draw.choices((1, 2, 3), (60, 30, 10))[0]
    inputs = {name: value.clone() for name, value in model.batches[rows].items()}
    if not draw.chance(wrong):
        return BatchFeature(inputs) if draw.chance(0.1) else inputs
    name = draw.choice(list(CHANGES))
    draw.note(f"inputs: {name}")
    return CHANGES[name](draw, model, inputs)


def features_of(inputs):
    """Return the names of what is perceived."""
    return [name for name in inputs if name not in PER_TOKEN]


def _with(**new):
    return lambda draw, model, inputs: inputs | {name: make(draw, inputs) for name, make in new.items()}


def _ids(change):
    return _with(input_ids=lambda draw, inputs: change(draw, inputs["input_ids"]))


def _mask(change):
    return _with(attention_mask=lambda draw, inputs: change(draw, inputs["attention_mask"]))


def _feature(change):
    def changed(draw, model, inputs):
        names = features_of(inputs)
        if not names:
            return inputs
        name = draw.choice(names)
        draw.note(name)
        found = change(draw, inputs[name])
        return {key: value for key, value in inputs.items() if key != name} | (
            {} if found is _DROPPED else {name: found}
        )

    return changed


_DROPPED = object()


def _set(ids, row, position, value):
    ids = ids.clone()
    ids[row, position] = value
    return ids


def _right_padded(draw, model, inputs):
    found = dict(inputs)
    for name in PER_TOKEN:
        if name in found:
            found[name] = torch.nn.functional.pad(found[name], (0, 3))
    return found


def _placeholders(change):
    """Turn a placeholder into text, or text into a placeholder."""

    def changed(draw, model, inputs):
        ids = inputs["input_ids"]
        most = ids[0].mode().values.item()
        places = (ids[0] == most).nonzero()[:, 0].tolist() if change == "fewer" else [ids.shape[1] - 2]
        return inputs | {"input_ids": _set(ids, 0, draw.choice(places), 7 if change == "fewer" else most)}

    return changed


def _without(*names):
    return lambda draw, model, inputs: {name: value for name, value in inputs.items() if name not in names}


def _embedded(draw, model, inputs):
    table = model.model.get_input_embeddings()
    with torch.no_grad():
        embeds = table(inputs["input_ids"].to(table.weight.device))
    kept = {} if draw.chance(0.5) else {"attention_mask": inputs["attention_mask"]}
    return {"inputs_embeds": embeds} | kept


def _long(draw, model, inputs):
    rows = inputs["input_ids"].shape[0]
    found = dict(inputs)
    for name in PER_TOKEN:
        if name in found:
            more = {"input_ids": draw.ids(rows, 90), "attention_mask": torch.ones(rows, 90, dtype=torch.long)}
            extra = more.get(name, torch.zeros(rows, 90, dtype=torch.long))
            found[name] = torch.cat([found[name], extra], 1)
    return found


def _earlier_cache(draw, model, inputs):
    cache = DynamicCache(config=model.model.config.get_text_config())
    if draw.chance(0.5) and model.variant == "usual":
        with torch.no_grad():
            model.model(**inputs, past_key_values=cache)
    return inputs | {"past_key_values": cache}


def _prompt(draw, model, inputs):
    return lime_xai.read_prompt(model.model, inputs) if model.variant not in ("training", "meta") else inputs


def _foreign_prompt(draw, model, inputs):
    other = subject("llava" if model.family.name != "llava" else "gemma3")
    return lime_xai.read_prompt(other.model, other.batches[1])


def _in_inference(draw, model, inputs):
    with torch.inference_mode():
        return {name: value.clone() for name, value in inputs.items()}


CHANGES = {
    "ids of int32": _ids(lambda draw, ids: ids.int()),
    "ids of float": _ids(lambda draw, ids: ids.float()),
    "ids of bool": _ids(lambda draw, ids: ids.bool()),
    "ids as list": _ids(lambda draw, ids: ids.tolist()),
    "ids as array": _ids(lambda draw, ids: ids.numpy()),
    "ids without batch": _ids(lambda draw, ids: ids[0]),
    "ids with another dimension": _ids(lambda draw, ids: ids[None]),
    "ids of no row": _ids(lambda draw, ids: ids[:0]),
    "ids of no token": _ids(lambda draw, ids: ids[:, :0]),
    "one id": _ids(lambda draw, ids: ids[:, -1:]),
    "ids without text": _ids(lambda draw, ids: ids[:, 4:8]),
    "an id out of range": _ids(lambda draw, ids: _set(ids, 0, -1, draw.choice((128, 10**6, 2**40)))),
    "a negative id": _ids(lambda draw, ids: _set(ids, 0, draw.randrange(ids.shape[1]), draw.choice((-1, -100)))),
    "ids repeated": _ids(lambda draw, ids: ids.repeat(2, 1)),
    "ids None": _ids(lambda draw, ids: None),
    "ids on meta": _ids(lambda draw, ids: ids.to("meta")),
    "ids not contiguous": _ids(lambda draw, ids: ids.repeat_interleave(2, 1)[:, ::2]),
    "padding at the end": _ids(lambda draw, ids: _set(ids, 0, -1, 0)),
    "junk ids": _ids(lambda draw, ids: draw.junk()),
    "no mask": _without("attention_mask"),
    "mask None": _mask(lambda draw, mask: None),
    "mask of zeros": _mask(lambda draw, mask: torch.zeros_like(mask)),
    "a row of the mask zero": _mask(lambda draw, mask: _set(mask, -1, slice(None), 0)),
    "mask of ones": _mask(lambda draw, mask: torch.ones_like(mask)),
    "mask of bool": _mask(lambda draw, mask: mask.bool()),
    "mask of float": _mask(lambda draw, mask: mask.float()),
    "mask of another length": _mask(lambda draw, mask: mask[:, 1:]),
    "mask longer": _mask(lambda draw, mask: torch.nn.functional.pad(mask, (3, 0), value=1)),
    "mask of another batch": _mask(lambda draw, mask: mask[:1].repeat(mask.shape[0] + 1, 1)),
    "mask as list": _mask(lambda draw, mask: mask.tolist()),
    "mask without batch": _mask(lambda draw, mask: mask[0]),
    "mask of four dimensions": _mask(lambda draw, mask: mask[:, None, None]),
    "mask with a hole": _mask(lambda draw, mask: _set(mask, 0, mask.shape[1] // 2, 0)),
    "mask with a hole at the end": _mask(lambda draw, mask: _set(mask, 0, -1, 0)),
    "mask of twos": _mask(lambda draw, mask: mask * 2),
    "mask of NaN": _mask(lambda draw, mask: mask.float() * NAN),
    "junk mask": _mask(lambda draw, mask: draw.junk()),
    "padded on the right": _right_padded,
    "a feature missing": _feature(lambda draw, value: _DROPPED),
    "a feature None": _feature(lambda draw, value: None),
    "a feature as list": _feature(lambda draw, value: value.tolist()),
    "a feature as array": _feature(lambda draw, value: value.float().cpu().numpy()),
    "a feature of NaN": _feature(lambda draw, value: value * NAN if value.is_floating_point() else value),
    "a feature of infinity": _feature(lambda draw, value: value + 1e38 * 10 if value.is_floating_point() else value),
    "a feature in float64": _feature(lambda draw, value: value.double()),
    "a feature in float16": _feature(lambda draw, value: value.half()),
    "a feature twice": _feature(lambda draw, value: torch.cat([value, value])),
    "a feature of no row": _feature(lambda draw, value: value[:0]),
    "a feature cut": _feature(lambda draw, value: value[..., :-1]),
    "a feature without a dimension": _feature(lambda draw, value: value[0]),
    "a feature on meta": _feature(lambda draw, value: value.to("meta")),
    "a feature with a gradient": _feature(lambda draw, value: value.requires_grad_(value.is_floating_point())),
    "a feature doubled": _feature(lambda draw, value: value * 2),
    "a junk feature": _feature(lambda draw, value: draw.junk()),
    "a placeholder less": _placeholders("fewer"),
    "a placeholder more": _placeholders("more"),
    "no token types": _without("token_type_ids", "mm_token_type_ids"),
    "no ids": _without("input_ids"),
    "no features": lambda draw, model, inputs: _without(*features_of(inputs))(draw, model, inputs),
    "embeddings in place of ids": _embedded,
    "embeddings beside ids": lambda draw, model, inputs: inputs | _embedded(draw, model, inputs),
    "an unknown key": lambda draw, model, inputs: inputs | {"nonsense": torch.ones(1, 3)},
    "a key that is no text": lambda draw, model, inputs: inputs | {3: torch.ones(1, 3)},
    "text among inputs": lambda draw, model, inputs: inputs | {"prompt": "what is it ?"},
    "position ids": lambda draw, model, inputs: (
        inputs | {"position_ids": torch.arange(inputs["input_ids"].shape[1]).expand_as(inputs["input_ids"])}
    ),
    "an earlier cache": _earlier_cache,
    "a junk cache": lambda draw, model, inputs: inputs | {"past_key_values": draw.junk()},
    "labels": lambda draw, model, inputs: inputs | {"labels": inputs["input_ids"].clone()},
    "a long prompt": _long,
    "made in inference mode": _in_inference,
    "read before": _prompt,
    "read for another model": _foreign_prompt,
    "everything on meta": lambda draw, model, inputs: {name: value.to("meta") for name, value in inputs.items()},
    "a list of pairs": lambda draw, model, inputs: list(inputs.items()),
    "nothing": lambda draw, model, inputs: {},
    "junk": lambda draw, model, inputs: draw.junk(),
}

"""Every argument of every public function refuses what is of another type, by name and before any compute."""

import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from support.families import FAMILIES
from support.words import numbered_tokenizer

import lime_xai
from lime_xai.attribution.methods.registry import method_from_dict, method_to_dict, register_method
from lime_xai.worlds.sound import build_processor

OBJECT = object()
TOKENIZER = numbered_tokenizer()
HEARING = build_processor()
SAMPLES = np.zeros(1600, np.float32)
NOT_BOOL = (None, 1, "yes", OBJECT)
NOT_TEXT = (None, 3, [1], True, OBJECT, torch.zeros(2))
NOT_MASK = ("image", 3, True, [1, 0], {"image": 3}, {1: torch.ones(1, 12)}, OBJECT)
NOT_PATH = (3, True, [1], OBJECT)
NOT_COUNT = (None, "3", 2.5, True, 0, -1, math.nan, [1], torch.tensor(3), 2**70, OBJECT)
NOT_INPUTS = (None, 3, True, "text", [1], torch.zeros(1, 3), OBJECT)
NOT_MODEL = (None, 3, "scene", torch.nn.Linear(2, 2), OBJECT)
NOT_POLICY = (3, True, 1.5, lime_xai.Edit, {"policy": "Edit"}, [3], torch.zeros(2), OBJECT)
NOT_METHOD = (None, 3, True, [1], lime_xai.AttnLRP, torch.zeros(2), OBJECT)
NOT_PROCESSOR = (3, True, "text", [1], OBJECT)
NOT_TARGET = (1.5, True, math.nan, 1j, OBJECT, torch.zeros(1), [None], [[1]], {}, b"")


def steered(model, policy=None, **kwargs):
    with lime_xai.steering(model, policy, **kwargs):
        pytest.fail("the context was entered")


FUNCTIONS = {
    "attribute": (
        lime_xai.attribute,
        ("model", "inputs"),
        {
            "model": NOT_MODEL,
            "inputs": NOT_INPUTS,
            "target": NOT_TARGET,
            "method": NOT_METHOD,
            "per_token": NOT_BOOL,
            "processor": NOT_PROCESSOR,
            "perceptual": NOT_MASK,
            "groups": (3, "words", True, [3], torch.zeros(12), OBJECT),
            "progress": NOT_BOOL,
        },
    ),
    "attribute_pixels": (
        lime_xai.attribute_pixels,
        ("model", "inputs"),
        {
            "model": NOT_MODEL,
            "inputs": NOT_INPUTS,
            "target": NOT_TARGET,
            "method": (*NOT_METHOD, "saliency"),
            "encoder": (3, True, [1], "attnlpr", lime_xai.AttnLRP, torch.zeros(2), OBJECT),
            "per_token": NOT_BOOL,
            "processor": NOT_PROCESSOR,
            "perceptual": NOT_MASK,
        },
    ),
    "explain": (
        lambda model, inputs, processor=TOKENIZER, **kwargs: lime_xai.explain(
            model, inputs, processor=processor, max_new_tokens=1, **kwargs
        ),
        ("model", "inputs"),
        {
            "model": NOT_MODEL,
            "inputs": NOT_INPUTS,
            "policy": NOT_POLICY,
            "processor": (None, *NOT_PROCESSOR),
            "answer": (1.5, True, OBJECT, [], "", torch.zeros(1), [None], [128], (3, 4, 5.5)),
            "against": (3, "w4", OBJECT),
            "method": NOT_METHOD,
            "perceptual": NOT_MASK,
            "compare": NOT_BOOL,
            "progress": NOT_BOOL,
        },
    ),
    "audit": (lime_xai.audit, ("model",), {"model": NOT_MODEL}),
    "read_prompt": (
        lime_xai.read_prompt,
        ("model", "inputs"),
        {"model": NOT_MODEL, "inputs": NOT_INPUTS, "processor": NOT_PROCESSOR, "perceptual": NOT_MASK},
    ),
    "routes": (
        lime_xai.routes,
        ("model", "inputs"),
        {
            "model": NOT_MODEL,
            "inputs": NOT_INPUTS,
            "continuation": (
                3,
                "text",
                [[1]],
                torch.zeros(1, 2),
                torch.zeros(2, dtype=torch.long),
                torch.zeros(2, 2, dtype=torch.long),
                torch.zeros(1, 0, dtype=torch.long),
                torch.tensor([[128]]),
                torch.tensor([[-1]]),
                OBJECT,
            ),
            "groups": (3, "image", [1], {}, {"image": 3}, {1: torch.ones(1, 12)}, OBJECT),
            "relevance": (*NOT_TEXT, "all"),
            "method": (*NOT_TEXT, "attnlpr"),
            "perceptual": NOT_MASK,
        },
    ),
    "steer": (
        lime_xai.steer,
        ("model", "inputs"),
        {"model": NOT_MODEL, "inputs": NOT_INPUTS, "policy": NOT_POLICY, "perceptual": NOT_MASK},
    ),
    "estimate_memory": (
        lime_xai.estimate_memory,
        ("model", "inputs"),
        {"model": NOT_MODEL, "inputs": NOT_INPUTS, "policy": NOT_POLICY, "max_new_tokens": NOT_COUNT},
    ),
    "steering": (steered, ("model",), {"model": NOT_MODEL, "policy": NOT_POLICY, "perceptual": NOT_MASK}),
    "steered_generate": (
        lambda model, **kwargs: lime_xai.steered_generate(model, torch.ones(1, 3, dtype=torch.long), **kwargs),
        ("model",),
        {"generation_config": (None, 3, {}, OBJECT), "perceptual": NOT_MASK},
    ),
    "calibrate": (
        lime_xai.calibrate,
        ("model", "prompts"),
        {
            "model": NOT_MODEL,
            "prompts": (None, 3, "text", {"input_ids": torch.ones(1, 3)}, torch.zeros(2), OBJECT, []),
            "relevance": (*NOT_TEXT, "all"),
            "direction": (*NOT_TEXT, "all"),
            "edit": (3, "edit", lime_xai.Edit, lime_xai.Contrast(), OBJECT),
            "gains": NOT_BOOL,
            "max_new_tokens": NOT_COUNT,
            "path": (*NOT_PATH, "/no/such/folder/file", "."),
            "progress": NOT_BOOL,
        },
    ),
    "compare_attributions": (
        lime_xai.compare_attributions,
        ("model", "inputs_or_dataset", "methods"),
        {
            "model": NOT_MODEL,
            "inputs_or_dataset": (None, 3, "text", [3], [None], OBJECT, []),
            "methods": (None, 3, [3], {}, [], {"a": 3}, {1: "attnlrp"}, OBJECT),
            "metrics": (3, [3], [], OBJECT),
            "target": NOT_TARGET,
            "truth": (3, "image", [1], torch.ones(1, 12), OBJECT),
            "processor": NOT_PROCESSOR,
            "replacement": (None, 3, [], [3], "means", OBJECT),
            "seed": (None, "0", 1.5, True, -1, 2**32, OBJECT),
            "rows_per_pass": NOT_COUNT,
            "out": (*NOT_PATH, "/no/such/folder/file", "."),
            "progress": (None, 1, "yes", OBJECT),
        },
    ),
    "deletion_curves": (
        lime_xai.deletion_curves,
        ("model", "inputs"),
        {
            "model": NOT_MODEL,
            "inputs": NOT_INPUTS,
            "methods": (None, 3, [3], {}, [], {"a": 3}, {1: "attnlrp"}, OBJECT),
            "target": NOT_TARGET,
            "processor": NOT_PROCESSOR,
            "replacement": (None, 3, [3], "means", OBJECT),
            "seed": (None, "0", 1.5, True, -1, 2**32, OBJECT),
            "rows_per_pass": NOT_COUNT,
        },
    ),
    "policy_from_dict": (lime_xai.policy_from_dict, (), {"data": (None, 3, "edit", [], {}, {"policy": 3}, OBJECT)}),
    "policy_to_dict": (lime_xai.policy_to_dict, (), {"policy": (None, 3, "edit", [], lime_xai.Edit, OBJECT)}),
    "method_from_dict": (method_from_dict, (), {"data": (None, 3, "tam", [], {}, {"method": 3}, OBJECT)}),
    "method_to_dict": (method_to_dict, (), {"method": (None, 3, "tam", [], lime_xai.AttnLRP, OBJECT)}),
    "register_method": (register_method, (), {"cls": (None, 3, "tam", object, dict)}),
    "register_policy": (lambda cls: lime_xai.register_policy("x")(cls), (), {"cls": (None, 3, "edit", object, dict)}),
    "register_layout": (
        lambda model_types=("x",), modality="image": lime_xai.register_layout(*model_types, modality=modality),
        (),
        {"model_types": ((3,), (None,), (), (OBJECT,)), "modality": (3, "smell", None)},
    ),
    "read_sound": (
        lambda path="a.wav", rate=16000: lime_xai.read_sound(path, rate),
        (),
        {"path": NOT_PATH, "rate": (None, "16000", 2.5, True, 0, -1, math.nan, [1], OBJECT)},
    ),
    "check_heard": (
        lambda processor=HEARING, sounds=(SAMPLES,), names=None: lime_xai.check_heard(processor, sounds, names),
        (),
        {
            "processor": (None, *NOT_PROCESSOR),
            "sounds": (None, 3, "a.wav", SAMPLES, [3], [SAMPLES[None]], [torch.zeros(9)], [SAMPLES.astype(int)]),
            "names": ("a", 3, [], ["a", "b"], OBJECT),
        },
    ),
    "split_sound": (
        lambda sound=SAMPLES, processor=HEARING: lime_xai.split_sound(sound, processor),
        (),
        {"sound": (None, 3, "a.wav", [0.0], SAMPLES[:0], SAMPLES[None]), "processor": (None, *NOT_PROCESSOR)},
    ),
    "register_policy name": (lime_xai.register_policy, (), {"name": (3, lime_xai.Edit, [], OBJECT)}),
}
CALLS = [
    pytest.param(name, argument, value, id=f"{name}.{argument}.{type(value).__name__}.{index}")
    for name, (_, _, arguments) in FUNCTIONS.items()
    for argument, values in arguments.items()
    for index, value in enumerate(values)
]
OTHER_WORDS = {
    "model": r"PreTrainedModel",
    "path": r"\bfolder\b",
    "out": r"\bfolder\b",
    "inputs_or_dataset": r"dataset|Example",
    "prompts": r"prompts",
    "data": r"[Pp]olicy|[Mm]ethod|mapping",
    "cls": r"dataclass",
    "methods": r"attribution method",
    "name": r"register_policy",
    "target": r"[Tt]arget",
    "sounds": r"\bsound is\b",
}
"""What the message says where the argument is better described than named."""


@pytest.fixture(scope="module")
def llava():
    return FAMILIES["llava"].build()[:2]


@contextmanager
def without_compute(model):
    """Context in which no module of the model may run."""
    ran = []
    handles = [
        module.register_forward_pre_hook(lambda module, args: ran.append(type(module).__name__))
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    assert ran == []


@pytest.mark.parametrize(("name", "argument", "value"), CALLS)
def test_an_argument_of_another_kind_is_refused_by_name_before_any_compute(name, argument, value, llava):
    model, inputs = llava
    function, needed, _ = FUNCTIONS[name]
    usual = {"model": model, "inputs": inputs, "prompts": [inputs], "inputs_or_dataset": inputs, "methods": "attnlrp"}
    arguments = {key: usual[key] for key in needed} | {argument: value}
    if name in ("calibrate", "compare_attributions"):
        arguments.setdefault("progress", False)
    words = rf"\b{argument}\b|{OTHER_WORDS.get(argument, '^$')}"
    with without_compute(model), pytest.raises((TypeError, ValueError), match=words) as error:
        function(**arguments)
    assert len(str(error.value)) < 1000


def test_every_public_function_is_in_the_table():
    functions = {name for name in lime_xai.__all__ if name[0].islower()}
    assert functions <= set(FUNCTIONS)

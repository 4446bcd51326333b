"""Places at which a fault is injected: each raises an error at the k-th call of one function."""

from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from unittest.mock import patch

import safetensors.torch
import torch
from transformers import AttentionInterface, LogitsProcessor, LogitsProcessorList, StoppingCriteria
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.cache_utils import Cache, DynamicLayer

import lime_rules.stream.engine
import lime_rules.stream.gated
from lime_rules.attention import IMPLEMENTATION
from lime_rules.operations import AUDIT_IMPLEMENTATION
from lime_rules.stream.attention import STREAM_IMPLEMENTATION
from lime_xai.branches.attention import BRANCH_IMPLEMENTATION
from lime_xai.evaluation.attributions.robustness import decoder_layers

from .calls import towers

PLACES = {}
"""Places by name: ``place(model, subject, fault)`` is a context that yields arguments for ``generate``."""


OWN = (IMPLEMENTATION, STREAM_IMPLEMENTATION, BRANCH_IMPLEMENTATION, AUDIT_IMPLEMENTATION)
"""Names of the attention functions that this package registers."""


class Fault:
    """Counts the calls of a place, and raises an error at one of them.

    Parameters
    ----------
    at : int or None
        Which call, from 1; None: none, they are only counted.
    kind : type
        Of the error.
    """

    def __init__(self, at=None, kind=RuntimeError):
        self.at, self.kind, self.calls, self.error = at, kind, 0, None

    def __call__(self):
        self.calls += 1
        if self.calls == self.at:
            self.error = self.kind("injected fault")
            raise self.error


def place(function):
    """Register a place under the name of its function."""
    PLACES[function.__name__] = contextmanager(function)
    return function


@contextmanager
def _raising(owner, name, fault, wanted=lambda first: True, at_end=False):
    """Let an attribute of a class or module raise, before or after it has done its work."""
    original = getattr(owner, name)

    @wraps(original)
    def called(*args, **kwargs):
        counted = wanted(args[0] if args else None)
        if counted and not at_end:
            fault()
        found = original(*args, **kwargs)
        if counted and at_end:
            fault()
        return found

    with patch.object(owner, name, called):
        yield


def _forward(modules, fault, at_end=False):
    """Let the forward method of some modules raise; it is replaced in their class, because instances are compared."""
    stack = ExitStack()
    for kind in {type(module) for module in modules}:
        stack.enter_context(
            _raising(kind, "forward", fault, lambda module: any(module is one for one in modules), at_end)
        )
    return stack


@place
def decoder(model, subject, fault):
    """The forward pass of the decoder begins."""
    with _forward([model.get_decoder()], fault):
        yield {}


@place
def decoder_end(model, subject, fault):
    """The forward pass of the decoder has ended: the cache is full."""
    with _forward([model.get_decoder()], fault, at_end=True):
        yield {}


@place
def tower(model, subject, fault):
    """The forward pass of the tower of images or sounds."""
    with _forward(towers(model), fault):
        yield {}


@place
def layer(model, subject, fault):
    """A decoder layer in the middle."""
    layers = decoder_layers(model.get_decoder())
    with _forward([layers[len(layers) // 2]], fault):
        yield {}


@place
def norm(model, subject, fault):
    """The last normalisation, which is also called alone to find out what it computes."""
    with _forward([model.get_decoder().norm], fault):
        yield {}


@place
def head(model, subject, fault):
    """The output embeddings, after the decoder."""
    with _forward([model.get_output_embeddings()], fault):
        yield {}


@place
def model_end(model, subject, fault):
    """The forward pass of the whole model has ended, before hooks see its output."""
    with _forward([model], fault, at_end=True):
        yield {}


@contextmanager
def _attention(fault, wanted):
    functions = AttentionInterface._global_mapping
    originals = {name: function for name, function in functions.items() if wanted(name)}
    functions.update({name: _counting(function, fault) for name, function in originals.items()})
    try:
        yield {}
    finally:
        functions.update(originals)


def _counting(function, fault):
    @wraps(function)
    def called(*args, **kwargs):
        fault()
        return function(*args, **kwargs)

    return called


@place
def attention(model, subject, fault):
    """The attention function of the plain model."""
    with _attention(fault, lambda name: name not in OWN):
        yield {}


@place
def attention_with_rules(model, subject, fault):
    """The attention functions that this package registers."""
    with _attention(fault, lambda name: name in OWN):
        yield {}


@place
def backward(model, subject, fault):
    """A backward pass begins."""
    with (
        _raising(torch.autograd, "grad", fault),
        _raising(torch.autograd, "backward", fault),
        _raising(torch.Tensor, "backward", fault),
    ):
        yield {}


@place
def inside_backward(model, subject, fault):
    """A backward pass runs: the gradient of a decoder layer's output has arrived."""
    middle = decoder_layers(model.get_decoder())[1]
    original = type(middle).forward

    @wraps(original)
    def forward(module, *args, **kwargs):
        found = original(module, *args, **kwargs)
        first = found[0] if isinstance(found, tuple) else found
        if module is middle and first.requires_grad:
            first.register_hook(lambda gradient: fault())
        return found

    with patch.object(type(middle), "forward", forward):
        yield {}


@place
def jvp(model, subject, fault):
    """The tangent of a module's output in the relevance stream."""
    modules = lime_rules.stream.engine, lime_rules.stream.gated
    with _raising(modules[0], "module_jvp", fault), _raising(modules[1], "module_jvp", fault):
        yield {}


@place
def optimiser(model, subject, fault):
    """A step of the optimiser begins."""
    with _raising(torch.optim.Adam, "step", fault):
        yield {}


@place
def optimiser_end(model, subject, fault):
    """A step of the optimiser has changed its parameters."""
    with _raising(torch.optim.Adam, "step", fault, at_end=True):
        yield {}


@place
def cache_update(model, subject, fault):
    """Keys and values are about to enter a cache."""
    with _raising(Cache, "update", fault):
        yield {}


@place
def cache_layer_end(model, subject, fault):
    """One layer of a cache holds its new keys and values, the next ones do not."""
    with _raising(DynamicLayer, "update", fault, at_end=True):
        yield {}


@place
def logits_processor(model, subject, fault):
    """A logits processor of the user's."""

    class Raising(LogitsProcessor):
        def __call__(self, input_ids, scores):
            fault()
            return scores

    yield {"logits_processor": LogitsProcessorList([Raising()])}


@place
def stopping_criteria(model, subject, fault):
    """A stopping criterion of the user's."""

    class Raising(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            fault()
            return torch.zeros(len(input_ids), dtype=torch.bool)

    yield {"stopping_criteria": [Raising()]}


class Streamer:
    """A streamer that does nothing but call what it was given."""

    def __init__(self, put=lambda: None, end=lambda: None):
        self._put, self._end = put, end

    def put(self, value):
        self._put()

    def end(self):
        self._end()


@place
def streamer_put(model, subject, fault):
    """A streamer gets a token."""
    yield {"streamer": Streamer(put=fault)}


@place
def streamer_end(model, subject, fault):
    """A streamer is told that the text is complete."""
    yield {"streamer": Streamer(end=fault)}


@place
def tokenizer(model, subject, fault):
    """The tokenizer encodes a phrase, or names tokens."""
    kind = type(subject.tokenizer)
    with _raising(Tokenizer, "__call__", fault), _raising(kind, "convert_ids_to_tokens", fault):
        yield {}


@place
def own_code(model, subject, fault):
    """The policy's ``step``, or the method's ``explain``."""
    with ExitStack() as stack:
        for owner, name in subject.own:
            stack.enter_context(_raising(owner, name, fault))
        yield {}


@place
def file_written(model, subject, fault):
    """A file is half written."""

    def half(path):
        Path(path).write_bytes(b"half of ")
        fault()

    text, tensors = Path.write_text, safetensors.torch.save_file

    def write_text(path, data, *args, **kwargs):
        half(path)
        return text(path, data, *args, **kwargs)

    def save_file(found, path, *args, **kwargs):
        half(path)
        return tensors(found, path, *args, **kwargs)

    with patch.object(Path, "write_text", write_text), patch.object(safetensors.torch, "save_file", save_file):
        yield {}


@place
def file_renamed(model, subject, fault):
    """A file is complete, and about to take the place of the old one."""
    with _raising(Path, "replace", fault):
        yield {}

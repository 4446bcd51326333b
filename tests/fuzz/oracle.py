"""Judging a call: it returns what is well formed or raises a documented error, and changes nothing."""

import dis
import re
import traceback
import warnings
from contextlib import ExitStack, nullcontext
from pathlib import Path

import torch
import transformers
from support.dtypes import default_dtype

import lime_rules
import lime_xai

from . import surroundings
from .draw import UsersError

DOCUMENTED = (ValueError, TypeError, NotImplementedError, FloatingPointError)
"""What docstrings name; errors of files and of a user's own policies are named by the calls that can meet them."""

_OWN_FOLDERS = tuple(str(Path(module.__file__).parent) for module in (lime_xai, lime_rules))
_TRANSFORMERS = str(Path(transformers.__file__).parent)
_SHORTEST = 12
"""Characters of a message that could say what was found."""
_SHOWN = ("threads", "default dtype", "registries", "attention functions", "hooks", "generation_config")
"""States that a message shows, before and after."""
_SIGNATURE = re.compile(
    r"unexpected keyword argument|missing \d+ required|multiple values for|must be strings|must be a mapping"
)
_RAISES = (dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"])


MODES = {
    "usual": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "enable_grad": torch.enable_grad,
    "default float64": lambda: default_dtype(torch.float64),
    "default bfloat16": lambda: default_dtype(torch.bfloat16),
}
"""Contexts in which users make calls."""


def judged(call):
    """Make a call and return its outcome: ``returned``, or ``refused: ...``, or ``the model's own: ...``.

    Raises
    ------
    AssertionError
        If the call breaks a promise.
    """
    torch.manual_seed(call.number % 2**31)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(MODES[call.mode]())
        before = _states(call)
        found, error = _made(call)
        _check_states(call, before, _states(call), error)
        if error is None:
            call.check(found)
            return call.outcome(found)
        return _refusal(call, error)


def _made(call):
    try:
        return call.run(), None
    except Exception as error:
        return None, error


def _states(call):
    states = {"the process": surroundings.of_process(), "the inputs": {"inputs": surroundings.of_inputs(call.inputs)}}
    if not call.samples:
        states["random numbers"] = surroundings.of_random_numbers()
    if call.subject is not None:
        states["the model"] = surroundings.of_model(call.subject)
        if not call.generates:
            states["what the model remembers"] = surroundings.of_memory(call.subject)
    return states


def _check_states(call, before, after, error):
    for what, state in before.items():
        changed = surroundings.differences(state, after[what])
        outcome = "returning" if error is None else f"{type(error).__name__}: {error}"
        known = {name: (state[name], after[what][name]) for name in changed if name in _SHOWN}
        assert not changed, f"{what} changed: {', '.join(changed)} {known or ''}; after {outcome}"


def _refusal(call, error):
    """Return the outcome of an error that is documented, or the model's own."""
    if isinstance(error, UsersError):
        return "the user's own: error of a policy, a streamer or a processor"
    reason = _fault(error, (*DOCUMENTED, *call.errors))
    if reason is None:
        return f"refused: {type(error).__name__}"
    if _is_models_own(call, error):
        return f"the model's own: {type(error).__name__}"
    text = "".join(traceback.format_exception(error)[-8:])
    raise AssertionError(f"{reason}\n{text}") from error


def _fault(error, documented):
    """Return why an error is none that a user can use, or None."""
    if not isinstance(error, documented):
        return f"{type(error).__name__} is not documented"
    last = error.__traceback__
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    if isinstance(error, TypeError) and _SIGNATURE.search(str(error)) and not _own_frames(error):
        return None  # Python itself refuses an unknown keyword, or a missing argument
    if not code.co_filename.startswith(_OWN_FOLDERS):
        return f"the error comes from {code.co_filename}, not from this package"
    if code.co_code[last.tb_lasti] not in _RAISES:
        return f"line {last.tb_lineno} of {code.co_filename} does not raise: it met what it did not expect"
    if len(str(error)) < _SHORTEST:
        return f"the message {str(error)!r} does not say what was found"
    return None


def _own_frames(error):
    names = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [name for name in names if name.startswith(_OWN_FOLDERS)]


def _is_models_own(call, error):
    """Whether the model's code raised it, and raises the same without this package."""
    if call.plain is None or not _through_the_model(error):
        return False
    if not _own_frames(error):
        return True  # generate refused its arguments before this package was called
    try:
        call.plain()
    except Exception as plain:
        return type(plain) is type(error)
    return False


def _through_the_model(error):
    """Whether the last frame that is of this package or of transformers is of transformers."""
    found = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    known = [name for name in found if name.startswith((*_OWN_FOLDERS, _TRANSFORMERS))]
    return bool(known) and known[-1].startswith(_TRANSFORMERS)

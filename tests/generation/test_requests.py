"""Other calls of a model while it is steered or attributed, from the same thread and from others."""

import threading

import pytest
import torch
from support.families import batch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer

import lime_xai
from lime_xai import POLICIES, LogitShift, Policy
from lime_xai.evaluation.conformance.state import model_state
from lime_xai.model.cache import CACHE_NAME, fork_cache

SETTINGS = {"max_new_tokens": 4, "do_sample": False}
STEERING = ["edit", "contrast", "reweight", "uniform_gain", "plausible", "observe"]


class Calls(BaseStreamer):
    """Calls a function when the third token arrives."""

    def __init__(self, function):
        self.function, self.count, self.result = function, 0, None

    def put(self, value):
        self.count += 1
        if self.count == 3:
            self.result = self.function()

    def end(self):
        pass


class Look(LogitsProcessor):
    """Calls a function at every token."""

    def __init__(self, function):
        self.function = function

    def __call__(self, input_ids, scores):
        self.function()
        return scores


class Inside(Policy):
    """Calls a function in its step."""

    def __init__(self, function):
        self.function = function

    def step(self, step):
        self.function()
        return step.logits


@pytest.fixture
def requests():
    model, _, (mine, other) = batch("llava", 2)
    model.generation_config.eos_token_id = None
    return model, mine, other


@pytest.mark.parametrize("name", STEERING)
def test_a_request_inside_a_steered_generation_runs_unsteered(name, requests):
    model, mine, other = requests
    plain = model.generate(**other, **SETTINGS)
    undisturbed = lime_xai.steer(model, mine, name, **SETTINGS).sequences
    before = model_state(model)
    streamer = Calls(lambda: model.generate(**other, **SETTINGS))
    output = lime_xai.steer(model, mine, name, streamer=streamer, **SETTINGS)
    assert torch.equal(streamer.result, plain)
    assert torch.equal(output.sequences, undisturbed)
    assert len(output.trace) == 4
    assert model_state(model) == before


def test_a_request_inside_a_shared_context_is_refused(requests):
    model, mine, other = requests
    streamer = Calls(lambda: model.generate(**other, **SETTINGS))
    with (
        lime_xai.steering(model, LogitShift({5: 9.0})),
        pytest.raises(ValueError, match="a second one begins; generate one after the other"),
    ):
        model.generate(**mine, streamer=streamer, **SETTINGS)
    assert "generate" not in vars(model)


@pytest.mark.parametrize("name", STEERING)
def test_guidance_runs_its_second_prompt_unsteered(name, requests):
    """The scores are guided logits: of the steered prompt, and of the model as it is."""
    model, mine, _ = requests
    negative = torch.tensor([[1, 5, 6, 7]])
    asked = {"max_new_tokens": 1, "do_sample": False, "return_dict_in_generate": True, "output_scores": True}
    steered = lime_xai.steer(model, mine, name, output_logits=True, **asked).generation.logits[0]
    with torch.no_grad():
        without = model(input_ids=negative).logits[:, -1].log_softmax(-1)
    found = lime_xai.steer(model, mine, name, guidance_scale=1.5, negative_prompt_ids=negative, **asked).generation
    wanted = 1.5 * (steered.log_softmax(-1) - without) + without
    kept = found.scores[0] > -torch.inf
    assert bool(kept.any())
    torch.testing.assert_close(found.scores[0][kept], wanted[kept], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["attribute", "routes", "audit", "compare", "steer", "recording"])
@pytest.mark.parametrize("place", ["context", "policy", "processor"])
def test_nothing_of_this_package_runs_inside_steering(kind, place, requests):
    model, mine, _ = requests
    prompt = lime_xai.read_prompt(model, mine)
    call = {
        "attribute": lambda: lime_xai.attribute(model, mine),
        "routes": lambda: lime_xai.routes(model, mine),
        "audit": lambda: lime_xai.audit(model),
        "compare": lambda: lime_xai.compare_attributions(model, mine, ["attnlrp"], target=7, progress=False),
        "steer": lambda: lime_xai.steer(model, mine, "plausible", **SETTINGS),
        "recording": prompt.recording,
    }[kind]
    before = model_state(model)
    traces = []

    def inside():
        if place == "context":
            with lime_xai.steering(model, "edit") as trace:
                traces.append(trace)
                call()
        elif place == "policy":
            lime_xai.steer(model, mine, Inside(call), **SETTINGS)
        else:
            lime_xai.steer(model, mine, "edit", logits_processor=LogitsProcessorList([Look(call)]), **SETTINGS)

    with pytest.raises(ValueError, match="is being steered already: the call is inside"):
        inside()
    assert [len(trace) for trace in traces] == [0] * len(traces)
    assert model_state(model) == before
    lime_xai.attribute(model, mine)


def in_threads(*functions):
    """Run functions at the same time; return their results, or raise the first error."""
    results, barrier = [None] * len(functions), threading.Barrier(len(functions))

    def run(index):
        barrier.wait()
        try:
            results[index] = functions[index]()
        except BaseException as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


@pytest.mark.parametrize("name", ["edit", "contrast", "reweight", "logit_shift"])
def test_threads_take_turns(name, requests):
    """Attribution, steering and plain generation of one model at the same time give what each gives alone."""
    model, mine, other = requests
    policy = LogitShift({17: 500.0}) if name == "logit_shift" else POLICIES[name]()
    calls = (
        lambda: lime_xai.attribute(model, mine, [5, 9]).relevance,
        lambda: lime_xai.steer(model, mine, policy, **SETTINGS).sequences,
        lambda: model.generate(**other, **SETTINGS),
        lambda: lime_xai.attribute(model, other, 7, "saliency").relevance,
    )
    alone = [call() for call in calls]
    before = model_state(model)
    for _ in range(3):
        together = in_threads(*calls)
        for one, two in zip(alone, together, strict=True):
            torch.testing.assert_close(two, one)
        assert model_state(model) == before


def test_two_models_are_steered_at_the_same_time():
    (one, first, _), (two, second, _) = batch("llava", 1), batch("llava", 1)
    started = threading.Barrier(2, timeout=60)

    def run(model, inputs):
        """Both are inside their generation before either goes on."""
        streamer = Calls(started.wait)
        return lime_xai.steer(model, inputs, "edit", streamer=streamer, **SETTINGS).sequences

    alone = lime_xai.steer(one, first, "edit", **SETTINGS).sequences
    for found in in_threads(lambda: run(one, first), lambda: run(two, second)):
        assert torch.equal(found, alone)


def test_a_generation_may_run_in_another_thread_than_the_context(requests):
    """As with TextIteratorStreamer."""
    model, mine, _ = requests
    alone = lime_xai.steer(model, mine, "edit", **SETTINGS).sequences
    with lime_xai.steering(model, "edit") as trace:
        (found,) = in_threads(lambda: model.generate(**mine, **SETTINGS))
        with pytest.raises(ValueError, match=r"by steering\(\) in another thread"):
            in_threads(lambda: lime_xai.attribute(model, mine))
    assert torch.equal(found, alone)
    assert len(trace) == 4


def test_another_thread_calls_the_model_inside_a_shared_context(requests):
    model, mine, other = requests
    errors = []

    def call():
        try:
            in_threads(lambda: model(**other))
        except ValueError as error:
            errors.append(str(error))

    with lime_xai.steering(model, "edit"):
        model.generate(**mine, streamer=Calls(call), **SETTINGS)
    assert len(errors) == 1
    assert "another thread calls it" in errors[0]


def test_tokens_that_are_decided_without_the_policies_are_an_error(requests):
    """A model that goes on with another cache object than the one that steering saw."""
    model, mine, _ = requests
    calls = []

    def exchange(module, args, kwargs):
        calls.append(None)
        if len(calls) == 3:
            return args, {**kwargs, CACHE_NAME: fork_cache(kwargs[CACHE_NAME])}
        return None

    with (
        model.register_forward_pre_hook(exchange, with_kwargs=True),
        pytest.raises(RuntimeError, match="generate decided 4 tokens, the policies 2"),
    ):
        lime_xai.steer(model, mine, LogitShift({5: 1.0}), **SETTINGS)


def test_two_generations_of_one_context_do_not_begin_at_the_same_time(requests):
    model, mine, other = requests
    started, errors = threading.Event(), []

    def second():
        started.wait(60)
        try:
            model.generate(**other, **SETTINGS)
        except ValueError as error:
            errors.append(str(error))

    def first():
        streamer = Calls(lambda: (started.set(), thread.join(60)))
        return model.generate(**mine, streamer=streamer, **SETTINGS)

    thread = threading.Thread(target=second)
    with lime_xai.steering(model, LogitShift({5: 1.0})) as trace:
        thread.start()
        first()
    assert len(errors) == 1
    assert "a second one begins" in errors[0]
    assert len(trace) == 4

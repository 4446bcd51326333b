"""The hooks that turn each step of ``generate`` into a ``DecodingStep``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from lime_xai.branches.branch import Branch
from lime_xai.branches.counterfactual import Counterfactual
from lime_xai.decoding.policy import Policy, contribution_groups, merge_needs
from lime_xai.decoding.step import DecodingStep
from lime_xai.decoding.trace import SteeringTrace, StepTrace
from lime_xai.model.cache import cache_length, check_cache, detach_inference, fork_cache, given_cache
from lime_xai.model.checks import check_ids, check_padding
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.differentiable import check_gradient
from lime_xai.model.layouts.markers import marker_mask, marker_mask_of
from lime_xai.model.modalities import Modalities
from lime_xai.model.numbers import FiniteWatch
from lime_xai.model.positions import Perceptual, Positions, expanded, expanded_mask, read_positions
from lime_xai.model.prompt import Prompt
from lime_xai.model.replay import Replayer
from lime_xai.stream.engine import StreamState

from .checks import check_logits, check_modalities, check_perceptual
from .extras import SessionExtras
from .plausibility import plausible
from .requests import Requests
from .state import TOKEN_TYPES, GenerationState


class Session:
    """Policies at work on one model.

    The needs of all policies are merged once. Then every call of the model inside ``attached`` is one step:

    1. ``_pre``, a pre-hook of the model: the call is checked. At a prompt a new ``GenerationState`` is made; later the
       state grows by one token. The cache is forked if some policy needs it.
    2. Hooks on the decoder record its arguments. If a stream, a branch or a first pass runs in this call, they extend
       it by extra rows (``stream``, ``branch``, ``first_pass``; ``SessionExtras``).
    3. ``_post``, a hook of the model: extra rows are taken out of the output. What did not run in the call runs in
       separate calls.
    4. A ``DecodingStep`` is made and every policy returns new logits, in order.
    5. The last position's logits in the model's output are replaced. generate continues with them.
    6. ``_ended``, after the call: what it has set is put back, also after an exception of any kind.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    policies : sequence of Policy
        Applied in order; idle ones are dropped, and without any left generation runs untouched.
    prompt : Prompt, optional
        If it was read before; the attention mask is always that of the call.
    perceptual : Tensor or mapping, optional
        Otherwise the user's mask of the prompt.
    owner : int, optional
        The thread whose generation is steered (``Requests``).
    counterfactual : Counterfactual, optional
        For a contrast with it.

    Raises
    ------
    ValueError
        If the policies cannot work together (``merge_needs``).
    """

    def __init__(
        self,
        replayer: Replayer,
        policies: Sequence[Policy],
        prompt: Prompt | None = None,
        perceptual: Perceptual = None,
        owner: int | None = None,
        counterfactual: Counterfactual | None = None,
    ) -> None:
        self.replayer, self.model = replayer, replayer.model
        self.policies = [policy for policy in policies if not policy.idle]
        self.needs = merge_needs(self.policies)
        self._groups = contribution_groups(self.policies)
        self.trace = SteeringTrace()
        self.finite = FiniteWatch()
        self.requests = Requests(replayer, self.needs.plausibility, owner)
        self._prompt, self._perceptual, self._counterfactual = prompt, perceptual, counterfactual
        self._stack = ExitStack()
        self.extras = SessionExtras(replayer, self.needs, self._groups, self._stack, counterfactual)
        self.state: GenerationState | None = None
        # Of the call that is running:
        self._at_prompt = True
        self._past: Cache | None = None
        self._calls: list[DecoderCall] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Context in which the hooks are on the model."""
        if not self.policies:
            yield
            return
        handles = [
            self.model.register_forward_pre_hook(self._pre, with_kwargs=True),
            self.model.register_forward_hook(self._post, with_kwargs=True),
        ]
        try:
            # The recording hook is registered before those of the extras: they extend a call that is recorded already.
            recording = self.replayer.recording(self._calls, wanted=lambda: not self.requests.is_other_call())
            with self.requests.attached(self._ended), self._stack, recording:
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._release()

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Context of one steered generation that does not come through the model's ``generate``."""
        if not self.policies:
            yield
            return
        with self.requests.generation():
            yield

    def stream(self) -> tuple[StreamState, DecoderCall] | None:
        """Return the state of the stream for the call that is running.

        In the direct form a prompt runs without tangents, because the tangents of its slots are the slots themselves.
        """
        contributions = self.extras.contributions
        engine = None if contributions is None else contributions.engine
        if engine is None or self.state is None or self.state.stream is None:
            return None
        if self._at_prompt and engine.form == "direct":
            return None
        self.extras.prepare(engine)
        return self.state.stream, self._calls[-1]

    def branch(self) -> tuple[Branch, DecoderCall] | None:
        """Return the branch for the call that is running; at the prompt it runs separately."""
        if self._at_prompt or self.state is None or self.state.branch is None:
            return None
        return self.state.branch, self._calls[-1]

    def first_pass(self) -> tuple[StreamState, DecoderCall] | None:
        """Return the state of an edit's first pass for the call that is running; the prompt has none."""
        first = self.extras.first_pass
        if self._at_prompt or first is None or self.state is None or self._past is None:
            return None
        found = first.start(self._past, self.state.positions)
        return None if found is None else (found, self._calls[-1])

    def _release(self) -> None:
        if self.state is not None:
            self.state.leave_beams()
        self.state, self._past = None, None
        self._calls.clear()

    def _pre(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.requests.is_replay():
            return
        cache = given_cache(kwargs)
        if not self.requests.enter(cache, None if self.state is None else self.state.cache):
            return
        self.extras.close()
        self._calls.clear()
        check_cache(cache, self.model)
        ids = self._ids(args, kwargs)
        seen = cache_length(cache)
        wanted = kwargs.get("logits_to_keep")
        if isinstance(wanted, int) and wanted > 1:
            raise ValueError(
                f"The model was called for the logits of {wanted} positions; assisted decoding and prompt lookup "
                "cannot be steered: steering decides one token at a time."
            )
        self._at_prompt = seen == 0
        if self._at_prompt:
            self._begin(cache, ids, kwargs)
            return
        if self.state is None or cache is not self.state.cache:
            raise ValueError(
                f"Generation continues a cache of {seen} positions that steering did not run; give the whole prompt "
                "with an empty cache."
            )
        if ids.shape[1] != 1:
            raise ValueError(
                f"The model was called with {ids.shape[1]} tokens after the prompt; assisted decoding and chunked "
                "prefill cannot be steered."
            )
        self.state.grow(ids)
        self._past = fork_cache(cache) if self.needs.past or self.extras.needs_past else None

    def _ids(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if isinstance(ids, Tensor) and ids.numel():
            return ids
        embeds = kwargs.get("inputs_embeds")
        if not isinstance(embeds, Tensor):
            shape = tuple(ids.shape) if isinstance(ids, Tensor) else ids
            raise ValueError(f"input_ids has shape {shape}; expected [batch, tokens], neither of them zero.")
        if self._prompt is None and self._perceptual is None:
            raise ValueError("The prompt is given as inputs_embeds; pass perceptual= to say which positions count.")
        return torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)

    def _positions(self, ids: Tensor, kwargs: dict[str, Any]) -> Positions:
        """Return the positions of the prompt: those that were read before, or those of the call."""
        rows, mask = ids.shape[0], kwargs.get("attention_mask")
        if self._prompt is None:
            if kwargs.get("inputs_embeds") is None:
                check_ids(self.model, ids)
            found = read_positions(self.model.config, ids, mask, expanded(self._perceptual, rows))
            check_perceptual(self.model, found)
            check_padding(found.attended)
            return found
        given = self._prompt.positions
        if given.length != ids.shape[1]:
            raise ValueError(
                f"The model was called with {ids.shape[1]} of the prompt's {given.length} positions; chunked prefill "
                "cannot be steered."
            )
        found = given.repeated(rows).attending(self.model.config, mask)
        check_padding(found.attended)
        return found

    def _markers(self, positions: Positions, kwargs: dict[str, Any]) -> Tensor:
        """Return which text of the prompt ``[B, T]`` only marks what is perceived.

        Layouts are read from what ``generate`` was given; the model's call has encoded features in place of pixels.
        """
        config, processor = self.model.config, None
        inputs, base = self.requests.inputs, positions
        if self._prompt is not None:
            inputs, base, processor = self._prompt.inputs, self._prompt.positions, self._prompt.processor
        elif isinstance(inputs.get("input_ids"), Tensor):
            base = read_positions(config, inputs["input_ids"], inputs.get("attention_mask"), self._perceptual)
        else:
            inputs = kwargs
        named = None if self.needs.branch is None else self.needs.branch.modalities
        if named is None or torch.equal(base.group(named), base.perceptual):
            marks = marker_mask(config, inputs, base, processor)
        else:
            marks = marker_mask_of(config, inputs, base, named, processor)
        return expanded_mask(marks, positions.input_ids.shape[0])

    def _begin(self, cache: Cache, ids: Tensor, kwargs: dict[str, Any]) -> None:
        self._release()
        positions = self._positions(ids, kwargs)
        check_modalities(self.policies, positions)
        branch = self.needs.branch
        if self._counterfactual is not None:
            self._counterfactual.check(positions, None if branch is None else branch.modalities)
        types = {name: kwargs[name] for name in TOKEN_TYPES if isinstance(kwargs.get(name), Tensor)}
        self.state = state = GenerationState(cache, positions, [{} for _ in self.policies], types=types)
        if branch is not None and branch.name == "blind":
            state.markers = self._markers(positions, kwargs)
        self.extras.begin(self)
        if kwargs.get("inputs_embeds") is not None:
            self.extras.check_embeddings()
        contributions = self.extras.contributions
        if contributions is not None and contributions.engine is not None:
            state.stream = contributions.engine.start(torch.stack(contributions.masks(positions), 1))
        state.follow_beams()

    def _ended(self) -> None:
        self.extras.restore_mode()
        self.extras.close()

    def _post(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        steered = not self.requests.is_replay() and self.requests.in_steered_call and self.state is not None
        return self._steered(output) if steered else output

    def _steered(self, output: Any) -> Any:
        """Return the output of a steered call with the policies' logits at its last position."""
        contributions, branch, first_pass = self.extras.finish(output)
        # Tensors made under inference_mode cannot enter a graph; policies get ordinary ones.
        with torch.inference_mode(False):
            plain = detach_inference(output.logits[:, -1])
        self.finite.note(plain, first=self._at_prompt)
        step = self._step(plain, branch, first_pass)
        if contributions is None and self.extras.contributions is not None and self.state is not None:
            contributions = self.extras.contributions.compute_separately(self.state, step.call, step.stored_past)
        logits = self._decide(
            step, {} if contributions is None else dict(zip(self._groups, contributions, strict=True))
        )
        edited = output.logits.clone()
        edited[:, -1] = logits
        output.logits = edited
        return output

    def _step(self, plain: Tensor, branch: Tensor | None, first_pass: object | None) -> DecodingStep:
        state = self.state
        if state is None or not self._calls:
            raise RuntimeError(f"{type(self.replayer.decoder).__name__} was not called during the step.")
        call = self._calls[-1]
        self._calls.clear()
        if self._at_prompt and self.needs.derivatives:
            check_gradient(self.replayer, call)
        if self.needs.history:
            state.history.append(call)
        past, one = self._past, call
        if self._at_prompt and self.needs.prompt_past:
            past, one = self.replayer.past_of(call, state.cache), call.last_position(self.replayer.window)
        if branch is None:
            branch = self.extras.step_branch_separately(state, call if self._at_prompt else None, one, past)
        return DecodingStep(
            replayer=self.replayer,
            call=one,
            positions=state.positions,
            plain=plain,
            logits=plain,
            index=state.index,
            stored_past=past,
            history=state.history,
            replace_cache=self._replace_cache if self._at_prompt else None,
            streams=self.extras.streams(),
            branch=branch,
            first_pass=first_pass,
        )

    def _replace_cache(self, cache: Cache) -> None:
        if self.state is not None:
            # generate holds the cache object itself, so its layers are exchanged in place.
            self.state.cache.layers[:] = cache.layers

    def _decide(self, step: DecodingStep, contributions: Mapping[Modalities, Tensor]) -> Tensor:
        state = self.state
        if state is None:
            raise RuntimeError("No generation is running.")
        entry: StepTrace | None = None
        for policy, memory in zip(self.policies, state.memories, strict=True):
            need = policy.needs.contributions
            step.contributions = None if need is None else contributions.get(need.modalities)
            step.state = memory
            step.logits = check_logits(policy, policy.step(step), step.plain)
            found: StepTrace | None = memory.pop("trace", None)
            entry = entry if found is None else found.over(entry)
        masked = plausible(step.logits, step.plain, self.needs.plausibility)
        before, after = step.plain.argmax(-1), masked.argmax(-1)
        entry = StepTrace(state.index, before, after) if entry is None else replace(entry, token_after=after)
        self.finite.note_steered(step.logits, entry.numbers, first=self._at_prompt)
        self.trace.steps.append(entry)
        state.index += 1
        self.requests.steps += 1
        if self.requests.mask is None:
            return masked  # a loop of the user's own has no processors
        self.requests.mask.plain = step.plain
        return step.logits

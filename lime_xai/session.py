"""The hooks that turn each step of ``generate`` into a ``DecodingStep``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from .branch import Branch
from .cache import cache_length, check_cache, detach_inference, fork_cache, given_cache
from .calls import DecoderCall
from .checks import FiniteWatch, check_perceptual
from .engines import Engines
from .leading import Begun
from .modalities import modality_masks, repeated, union
from .progress import Progress
from .replay import Replayer
from .step import DecodingStep, Policy
from .streaming import Flow
from .trace import SteeringTrace, StepTrace


class Session:
    """Policies at work on one model.

    Parameters
    ----------
    model : PreTrainedModel
        Top-level model.
    policies : sequence of Policy
        Applied in order; idle ones are dropped, and without any left generation runs untouched.
    perceptual : Tensor or mapping, optional
        The user's mask of the prompt.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        policies: Sequence[Policy],
        perceptual: Tensor | Mapping[str, Tensor] | None = None,
    ) -> None:
        self.model = model
        self.policies = [policy for policy in policies if not policy.idle]
        self.perceptual = perceptual
        self.replayer = Replayer(model)
        self._stack = ExitStack()
        self.engines = Engines(self.replayer, self.policies, self._stack)
        branches = self.engines.branches
        self._keeps_past = any(getattr(policy, "needs_past", True) for policy in self.policies)
        # the exact stream needs no past, nor does a policy that only reads logits
        cut = self._keeps_past or (branches is not None and branches.kind.name == "slot")
        self._prompt_is_cut = cut or any(
            getattr(policy, "rewrites_cache", False) or getattr(policy, "stream", None) == "slot"
            for policy in self.policies
        )
        self.trace = SteeringTrace()
        self.progress: Progress | None = None
        self._before: Cache | None = None
        self._prompt = True
        self._owed: Tensor | None = None
        self._other: Tensor | None = None
        self._begun: Begun | None = None
        self._calls: list[DecoderCall] = []
        self.finite = FiniteWatch()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Context in which the hooks are on the model."""
        if not self.policies:
            yield
            return
        handles = [
            self.model.register_forward_pre_hook(self._pre, with_kwargs=True),
            self.model.register_forward_hook(self._post, with_kwargs=True, always_call=True),
        ]
        try:
            with self._stack, self.replayer.recording(self._calls):
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._release()

    def _streamed(self) -> tuple[Flow, DecoderCall] | None:
        """Return the flow of the call under way; the slot form lets a prompt run plain, whose slots own themselves."""
        engine = self.engines.owing.engine
        if engine is None or self.progress is None or self.progress.flow is None:
            return None
        if self._prompt and engine.form == "slot":
            return None
        self.engines.prepare(engine)
        return self.progress.flow, self._calls[-1]

    def _branching(self) -> tuple[Branch, DecoderCall] | None:
        """Return the branch that runs in the call under way; its prompt ran before."""
        if self._prompt or self.progress is None or self.progress.branch is None:
            return None
        return self.progress.branch, self._calls[-1]

    def _leading(self) -> tuple[Flow, DecoderCall] | None:
        """Return the flow in which an edit's first pass runs in the call under way; the first token has none."""
        leading, progress = self.engines.leading, self.progress
        if self._prompt or leading is None or progress is None or self._before is None:
            return None
        flow = leading.flow(self._before, progress.attended, progress.bos, progress.modalities)
        return None if flow is None else (flow, self._calls[-1])

    def _release(self) -> None:
        if self.progress is not None:
            self.progress.leave_beams()
        self.progress, self._before = None, None
        self._owed, self._other, self._begun = None, None, None
        self._calls.clear()

    def _pre(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.replayer.busy:
            return
        self.engines.close()
        self._calls.clear()
        cache = given_cache(kwargs)
        check_cache(cache)
        ids = self._ids(args, kwargs)
        seen = cache_length(cache)
        wanted = kwargs.get("logits_to_keep")
        if isinstance(wanted, int) and wanted > 1:
            raise ValueError(
                f"The model is asked for the logits of {wanted} positions at once; assisted decoding and prompt lookup "
                "cannot be steered, which decides one token at a time."
            )
        self._prompt = seen == 0
        if self._prompt:
            self._begin(cache, ids, kwargs)
            self._before = None
            return
        if self.progress is None or cache is not self.progress.cache:
            raise ValueError(
                f"Generation continues a cache of {seen} positions that steering has not seen; give the whole prompt "
                "with an empty cache."
            )
        if ids.shape[1] != 1:
            raise ValueError(
                f"The model was called with {ids.shape[1]} tokens after the prompt; assisted decoding and chunked "
                "prefill cannot be steered."
            )
        self.progress.grow()
        kept = self._keeps_past or self.engines.needs_past
        self._before = fork_cache(cache) if kept else None

    def _ids(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if isinstance(ids, Tensor) and ids.numel():
            return ids
        embeds = kwargs["inputs_embeds"]
        if self.perceptual is None:
            raise ValueError("The prompt is given as inputs_embeds; pass perceptual= to say which positions count.")
        return torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)

    def _begin(self, cache: Cache, ids: Tensor, kwargs: dict[str, Any]) -> None:
        self._release()
        masks = modality_masks(self.model.config, ids, repeated(self.perceptual, ids.shape[0]))
        check_perceptual(self.model, masks, ids.shape[0])
        given = kwargs.get("attention_mask")
        two = isinstance(given, Tensor) and given.dim() == 2
        attended = given[:, -ids.shape[1] :].bool() if two else torch.ones_like(ids).bool()  # type: ignore[index]
        token = getattr(self.model.config.get_text_config(), "bos_token_id", None)
        bos = (ids == token) & attended if isinstance(token, int) else torch.zeros_like(attended)
        self.progress = Progress(cache, masks, attended, bos, [{} for _ in self.policies])
        self.engines.begin(self._streamed, self._branching, self._leading)
        if kwargs.get("inputs_embeds") is not None:
            self.engines.check_embeddings()
        stream = self.engines.owing.engine
        if stream is not None:
            self.progress.flow = stream.start(union(masks, attended)[:, None])
        self.progress.follow_beams()

    def _post(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if self.replayer.busy or self.progress is None:
            return output
        if output is None:
            return self._failed()
        self._owed, self._other = self.engines.finish(output)
        self._begun = None if self.engines.leading is None else self.engines.leading.finish(output)
        with torch.inference_mode(False):
            plain = detach_inference(output.logits[:, -1])
        self.finite.note(plain, first=self._prompt)
        logits = self._decide(self._step(self._ids(args, kwargs), plain))
        self._begun = None  # with its graph
        edited = output.logits.clone()
        edited[:, -1] = logits
        output.logits = edited
        return output

    def _failed(self) -> None:
        """End a call of the model that raised an exception, in the grad mode that it was made in."""
        if self.engines.leading is not None:
            self.engines.leading.restore()
        self.engines.close()

    def _step(self, ids: Tensor, plain: Tensor) -> DecodingStep:
        progress = self.progress
        if progress is None or not self._calls:
            raise RuntimeError(f"{type(self.replayer.decoder).__name__} was not called during the step.")
        call = self._calls[-1]
        self._calls.clear()
        if any(policy.needs_history for policy in self.policies):
            progress.history.append(call)
        past, one = self._before, call
        if self._prompt and self._prompt_is_cut:
            past, one = self.replayer.past_of(call, progress.cache), call.last_position(self.replayer.window)
        if self._owed is None:
            self._owed = self.engines.owing.alone(progress, one, past)
        if self._other is None:
            self._other = self.engines.branch_alone(progress, call if self._prompt else None, one, past, ids)
        return DecodingStep(
            replayer=self.replayer,
            call=one,
            kept=past,
            plain=plain,
            logits=plain,
            modalities=progress.modalities,
            attended=progress.attended,
            bos=progress.bos,
            history=progress.history,
            input_ids=ids,
            index=progress.index,
            replace=self._replace if self._prompt else None,
            engines=self.engines.editing(),
            owed=self._owed,
            branch=self._other,
            begun=self._begun,
        )

    def _replace(self, cache: Cache) -> None:
        if self.progress is not None:
            self.progress.cache.layers[:] = cache.layers

    def _decide(self, step: DecodingStep) -> Tensor:
        progress = self.progress
        if progress is None:
            raise RuntimeError("No generation is under way.")
        entry: StepTrace | None = None
        for policy, state in zip(self.policies, progress.states, strict=True):
            step.state = state
            step.logits = policy.step(step)
            found: StepTrace | None = state.pop("trace", None)
            entry = entry if found is None else found.over(entry)
        before, after = step.plain.argmax(-1), step.logits.argmax(-1)
        entry = StepTrace(progress.index, before, after) if entry is None else replace(entry, token_after=after)
        self.trace.steps.append(entry)
        progress.index += 1
        return step.logits

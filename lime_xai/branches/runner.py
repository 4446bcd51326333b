"""Running a contrastive branch: in the model's own batch, or in separate calls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from lime_rules.attempts import attempt
from lime_rules.attention import ConfigSwap
from lime_rules.stream.cache import splitting_cache
from lime_xai.model.cache import CACHE_NAME, detach_inference, fork_cache, is_recurrent
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.exclusive import memory_kept
from lime_xai.model.extra_rows import ExtraRows
from lime_xai.model.modalities import placeholder_ids
from lime_xai.model.positions import Positions
from lime_xai.model.replay import Replayer

from .attention import BRANCH_ATTRIBUTE, BRANCH_IMPLEMENTATION, BranchSlots
from .branch import Branch, BranchKind
from .counterfactual import Counterfactual
from .removal import without_positions

_BATCHED: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()
"""Whether a branch may decode in a model's own batch, by model."""


class BranchRunner(ExtraRows[Branch]):
    """Runs the branch of generations of one model: its prompt, then token by token.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    kind : BranchKind
        What the branch perceives.
    counterfactual : Counterfactual, optional
        For the branch of this name.
    """

    def __init__(self, replayer: Replayer, kind: BranchKind, counterfactual: Counterfactual | None = None) -> None:
        super().__init__(replayer)
        self.kind, self._counterfactual = kind, counterfactual
        plain = not is_recurrent(replayer.config)
        sinks = any(hasattr(module, "sinks") for module in replayer.decoder.modules())
        self.batched = kind.batched and plain and not sinks
        # All config copies share this one list, so that the attention function finds the slots of the running call.
        self._slots: list[BranchSlots] = []
        self._swap = ConfigSwap(replayer.decoder, BRANCH_IMPLEMENTATION, {BRANCH_ATTRIBUTE: self._slots})

    def separate(self) -> None:
        """Decode in separate calls only, because something else adds rows to the model's calls."""
        self.batched = False

    def probe(self) -> None:
        """Test once per model whether model and branch decode in one batch; if not, warn and use separate calls."""
        model = self.replayer.model
        if not self.batched or _BATCHED.get(model, False):
            return
        refusal = attempt(self._probe, (NotImplementedError, RuntimeError))
        if refusal is not None:
            self.batched = False
            if model not in _BATCHED:
                warnings.warn(f"The branch of a contrast decodes in separate calls. {refusal}", stacklevel=2)
        _BATCHED[model] = self.batched

    def _probe(self) -> None:
        """Decode one token of model and branch in one batch."""
        embeddings = self.replayer.neutral_embeddings(1)
        call, cache = DecoderCall(embeddings, {}), DynamicCache(config=self.replayer.config)
        seen = torch.ones(1, 2, dtype=torch.bool, device=embeddings.device)
        with torch.inference_mode(False), torch.no_grad(), ExitStack() as stack:
            self.replayer.run(call, embeddings, cache)
            extended, view = self._extend(stack, Branch(seen), call, cache)
            self.replayer.run(extended, extended.embeddings, view)

    @property
    def needs_past(self) -> bool:
        """Whether ``step_separately`` needs the cache before every step."""
        return self.kind.name == "slot" and not self.batched

    def begin(
        self,
        prompt: DecoderCall,
        positions: Positions,
        types: Mapping[str, Tensor] | None = None,
        markers: Tensor | None = None,
    ) -> tuple[Branch, Tensor | None]:
        """Run the prompt of a branch.

        Parameters
        ----------
        prompt : DecoderCall
            The model's own, ``T`` positions.
        positions : Positions
            ``[B, T]``.
        types : mapping of str to Tensor, optional
            ``[B, T]``: token types that the model was given; some models attend both ways inside a prefix.
        markers : Tensor, optional
            ``[B, T]`` bool: text that only marks what the blind branch does not perceive.

        Returns
        -------
        branch : Branch
        logits : Tensor or None
            ``[B, V]`` at its last position; None if ``step_separately`` must follow.
        """
        group = positions.group(self.kind.modalities)
        rest = positions.attended & ~group
        if self.kind.name == "slot":
            _check_rows(rest, "no slot is left for the newest token to attend to")
            return Branch(rest), None
        cache: Cache = DynamicCache(config=self.replayer.config)
        if self.kind.name == "blind":
            kept = rest if markers is None else rest & ~markers
            if torch.equal(group, positions.perceptual):
                return self._blind(cache, positions.input_ids, kept, types or {})
            return self._blind_in_part(cache, prompt, positions, kept)
        other = (
            self._noised(prompt, self._by_modality(positions))
            if self.kind.name == "noise"
            else self._other(prompt, group)
        )
        with torch.no_grad():
            logits = self.replayer.run(other, other.embeddings, cache)[:, -1]
        return Branch(positions.attended, cache), logits

    def _blind(self, cache: Cache, ids: Tensor, kept: Tensor, types: Mapping[str, Tensor]) -> tuple[Branch, Tensor]:
        """Run what is kept ``[B, T]`` of the prompt, positions rebuilt."""
        model = self.replayer.model
        gone = sorted(placeholder_ids(model.config).values())  # also those that a user's mask leaves out
        kept = kept & ~torch.isin(ids, torch.tensor(gone, dtype=ids.dtype, device=ids.device))
        _check_rows(kept, "nothing is left of the prompt without what is perceived")
        # a stable sort moves what is kept to the right, in order: left padding
        order = kept.long().argsort(dim=-1, stable=True)[:, -int(kept.sum(-1).max()) :]
        seen = kept.gather(1, order)
        positions = (seen.long().cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad(), self.replayer.suspended(), memory_kept(model):
            output = model(
                input_ids=ids.gather(1, order),
                attention_mask=seen.long(),
                position_ids=positions,
                use_cache=True,
                **{name: value.to(order.device).gather(1, order) for name, value in types.items()},
                **{CACHE_NAME: cache},
                **self.replayer.last_logits,
            )
        return Branch(seen, cache, counted=True), output.logits[:, -1]

    def _blind_in_part(
        self, cache: Cache, prompt: DecoderCall, positions: Positions, kept: Tensor
    ) -> tuple[Branch, Tensor]:
        """Run what is kept ``[B, T]`` of the prompt's own decoder call: the other modalities stay as they were."""
        gone = placeholder_ids(self.replayer.model.config)
        tokens = [token for name, token in gone.items() if name in (self.kind.modalities or ())]
        ids = positions.input_ids
        kept = kept & ~torch.isin(ids, torch.tensor(tokens, dtype=ids.dtype, device=ids.device))
        _check_rows(kept, "nothing is left of the prompt without what is taken out of it")
        order = kept.long().argsort(dim=-1, stable=True)[:, -int(kept.sum(-1).max()) :]
        seen = kept.gather(1, order)
        call, removed = without_positions(prompt, positions.attended, kept, order, self.replayer.window)
        with torch.no_grad():
            logits = self.replayer.run(call, call.embeddings, cache)[:, -1]
        return Branch(seen, cache, removed=removed), logits

    def _by_modality(self, positions: Positions) -> list[Tensor]:
        """Return the positions ``[B, T]`` of each modality that is noised."""
        named = self.kind.modalities
        return [mask for name, mask in positions.modalities.items() if named is None or name in named]

    def _other(self, prompt: DecoderCall, group: Tensor) -> DecoderCall:
        """Return a prompt with the features of the counterfactual."""
        if self._counterfactual is None:
            raise RuntimeError("The counterfactual branch was begun without a counterfactual.")
        return self._counterfactual.in_place_of(prompt, None if self.kind.modalities is None else group)

    def _noised(self, prompt: DecoderCall, masks: Sequence[Tensor]) -> DecoderCall:
        """Return a prompt whose perceptual features are mixed with noise, one modality ``[B, T]`` after the other.

        Mean and variance are those of one modality: features of images and sounds differ in both.
        """
        embeddings, deep = prompt.embeddings.clone(), [features.clone() for features in prompt.deep_features]
        start = 0
        for row in range(len(embeddings)):
            generator = torch.Generator().manual_seed(self.kind.seed)
            visual = None if prompt.visual_mask is None else prompt.visual_mask[row]
            for mask in (one[row] for one in masks):
                if int(mask.sum()) == 1:
                    raise ValueError(
                        f"Row {row} perceives a single position, which has no variance to exchange for noise; use "
                        "Contrast('blind') or Contrast('slot')."
                    )
                here = mask.to(embeddings.device)
                embeddings[row, here] = _mixed(embeddings[row, here], self.kind.noise, generator)
                hit = () if visual is None else start + mask.to(visual.device)[visual].nonzero()[:, 0]
                for features in deep if len(hit) else ():
                    features[hit] = _mixed(features[hit], self.kind.noise, generator)
            start += 0 if visual is None else int(visual.sum())
        return prompt.with_inputs(embeddings, deep)

    def step_separately(self, branch: Branch, call: DecoderCall, past: Cache | None) -> Tensor:
        """Advance the branch by a separate call and return its logits ``[B, V]``.

        Parameters
        ----------
        branch : Branch
            Already grown by the new position.
        call : DecoderCall
            The model's own, of one token.
        past : Cache or None
            Before the step, for a branch without a cache; not changed.

        Raises
        ------
        ValueError
            If a branch without a cache is given no past.
        """
        cache = branch.cache
        if cache is None:
            if past is None:
                raise ValueError("A branch that uses the model's cache needs the past of the step.")
            cache = fork_cache(past)
        own = branch.separate_call(call)
        with torch.no_grad():
            return self.replayer.run(own, own.embeddings, cache)[:, -1]

    def _extend(self, stack: ExitStack, state: Branch, call: DecoderCall, cache: Cache) -> tuple[DecoderCall, Cache]:
        slots = BranchSlots(state.attended, state.cache)
        self._slots[:] = [slots]
        stack.callback(self._slots.clear)
        self._swap.on()
        stack.callback(self._swap.off)
        batch = call.embeddings.shape[0]
        return state.batched_with(call, int(cache.get_seq_length())), splitting_cache(cache, slots, batch)

    def finish(self, output: Any) -> Tensor | None:
        """Take the logits of the branch out of the output of an extended call.

        Returns
        -------
        Tensor or None
            ``[B, V]`` at the last position; None if the call was not extended.
        """
        if self._open is None:
            return None
        both = output.logits
        self._strip(output, both[: self._rows])
        self.close()
        with torch.inference_mode(False):
            found: Tensor = detach_inference(both[self._rows :, -1])
        return found


def _check_rows(kept: Tensor, what: str) -> None:
    """Refuse rows ``[B, T]`` of which nothing is kept."""
    empty = (~kept.any(-1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"In rows {empty} {what}; a contrast needs some text, or a smaller perceptual= mask.")


def _mixed(features: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Return features ``[N, d]`` with a share of each channel's variance exchanged for Gaussian noise."""
    mean, spread = features.mean(0), features.std(0, correction=0)
    drawn = torch.randn(features.shape, generator=generator, dtype=torch.float32).to(features)
    return mean + math.sqrt(1 - noise) * (features - mean) + math.sqrt(noise) * spread * drawn

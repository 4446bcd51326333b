"""What a policy is, and what it needs of the session that runs it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, TypeVar

from torch import Tensor
from transformers import Cache, PreTrainedModel

from lime_rules import LRP_METHODS
from lime_xai.branches.branch import BranchKind
from lime_xai.model.modalities import Modalities, in_order
from lime_xai.model.positions import Positions
from lime_xai.stream.contributions import ContributionDirection, RelevanceForm, check_contributions
from lime_xai.stream.engine import StreamEngine, StreamState
from lime_xai.values.checking import Fraction, Known, check_fields

from .step import DecodingStep

T = TypeVar("T")


class FirstPass(Protocol):
    """A first forward pass of a policy that runs inside the model's own call of the step (``FusedFirstPass``)."""

    engine: StreamEngine

    def start(self, past: Cache, positions: Positions) -> StreamState | None:
        """Return the state of the stream for the call that follows; None if the call runs unchanged."""
        ...

    def finish(self, output: Any) -> object | None:
        """Return the result for ``DecodingStep.first_pass`` from the model's output; None if the call was unchanged."""
        ...

    def restore(self) -> None:
        """Put back the grad mode that ``start`` changed."""
        ...


@dataclass(frozen=True)
class ContributionNeed:
    """The contribution of perceptual tokens to every logit, in ``DecodingStep.contributions``.

    Attributes
    ----------
    form : {"direct", "full"}
        What counts as a contribution (``lime_xai.stream.contributions.RelevanceForm``).
    direction : {"forward", "backward", "auto"}
        How it is computed.
    modalities : tuple of str, optional
        Whose tokens; None: all perceptual ones. In a list of policies each is given the contribution that it needs.

    Raises
    ------
    ValueError
        For unknown names, or a form that does not exist in that direction.
    """

    form: RelevanceForm = "direct"
    direction: ContributionDirection = "forward"
    modalities: Modalities = None

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "modalities", in_order(self.modalities))
        check_contributions(self.form, self.direction)


@dataclass(frozen=True)
class StreamNeed:
    """A stream of the direct form in ``DecodingStep.streams``, for policies that replay the step with tangents.

    Attributes
    ----------
    method : str
        LRP composite.
    required : bool
        Whether a model without a stream is refused; otherwise the policy works without.
    first_pass : callable, optional
        Makes, from the engine, a first pass that runs inside the model's own call where nothing else adds rows to it.

    Raises
    ------
    ValueError
        For an unknown method.
    """

    method: Annotated[str, Known(LRP_METHODS)]
    required: bool = False
    first_pass: Callable[[StreamEngine], FirstPass] | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Needs:
    """What a policy needs in a step; the session provides nothing else.

    Attributes
    ----------
    past : bool
        ``DecodingStep.past``: the cache is forked before every token, and the prompt's last position runs once more in
        a separate call.
    history : bool
        ``DecodingStep.history``: all decoder calls since the prompt.
    contributions : ContributionNeed or None
        ``DecodingStep.contributions``.
    branch : BranchKind or None
        ``DecodingStep.branch``: logits of a branch that perceives less.
    streams : tuple of StreamNeed
        ``DecodingStep.streams``.
    rewrites_cache : bool
        Whether the policy replaces the prompt's cache (``DecodingStep.keep``); the past of the prompt is provided.
    gradients : bool
        Whether the policy differentiates the model. A model whose gradients are not the derivatives of what it computes
        is refused. Contributions and streams imply it.
    plausibility : float
        Tokens whose plain probability is below this fraction of the best allowed token's are excluded; 0: none. The
        session excludes them after the processors of ``generate`` that ban tokens, so that at least the plain model's
        best allowed token stays. A policy that writes minus infinity into its logits comes before these processors.
    groups : tuple
        Further perceptual groups, each a tuple of modalities or None (``lime_xai.model.modalities.Modalities``). The
        prompt is checked before any compute: it must hold every modality that is named, here, by the contributions or
        by the branch, and each row must have positions of each group.

    Raises
    ------
    ValueError
        For a plausibility outside [0, 1).
    """

    past: bool = False
    history: bool = False
    contributions: ContributionNeed | None = None
    branch: BranchKind | None = None
    streams: tuple[StreamNeed, ...] = ()
    rewrites_cache: bool = False
    gradients: bool = False
    plausibility: Fraction = 0.0
    groups: tuple[Modalities, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def every_group(self) -> tuple[Modalities, ...]:
        """All perceptual groups that are needed: ``groups``, and those of the contributions and of the branch."""
        found = [need.modalities for need in (self.contributions, self.branch) if need is not None]
        return (*self.groups, *found)

    @property
    def derivatives(self) -> bool:
        """Whether anything is differentiated."""
        return self.gradients or self.contributions is not None or bool(self.streams)

    @property
    def prompt_past(self) -> bool:
        """Whether the cache before the prompt's last position is needed; that position then runs in a separate call."""
        direct = self.contributions is not None and self.contributions.form == "direct"
        slot = self.branch is not None and self.branch.name == "slot"
        return self.past or self.rewrites_cache or direct or slot


class Policy(Protocol):
    """What is done to a decoding step.

    Policies are frozen dataclasses that inherit from this class and define ``step``; the other members have the
    defaults below. ``step`` returns new logits ``[B, V]``. It changes no tensor of the step in place: masks and past
    are shared with the generation and with the user's prompt.

    Fields of the dataclass are checked against their annotations (``lime_xai.values.checking.check_fields``): a value
    of another type, or a number that is not finite, is refused. A ``__post_init__`` of your own first calls that of
    ``super()``.
    """

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def idle(self) -> bool:
        """Whether the policy never changes anything, so that generation runs without it."""
        return False

    @property
    def needs(self) -> Needs:
        """What the policy needs in a step; by default only its logits and positions."""
        return Needs()

    def check_model(self, model: PreTrainedModel) -> None:
        """Refuse a model that the policy cannot work on, by an exception; by default none."""
        return

    def check_positions(self, positions: Positions) -> None:
        """Refuse a prompt that the policy cannot work on, by an exception, before any compute; by default none.

        That it holds the modalities which ``needs`` names is checked for every policy.
        """
        return

    @abstractmethod
    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits ``[B, V]`` to decode from."""
        ...


def merge_needs(policies: Sequence[Policy]) -> Needs:
    """Return what several policies need together.

    Parameters
    ----------
    policies : sequence of Policy
        In order; their class names appear in error messages.

    Returns
    -------
    Needs
        ``streams`` holds each method once. ``contributions`` has the form and direction of all; their groups are
        ``contribution_groups(policies)``. The largest plausibility counts. A first pass remains only where a single
        policy uses a stream and there is no branch, because both would add rows to the same call.

    Raises
    ------
    ValueError
        For different branches, different forms or directions of contributions, or a policy that would not see the
        cache that another one rewrites.
    """
    by_name = [(type(policy).__name__, policy.needs) for policy in policies]
    needs = [need for _, need in by_name]
    merged = Needs(
        past=any(need.past for need in needs),
        history=any(need.history for need in needs),
        contributions=_merged_contributions([n.contributions for n in needs if n.contributions is not None]),
        branch=_the_same(
            {n.branch for n in needs if n.branch is not None}, "branches", "give all contrasts the same one"
        ),
        rewrites_cache=any(need.rewrites_cache for need in needs),
        gradients=any(need.gradients for need in needs),
        plausibility=max((need.plausibility for need in needs), default=0.0),
        groups=tuple(dict.fromkeys(group for need in needs for group in need.groups)),
    )
    _check_rewriting(by_name, merged)
    return replace(merged, streams=_merged_streams([s for n in needs for s in n.streams], merged.branch is None))


def contribution_groups(policies: Sequence[Policy]) -> tuple[Modalities, ...]:
    """Return the perceptual groups whose contributions some policies need, each once."""
    needs = [policy.needs.contributions for policy in policies]
    return tuple(dict.fromkeys(need.modalities for need in needs if need is not None))


def _the_same(found: set[T], what: str, advice: str) -> T | None:
    if len(found) > 1:
        names = ", ".join(sorted(map(str, found)))
        raise ValueError(f"The policies need different {what}: {names}; {advice}.")
    return next(iter(found), None)


def _merged_contributions(needs: Iterable[ContributionNeed]) -> ContributionNeed | None:
    needs = list(needs)
    form = _the_same({need.form for need in needs}, "forms of contributions", "give all the same")
    fixed = {need.direction for need in needs} - {"auto"}
    direction = _the_same(fixed, "directions of contributions", "give all the same")
    return None if form is None else ContributionNeed(form, direction or "auto")


def _check_rewriting(by_name: Sequence[tuple[str, Needs]], merged: Needs) -> None:
    """Refuse what recomputes keys and values from the embeddings beside a policy that rewrites the cache."""
    rewriting = [name for name, need in by_name if need.rewrites_cache]
    recomputing = [name for name, need in by_name if need.history]
    full = merged.contributions is not None and merged.contributions.form == "full"
    if rewriting and (recomputing or full):
        raise ValueError(
            f"{rewriting[0]} rewrites the cache that generation keeps; "
            f"{recomputing[0] if recomputing else 'the relevance stream of the full form'} starts from the embeddings "
            "and would not see that. Use scope='cache' or relevance='direct' beside it."
        )


def _merged_streams(streams: Sequence[StreamNeed], single: bool) -> tuple[StreamNeed, ...]:
    found: dict[str, StreamNeed] = {}
    for need in streams:
        earlier = found.get(need.method)
        required = need.required or (earlier is not None and earlier.required)
        first_pass = need.first_pass if single and len(streams) == 1 else None
        found[need.method] = StreamNeed(need.method, required, first_pass)
    return tuple(found[method] for method in sorted(found))

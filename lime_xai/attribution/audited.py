"""The audit of a model's decoder: modules with their rules, and operations outside modules."""

from __future__ import annotations

import warnings

from lime_rules import Audit, TransformerComposite, audit_decoder
from lime_rules.attempts import attempt
from lime_xai.model.replay import Replayer


def audited(replayer: Replayer, composite: TransformerComposite | None = None) -> Audit:
    """Return the audit of a decoder.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    composite : TransformerComposite, optional
        Whose rules; by default AttnLRP.

    Warns
    -----
    UserWarning
        If operations cannot be listed, because the decoder does not run on two positions with attention replaced.
    """
    with replayer.suspended():
        complete = attempt(
            lambda: audit_decoder(replayer.decoder, composite, replayer.neutral_embeddings()),
            (RuntimeError, ValueError, TypeError, AttributeError, IndexError),
        )
        if isinstance(complete, Audit):
            return complete
        found = audit_decoder(replayer.decoder, composite)
        warnings.warn(
            f"Operations of {type(replayer.decoder).__name__} outside its modules could not be listed ({complete}); "
            "some may pass on their plain gradient without being named.",
            stacklevel=5,
        )
        return found

"""Words and numbers of an explained answer as data, JSON, table and CSV."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lime_xai.storage.store import number, write_json, write_text

if TYPE_CHECKING:
    import pandas

    from .answer import ExplainedAnswer, ExplainedWord


class Tables:
    """Base of ``ExplainedAnswer``: its words and numbers for other programs."""

    @property
    def _told(self) -> ExplainedAnswer:
        return cast("ExplainedAnswer", self)

    def to_dict(self) -> dict[str, Any]:
        """Return words and numbers as JSON-ready data; relevance of single positions is in ``save`` only.

        A word has ``against``: of a margin, the token whose logit is subtracted; else None.
        """
        found = self._told
        return {
            "prompt": found.prompt,
            "answer": found.text,
            "method": found.attribution.method,
            "policies": list(found.policies),
            "no_grounding": found.no_grounding,
            "words": [_rounded(self._row(word)) for word in found.words],
            "steps": [_rounded(asdict(step)) for step in found.steps],
            "before": None if found.before is None else found.before.to_dict(),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """Return ``to_dict`` as JSON text, and write it if a path is given."""
        if path is not None:
            write_json(path, self.to_dict())
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False)

    def to_frame(self) -> pandas.DataFrame:
        """Return a table with one row per word; shares and relevance have a column per part of the input."""
        import pandas

        rows = []
        for word in self._told.words:
            flat = self._row(word)
            relevance, shares = flat.pop("relevance"), flat.pop("shares")
            flat |= {f"relevance of {name}": value for name, value in relevance.items()}
            rows.append(flat | {f"share of {name}": value for name, value in shares.items()})
        return pandas.DataFrame(rows)

    def to_csv(self, path: str | Path) -> None:
        """Write ``to_frame`` as CSV."""
        write_text(path, self.to_frame().to_csv(index=False))

    def _row(self, word: ExplainedWord) -> dict[str, Any]:
        held = asdict(word)
        return {"text": held.pop("text"), "against": self._told.against, **held}


def _rounded(value: Any) -> Any:
    """Return data with its floats as JSON numbers."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value

"""The one error that reading and reviewing a sweep raises on bad input."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class ReviewError(ValueError):
    """What was asked cannot be reviewed; the text gives the rule, the value received and the way out."""


def nearest(name: str, known: Sequence[str], limit: int = 12) -> str:
    """Return a sentence that helps someone who mistyped `name`: the nearest of `known`, or all of them."""
    if not known:
        return "There are none."
    shown = ", ".join(repr(other) for other in known[:limit])
    rest = f" and {len(known) - limit} more" if len(known) > limit else ""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"There are: {shown}{rest}.{hint}"

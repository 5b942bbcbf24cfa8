"""How errors show what was received, and what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from dualsweep.trainer.config.masking import masked

#: Valid words that an error lists.
_MOST_LISTED = 25


def show(value: object) -> str:
    """A value as an error quotes it: its Python form, cut at 80 characters, its secrets hidden before that would split them."""
    text = masked(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def one_line(text: str) -> str:
    """A text as one line that shows every character: what breaks a line or commands a terminal is written as its escape."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def printable(text: str) -> str:
    """`one_line` of each line of a text, with its tabs."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters, without its middle where it has more."""
    return text if len(text) <= most else f"{text[: most - most // 3 - 3]}...{text[-(most // 3) :]}"


def first_line(error: BaseException) -> str:
    """What an error says in one line, of SQLAlchemy's its cause, not when it was found; its class where it says nothing."""
    lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
    return (lines or [type(error).__name__])[0]


def with_class(error: BaseException) -> str:
    """`CLASS: first line`, of which at most 200 characters, its secrets hidden before."""
    return f"{type(error).__name__}: {masked(first_line(error))[:200]}"


def nearest(word: object, valid: Sequence[object]) -> str:
    """'did you mean `x`?' where a valid word is near, else all the valid words."""
    words = [str(each) for each in valid]
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.6)
    listed = (
        ", ".join(words[:_MOST_LISTED]) + (f" and {len(words) - _MOST_LISTED} more" if len(words) > _MOST_LISTED else "")
        or "none"
    )
    return f"did you mean `{near[0]}`? Valid: {listed}" if near else f"valid: {listed}"

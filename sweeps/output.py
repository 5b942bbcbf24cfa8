"""What people read: one way to the terminal for every command, on which a sweep that is done can't fail any more.

Characters that the terminal's encoding lacks are replaced, secrets of URIs are hidden, nothing in a message is markup, and a
terminal, pipe or disk that takes no more is left alone: results are in files.
"""

from __future__ import annotations

import codecs
import errno
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import printable

# ruff: noqa: RUF001  # the keys are those characters
#: How characters of ours are written where there are none.
_PLAIN = {
    "≤": "<=", "≥": ">=", "≰": "not <=", "≱": "not >=", "≈": "~", "±": "+-", "×": "x", "→": "->", "←": "<-", "−": "-", "–": "-",
    "—": "-", "…": "...", "·": ".", "•": "*", "λ": "lambda", "Σ": "sum", "‖": "||", "½": "1/2", "²": "^2", "∞": "inf", "│": "|",
    "─": "-", "━": "-", "┃": "|", "’": "'", "‘": "'", "“": '"', "”": '"', "°": " deg", "µ": "u", "α": "alpha", "ε": "epsilon",
    "≠": "!=",
}  # fmt: skip
_REPLACED = "dualsweep.plain"


def _in_plain_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end


codecs.register_error(_REPLACED, _in_plain_words)


#: Of a reader who has seen enough: nobody waits for the rest.
_LEFT = (errno.EPIPE, errno.ESHUTDOWN)


class Tolerant:
    """A text stream that never raises for what is written to it; else it is the stream it is made of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        text = masked(text)
        try:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, _REPLACED).decode(encoding))
        except (OSError, ValueError) as error:  # the reader of a pipe is gone, the disk is full, the stream is closed
            self._forget(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._forget(error)

    def _forget(self, error: OSError | ValueError) -> None:
        """What the stream still holds can't be written either, and would be tried again when Python ends."""
        self._stream = cast("TextIO", _Nowhere(self._stream))
        if isinstance(error, OSError) and error.errno not in _LEFT and self is sys.stdout:
            print(f"dualsweep: not all that was to be printed could be: {error.strerror}", file=sys.stderr, flush=True)


class _Nowhere:
    """A stream that keeps nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream  # kept: closed at its end, it would write what it holds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


class Screen(Console):
    """A console on whose texts nothing is markup; made anew it writes to where `sys.stdout` leads then."""

    def __init__(self) -> None:
        stream = sys.stdout if isinstance(sys.stdout, Tolerant) else Tolerant(sys.stdout)
        super().__init__(file=cast("TextIO", stream), markup=False, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As Rich does, but a name that somebody gave in MLflow, say, commands no terminal: its escapes are shown.

        Secrets are hidden here too: in a notebook nothing goes through the stream.
        """
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(masked(segment.text)), segment.style)


def tell(text: str) -> None:
    """Prints plain lines: names in them, of folders, classes or files of data, command no terminal; their escapes are shown."""
    print(printable(text), flush=True)


def tolerate() -> None:
    """From now on this process's own streams are tolerant."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Tolerant):
            setattr(sys, name, Tolerant(stream))

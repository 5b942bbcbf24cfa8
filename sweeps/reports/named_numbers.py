"""`NAME=VALUE,…`, as options of commands have it."""

from __future__ import annotations

import math
from dataclasses import replace

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError


def named_numbers(option: str, text: str) -> dict[str, float]:
    """The numbers by name.

    Raises:
        InputError: the text is not of that form, or has a name twice.
    """
    numbers: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not equals or not name.strip() or not math.isfinite(number):
            raise refused(option, "must be NAME=VALUE,…", repr(part), "write e.g. four=0.3,five=0.1")
        if name.strip() in numbers:
            raise refused(option, "must have each name once", f"`{name.strip()}` twice", "keep one of the two")
        numbers[name.strip()] = number
    return numbers


def refused(option: str, rule: str, received: str, remedy: str) -> InputError:
    """A mistake in an option of the command line."""
    return InputError([written(option, Diagnostic((), rule, received, remedy))])


def written(option: str, diagnostic: Diagnostic) -> Diagnostic:
    """The diagnostic as one of an option of the command line."""
    return replace(diagnostic, keys=(option,), file="command line", line=1)

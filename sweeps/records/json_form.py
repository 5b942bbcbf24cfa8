"""Results in the form of `--json` files, whoever asks for it."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """A copy as JSON has it: keys are texts, tuples lists, and numbers that are not finite, of which JSON has none, null."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

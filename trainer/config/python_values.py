"""Values as Python has them at hand, as YAML would have them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Keys
from dualsweep.trainer.config.wording import show


def as_yaml(value: Any, keys: Keys = ()) -> Any:
    """A copy as YAML would have it: of NumPy's numbers and arrays, tuples and paths too; `keys` lead to it.

    Raises:
        InputError: a mapping has keys that YAML could not have.
    """
    if isinstance(value, Mapping):
        return {_key(key, keys): as_yaml(each, (*keys, str(key))) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_yaml(each, (*keys, position)) for position, each in enumerate(value)]
    if callable(tolist := getattr(value, "tolist", None)):  # NumPy's, which is not imported for it
        return tolist()
    return str(value) if isinstance(value, Path) else copy.deepcopy(value)


def _key(key: object, keys: Keys) -> str | int:
    plain = tolist() if callable(tolist := getattr(key, "tolist", None)) else key
    if isinstance(plain, str | int) and not isinstance(plain, bool):
        return plain
    rule, remedy = "must have texts or whole numbers as keys", "write it as a text"
    raise InputError([Diagnostic(keys, rule, show(key), remedy, "Python", 1)])

"""A store as folders keep it and messages show it, without its secrets, and how a command comes to all of it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from dualsweep.analysis.tracking_uri import VARIABLE, tracking_uri
from dualsweep.trainer.config.masking import masked

_HIDDEN = "***"


def in_full(kept: str) -> str | None:
    """The store of which `kept` is the masked address: MLFLOW_TRACKING_URI gives what is hidden in it; None where it doesn't."""
    if _HIDDEN not in kept:
        return kept
    given = tracking_uri()
    return given if masked(given) == kept else None


def set_to(uri: str) -> str:
    """What is said after a command that finds its store in MLFLOW_TRACKING_URI alone: what to set it to, where it is not yet."""
    hint = f", its secrets in place of {_HIDDEN}" if _HIDDEN in masked(uri) else ""
    return "" if os.environ.get(VARIABLE) and tracking_uri() == uri else f", with {VARIABLE} set to {masked(uri)}{hint}"


def where_hidden(uri: str) -> str:
    """What is said after a command that comes to its store without its secrets; empty where that has none."""
    return set_to(uri) if _HIDDEN in masked(uri) else ""


def asked_by_variable(command: Sequence[str], uri: str) -> str:
    """A command of a program that finds its store in MLFLOW_TRACKING_URI alone, to be pasted anywhere."""
    typed = shlex.join(command)
    plain = _HIDDEN not in masked(uri) and set_to(uri)
    return f"{VARIABLE}={shlex.quote(uri)} {typed}" if plain else f"{typed}{set_to(uri)}"

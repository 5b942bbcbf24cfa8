"""Patterns of what users write, each with what it asks in words."""

from __future__ import annotations

NAME = r"^[A-Za-z0-9_-]+$"
IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"
IN_WORDS = {
    NAME: "must be of letters, digits, `_` and `-`, at least one",
    IMPORT_PATH: "must be an import path, `module:name`",
}

"""The kinds of file that a user writes."""

from __future__ import annotations

from typing import Literal

Kind = Literal["recipe", "sweep"]
KINDS: tuple[Kind, ...] = ("recipe", "sweep")

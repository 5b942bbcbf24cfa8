"""A term of the user's own: the key `term` of constraints and objectives."""

from __future__ import annotations

from dualsweep.trainer.terms.own import TERM

__all__ = ["TERM"]

"""Errors of runs; mistakes of input are `dualsweep.trainer.config.diagnostics`."""

from __future__ import annotations


class TrainingError(Exception):
    """A run cannot go on, for a reason that trying again will not fix (a model's output of another shape, NaN data)."""


class CoordinatorLost(Exception):  # noqa: N818  # the same
    """The coordinator answered from an empty state: its process was replaced. Start again from the checkpoint."""

"""Errors of runs; mistakes of input are `dualsweep.trainer.config.diagnostics`."""

from __future__ import annotations

from dualsweep.trainer.config.diagnostics import UnplacedError


class TrainingError(Exception):
    """A run cannot go on, for a reason that trying again will not fix (a model's output of another shape, NaN data).

    `key` is the key of the recipe's section that it is about, dotted, where who raises it knows one: `lora.targets`.
    """

    def __init__(self, *words: object, key: str = "") -> None:
        super().__init__(*words)
        self.key = key


class BadPartError(UnplacedError, TrainingError):
    """A model or a user's part is not what it must be, which only asking it tells; a recipe names it, and has its line."""


class TrainingStopped(Exception):  # noqa: N818  # nothing went wrong
    """A run was asked to end at its next dual step. All of its workers are told so at the same one."""


class TrainingPaused(Exception):  # noqa: N818  # nothing went wrong
    """A run was asked to leave its processes; it has a checkpoint of its last step there, from which it goes on in others."""


class TrainingInterrupted(Exception):  # noqa: N818  # its checkpoint is there
    """Processes of a run died, more often than it is started again at once. The same call again continues it."""

"""Errors of runs; mistakes of input are `dualsweep.trainer.config.diagnostics`."""

from __future__ import annotations

from dualsweep.trainer.config.diagnostics import UnplacedError

#: How torch words what the system refuses on the CPU, in a plain RuntimeError.
_REFUSED = ("can't allocate memory", "not enough memory", "out of memory")


def is_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on whatever device: no mistake of the part that was asked, and told by engine/room.py."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, which this module leaves out
    return named or (isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSED))


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

"""Exit codes: what a shell, a make file or a Ray job learns of how a command ended.

A trial's verdict is a result, whatever it is: a sweep of which some budgets cannot be met has done its work, and a Ray job that
ends with another code than 0 is called FAILED. So a code says whether something went wrong; whoever wants it to say that every
budget was met asks for that (`--strict`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualsweep.trainer.result import Result

DONE, FAILED, BAD_INPUT, PARTLY, INTERRUPTED = 0, 1, 2, 3, 130

#: What a code means, for whoever sees only the number; 1 is also that of a crash, which says more by itself.
MEANINGS = {
    BAD_INPUT: "bad input, or a cluster that cannot be reached or is too small",
    PARTLY: "some trials failed or diverged, or under --strict not all budgets are met",
    INTERRUPTED: "interrupted; the same command continues",
}


def exit_code(trials: Sequence[Result], *, beside: Result | None = None, strict: bool = False) -> int:
    """The code of a command whose trials have ended so; `beside` is a training that is no trial, as a sweep's amortised one.

    1 where all trials failed or diverged (or there are none), 3 where some did or what was `beside` them, else 0: converged, out
    of steps, infeasible and stopped early are ends of a trial's own. `strict`: 3 also unless every trial is known to meet its
    budgets, which one that was stopped early or ended as infeasible is not.
    """
    if all(map(broken, trials)):
        return FAILED
    if any(map(broken, trials)) or (beside is not None and broken(beside)):
        return PARTLY
    return PARTLY if strict and not all(map(_met, trials)) else DONE


def broken(result: Result) -> bool:
    """Whether a training came to no end of its own."""
    return result.status in ("failed", "diverged")


def _met(result: Result) -> bool:
    return result.feasible == "met" and result.status in ("converged", "out_of_steps")

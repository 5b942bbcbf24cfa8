"""What held-out data add to a verdict."""

from __future__ import annotations

import math

from dualsweep.trainer.result import ConstraintOutcome, Z


def held_out_alone(outcome: ConstraintOutcome) -> bool:
    """Whether held-out data alone contradict that it is met."""
    return outcome.held_out is not None and outcome.held_out.standing == "violated" and outcome.violation <= outcome.tolerance


def gap_of(outcome: ConstraintOutcome) -> str:
    """What held-out data say, and how much less room they leave than those trained on; empty where there are none."""
    held_out = outcome.held_out
    if held_out is None:
        return ""
    gap = outcome.slack + outcome.relaxation - held_out.slack
    apart = gap > Z * math.hypot(outcome.slack_error, held_out.error)
    return f"; {held_out}" + (f", {gap:.2g} less room than on training data" if apart else "")


def evidence_of(outcome: ConstraintOutcome) -> dict[str, float]:
    """The numbers behind it."""
    found = outcome.held_out
    return {} if found is None else {"held_out_slack": found.slack, "held_out_error": found.error, "images": float(found.images)}

"""The amortised front of a sweep beside its separately trained trials: the line that is drawn, and how far the two are apart."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dualsweep.analysis.front import non_dominated
from dualsweep.analysis.store import bring
from dualsweep.analysis.trials import JUDGED_STATUSES, Direction, SweepRecord, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from dualsweep.trainer.amortised.front import AmortisedFront

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gap:
    """How far the amortised front is above the separately trained trials at their own values, in parts of its range of f.

    `worst` and `mean` are positive where the separate trainings are better; `trial` is where it is worst; `compared` are the
    trials within the range of the multipliers, of `judged` that ended well.
    """

    worst: float
    mean: float
    trial: Trial
    compared: int
    judged: int


def read_amortised(client: MlflowClient, runs: Sequence[Run]) -> AmortisedFront | None:
    """The front of the newest of a sweep's amortised trainings that has one; None too where their artifacts are out of reach."""
    if not runs:
        return None
    from dualsweep.trainer.amortised.front import FILE, front_in  # loads torch

    try:
        for run in reversed(runs):
            with tempfile.TemporaryDirectory() as folder:
                if bring(client, run.info.run_id, [FILE], folder) and (front := front_in(folder)) is not None:
                    return front
    except Exception as error:  # every store has an error of its own
        _log.warning("the amortised front cannot be read (%s), and is left out", masked(first_line(error)))
    return None


def line(front: AmortisedFront, x: str, y: str, directions: Mapping[str, Direction]) -> NDArray[np.float64]:
    """The front's points [n, 2] on two axes, along x: those that no other dominates on these two; none where it lacks one.

    Axes are names of metrics; those without a direction are minimised, but for the values of `at_least`.
    """
    metrics = [each.metrics for each in front.points]
    if not metrics or not {x, y} <= set(metrics[0]):
        return np.zeros((0, 2))
    points = np.array([[each[x], each[y]] for each in metrics])
    found = points[non_dominated(points, [direction_of(front, x, directions), direction_of(front, y, directions)])]
    return np.asarray(found[np.argsort(found[:, 0], kind="stable")])


def direction_of(front: AmortisedFront, key: str, directions: Mapping[str, Direction]) -> Direction:
    """In which direction a metric of the front is better."""
    own = front.kinds.get(key.removeprefix(metric_names.VALUE)) == "at_least" or (key == "objective" and front.maximize)
    return directions.get(key, "maximize" if own else "minimize")


def gap(record: SweepRecord) -> Gap | None:
    """The distance of the two fronts; None without an amortised one, or where they do not overlap.

    At a trial's values v the amortised front has P*(v), the maximum of its dual function less lambda . v.
    """
    front = record.amortised
    if front is None or len(front.points) < 3:
        return None
    judged = [trial for trial in record.trials if trial.status in JUDGED_STATUSES and _values(front, trial) is not None]
    if not judged:
        return None
    spread, dual = front.spread, front.dual_function()
    sign = spread.problem.direction
    at = spread.problem.signs * np.array([_values(front, trial) for trial in judged])
    objectives, multipliers = dual.front(at)
    inside = ~spread.at_end(multipliers).any(axis=1)
    if not inside.any():
        return None
    own = sign * np.array([trial.metric("objective") for trial in judged])
    span = float(np.ptp([each.objective for each in front.points])) or 1.0
    above = np.where(inside, (objectives - own) / span, -math.inf)
    worst = int(np.argmax(above))
    return Gap(float(above[worst]), float(above[inside].mean()), judged[worst], int(inside.sum()), len(judged))


def _values(front: AmortisedFront, trial: Trial) -> list[float] | None:
    """A trial's values in the front's order, where they and the objective are all finite."""
    found = [trial.metric(metric_names.value(name)) for name in front.names]
    return found if all(map(math.isfinite, [*found, trial.metric("objective")])) else None


def sentence(record: SweepRecord) -> str:
    """What there is to say of the amortised front, for people; nothing where there is none."""
    front = record.amortised
    if front is None:
        return ""
    head = f"Amortised front: {len(front.points)} points of one network after {front.steps} steps"
    front_gap = gap(record)
    if front_gap is None:
        return f"{head}; no trial is within its range of multipliers, so there is nothing to compare."
    where = f"trial {front_gap.trial.trial_id}"
    worst = f"at most {_percent(front_gap.worst)} of its range worse than separate training (at {where})"
    if front_gap.worst <= 0:
        worst = f"better than separate training throughout, by at least {_percent(-front_gap.worst)} of its range (at {where})"
    mean = f"{_percent(abs(front_gap.mean))} {'worse' if front_gap.mean > 0 else 'better'} on average"
    return f"{head}; {worst}, {mean}, over the {front_gap.compared} of {front_gap.judged} trials within its range."


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %" if abs(part) >= 0.1 else f"{100 * part:.2g} %"

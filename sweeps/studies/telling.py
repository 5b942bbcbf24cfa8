"""What samplers are told of a trial's constraints, and which of them they see."""

from __future__ import annotations

from typing import Self

from optuna.trial import FrozenTrial

from dualsweep.trainer.result import ConstraintOutcome, Result

#: How Optuna kept constraints until version 4, and the only form that optuna-dashboard (0.21) shows: a list beside the names.
OLD = "constraints"


def told_slacks(result: Result) -> dict[str, float]:
    """By constraint, >= 0 where it holds: the slack of its budget, as relaxed, with its tolerance; of an equality on either side.

    So a budget that binds, whose slack is 0 up to noise, is no violation.
    """
    return {name: _told(each) for name, each in result.constraints.items()}


def _told(each: ConstraintOutcome) -> float:
    beyond = each.slack + each.relaxation
    return (-abs(beyond) if each.kind == "equals" else beyond) + each.tolerance


class SeenTrial(FrozenTrial):
    """A trial that samplers look at and nothing changes: copies share what it holds, where Optuna would copy all of it.

    One that has ended is never changed again, so it is its own copy.
    """

    @classmethod
    def of(cls, trial: FrozenTrial) -> Self:
        """A trial of Optuna's as it is."""
        mine = cls.__new__(cls)
        vars(mine).update(vars(trial))
        return mine

    def __deepcopy__(self, _: object) -> Self:
        return self if self.state.is_finished() else self.of(self)


def seen(trial: FrozenTrial, required: frozenset[str] | None) -> SeenTrial:
    """A trial as samplers are to see it: its constraints once, and of these only what decides what may be on the front."""
    plain, named = SeenTrial.of(trial), f"{OLD}:"
    plain.system_attrs = {
        key: value
        for key, value in trial.system_attrs.items()
        if key != OLD and (required is None or not key.startswith(named) or key.removeprefix(named) in required)
    }
    return plain

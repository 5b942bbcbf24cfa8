"""A sweep's trials in Optuna's memory, as its samplers are to see them: kept from one ask to the next."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.studies.telling import seen


class MemoryStudy:
    """What a sampler works on, so that an ask is not in the study before it is whole.

    Writing a thousand trials anew for every ask takes half as long as Optuna's TPE takes to place one. What has ended stays as it
    is, so each ask writes only what ended or was asked for since the one before.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._begin()

    def _begin(self) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # of the user's study and not of this one there is something to say
        self._storage = InMemoryStorage()
        begun = optuna.create_study(storage=self._storage, directions=list(self._plan.objectives.values()))
        self._name, self._within = begun.study_name, self._storage.get_study_id_from_name(begun.study_name)

    def of(self, trials: Sequence[FrozenTrial], sampler: BaseSampler) -> optuna.Study:
        """The study with these trials, those of the call before among them, for a sampler to place one more."""
        there = self._storage.get_all_trials(self._within, deepcopy=False)
        # A trial that was placed here and never written is forgotten, and so is what a sampler keeps of its own, as NSGA-II its
        # parents: a trial depends on the trials before it alone, not on which process placed those.
        if len(there) > len(trials) or self._storage.get_study_system_attrs(self._within):
            self._begin()
            there = []
        for before, now in zip(there, trials, strict=False):
            if not before.state.is_finished():
                self._update(before.number, seen(now, self._plan.required))
        for trial in trials[len(there) :]:  # as `add_trials`, which checks each of them again
            self._storage.create_new_trial(self._within, seen(trial, self._plan.required))
        return optuna.load_study(study_name=self._name, storage=self._storage, sampler=sampler)

    def _update(self, number: int, now: FrozenTrial) -> None:
        """Brings a trial that had not ended to what it is now."""
        kept = self._storage.get_trial_id_from_study_id_trial_number(self._within, number)
        for key, value in now.system_attrs.items():
            self._storage.set_trial_system_attr(kept, key, value)
        for key, value in now.user_attrs.items():
            self._storage.set_trial_user_attr(kept, key, value)
        if now.state.is_finished():
            self._storage.set_trial_state_values(kept, now.state, now.values)

"""The study: which trials were asked for and what they answered, kept by Optuna in a storage (`sweeps/studies/storage.py`).

An ask is one record: the sampler works on a copy of the history in memory (`sweeps/studies/memory.py`), and the trial is written
with all its parameters at once. So after a kill a trial is there whole, to be resumed, or not at all, to be asked again the same.

Trials of other sweeps (`sweeps/studies/warm_start.py`) come before all others and are marked. The sweep's own are numbered from 0
without them, here and everywhere else but in Optuna.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from dualsweep.sweeps.dual_informed.of_plan import informed_sampler
from dualsweep.sweeps.dual_informed.outcome import Outcome, report
from dualsweep.sweeps.dual_informed.sampler import DualInformedSampler
from dualsweep.sweeps.planning.budgets import NAME
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import recorded, trial_name
from dualsweep.sweeps.records.trial_start import ATTRIBUTE as START
from dualsweep.sweeps.records.trial_start import ProposedTrial, TrialStart
from dualsweep.sweeps.studies.defaults import DEFAULTS, changed, defaults
from dualsweep.sweeps.studies.kept import asked_again, begun, begun_with, keep_begun_with, kept_at, remembered, was_damaged
from dualsweep.sweeps.studies.memory import MemoryStudy
from dualsweep.sweeps.studies.samplers import decode, distributions, kept_params, sampler_for
from dualsweep.sweeps.studies.storage import StorageError, holding, locked, open_storage, patient
from dualsweep.sweeps.studies.telling import OLD
from dualsweep.sweeps.studies.unchanged import check_unchanged, fingerprint
from dualsweep.sweeps.studies.warm_start import WARM, warm_trials
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.own_files import set_aside

_FINGERPRINT, _WARM = "dualsweep", "dualsweep.warm_started"
State = Literal["running", "complete", "failed", "stopped"]
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.PRUNED: "stopped",
}  # fmt: skip


class Study:
    """Ask and tell over one sweep, in one process at a time.

    A trial that was asked for and never told is `unfinished` after the next opening, with its number and parameters.
    """

    def __init__(self, plan: Plan, output: Path) -> None:
        """Opens the study of the sweep in `output`, or begins it.

        Raises:
            InputError: another process has it open, it was begun with another search, recipe, objectives, sampler or storage, or
                the storage can't be used.
        """
        output.mkdir(parents=True, exist_ok=True)
        self.plan = plan
        #: What a user should know of trials taken over from other sweeps and of defaults changed since, in words.
        self.said: tuple[str, ...] = ()
        self._judged: tuple[int, str | None] | None = None  # the end is judged once for each trial that has ended
        self._memory = MemoryStudy(plan)
        self._taken_over = 0  # trials of other sweeps, which come before all others
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(output / "study.lock"))
            except StorageError as error:
                raise InputError([error.diagnostic.at(("output",), str(output), 1)]) from None
            try:
                url, name = kept_at(plan, output)
                held.enter_context(holding(url, name))
                self._study = _open(plan, open_storage(url), name)
            except StorageError as error:
                raise InputError([plan.document.locate(error.diagnostic.at(("storage",)))]) from None
            self._begin(output)
            self._held = held.pop_all()

    def _begin(self, output: Path) -> None:
        own = self._study.user_attrs.get(_FINGERPRINT)
        before = begun_with(output)
        defaults_then = self._study.user_attrs.get(DEFAULTS)
        for kept in (each for each in (own, before) if each is not None):
            check_unchanged(self.plan, kept, defaults_then)
        self._taken_over = sum(WARM in each.user_attrs for each in self._trials())
        lost = was_damaged(output) or (own is None and before is not None and self.plan.storage is None)
        # A trial goes on from what it left, so that another problem's must not be here.
        there = begun(output) if own is None else set(recorded(output))
        if there and max(there) >= len(self._own()) and not lost:
            rule, received = "must hold the study that this sweep began", f"none with the {max(there) + 1} trials of {output}"
            raise InputError(
                [self.plan.document.diagnostic(("storage",), rule, received, "put it back, or give another `--output`")]
            )
        if _WARM not in self._study.user_attrs:
            self._warm_up()
        if own is None:
            with _quiet():
                self._study.set_metric_names(list(self.plan.objectives))  # what the dashboard shows
            self._study.set_user_attr(_FINGERPRINT, fingerprint(self.plan))
            self._study.set_user_attr(DEFAULTS, defaults(self.plan))
        else:
            self.said += changed(self.plan, defaults_then)
        if before is None:
            keep_begun_with(output, fingerprint(self.plan))
        if lost:
            self._rebuild(remembered(output), output)

    def _rebuild(self, trials: Mapping[int, ProposedTrial], output: Path) -> None:
        """Asks anew for what the sweep's other files know of; the records then tell it how those ended.

        What a trial has left of which no file says what it was is set aside.
        """
        for number in begun(output) - set(trials):
            if number >= len(self._own()) and (output / "trials" / trial_name(number)).exists():
                set_aside(str(output / "trials"), trial_name(number), "no file tells of its parameters")
        for number in range(len(self._own()), max(trials, default=-1) + 1):
            if (known := trials.get(number)) is None:
                self.ask()
            else:
                self._study.add_trial(asked_again(self.plan, known))

    def _warm_up(self) -> None:
        """Takes over other sweeps' trials, once; what a kill left undone is done by the next start."""
        transferred, self.said = warm_trials(self.plan)
        there = {each.user_attrs.get(WARM) for each in self._trials()}
        for trial in transferred:
            if trial.user_attrs[WARM] not in there:
                self._study.add_trial(trial)
        self._taken_over = sum(WARM in each.user_attrs for each in self._trials())
        if self.plan.sweep.warm_start:
            self._study.set_user_attr(_WARM, len(transferred))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes open the study."""
        self._held.close()

    @property
    def states(self) -> dict[int, State]:
        """The state of every trial by number."""
        return {number: _STATES.get(each.state, "running") for number, each in enumerate(self._own())}

    @property
    def finished(self) -> int:
        """Trials that have been told: complete, failed or stopped."""
        return sum(each.state.is_finished() for each in self._own())

    @property
    def remaining(self) -> int:
        """Trials that may yet be asked for; none where the sampler has found an end."""
        left = max(0, self.plan.trials - len(self._own()))
        return 0 if left and self.stopped else left

    @property
    def stopped(self) -> str | None:
        """Why the sampler asks for no more, in words; None where it would go on."""
        if self.plan.sweep.sampler.name != NAME:
            return None
        if self._judged is None or self._judged[0] != self.finished:
            verdict = self._informed.verdict(self._study)
            self._judged = self.finished, verdict.reason if verdict.stop else None
        return self._judged[1]

    @functools.cached_property
    def _informed(self) -> DualInformedSampler:
        """Judges the end, and keeps the verdict of many trials; it asks nothing of the sampler beside it."""
        return informed_sampler(self.plan, RandomSampler())

    def unfinished(self) -> list[ProposedTrial]:
        """Trials asked for and not told, by number: after an interruption these come first, as they are."""
        return [self._asked(number, each) for number, each in enumerate(self._own()) if not each.state.is_finished()]

    def ended(self) -> list[ProposedTrial]:
        """Trials that have been told, by number."""
        return [self._asked(number, each) for number, each in enumerate(self._own()) if each.state.is_finished()]

    def ask(self) -> ProposedTrial:
        """A new trial. What it is depends on the plan, its number and the trials before it, not on this process.

        Raises:
            RuntimeError: `remaining` is 0.
        """
        if not self.remaining:
            raise RuntimeError(
                f"A new trial must be within the plan's {self.plan.trials}, but {self.stopped or 'all were asked for'}; "
                "raise `trials`, or lower the sampler's `tolerance`."
            )
        trials = self._trials()
        number = len(trials) - self._taken_over
        memory = self._memory.of(trials, sampler_for(self.plan, len(trials)))
        if number < len(self.plan.points):
            memory.enqueue_trial(kept_params(self.plan, self.plan.points[number]))
        with _quiet():
            memory.ask(distributions(self.plan))
        asked = memory.get_trials(deepcopy=False)[-1]
        self._write(number, asked)
        return self._asked(number, asked)

    @patient
    def _write(self, number: int, trial: FrozenTrial) -> None:
        if len(self._own()) == number:
            self._study.add_trial(trial)

    @patient
    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        slacks: Mapping[str, float] | None = None,
        failed: bool = False,
        outcome: Outcome | None = None,
        stopped: bool = False,
    ) -> State:
        """Ends a trial. `values` are the objectives in the plan's order; `slacks` (`told_slacks`) are >= 0 where they hold.

        `outcome` is what the sampler `dual_informed` reads; without it the trial says nothing of the front.

        A trial is `failed` where it is said to be, and where a value or a slack is missing or not finite: Optuna takes a
        trial without constraints as feasible, and leaves one with a NaN running. Told again, a trial stays as it is.

        A trial that was `stopped` is pruned: its slacks are its constraints, and it has no values, which would be those of an
        unfinished training (`Study.tell` refuses values of a pruned trial). Samplers take it as no completed trial.
        """
        trial = self._own()[number]
        if trial.state.is_finished():
            return _STATES[trial.state]
        slacks = slacks or {}
        told = [*(values or [math.nan]), *(slacks.get(name, math.nan) for name in self.plan.constraints)]
        if stopped:
            if all(math.isfinite(slacks.get(name, math.nan)) for name in self.plan.constraints):
                self._constrain(trial, slacks)
            self._study.tell(trial.number, state=TrialState.PRUNED)
            return "stopped"
        if failed or len(values or ()) != len(self.plan.objectives) or not all(map(math.isfinite, told)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            return "failed"
        live = self._constrain(trial, slacks)
        if outcome is not None:
            report(live, outcome)
        self._study.tell(trial.number, list(values or ()))
        return "complete"

    def keep_start(self, number: int, begun: TrialStart) -> None:
        """Keeps where a trial starts, before it does."""
        optuna.trial.Trial(self._study, self._own()[number]._trial_id).set_user_attr(START, begun.to_json())

    def _constrain(self, trial: FrozenTrial, slacks: Mapping[str, float]) -> optuna.trial.Trial:
        """Sets the slacks as the trial's constraints, which Optuna wants <= 0 where they hold."""
        live = optuna.trial.Trial(self._study, trial._trial_id)  # the one way to `set_constraint` on a trial asked for earlier
        for name in self.plan.constraints:
            if name not in trial.constraints:  # it is there where a kill came between this and the end
                live.set_constraint(name, -slacks[name])
        live.storage.set_trial_system_attr(trial._trial_id, OLD, [-slacks[name] for name in self.plan.constraints])
        return live

    @patient
    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _own(self) -> list[FrozenTrial]:
        """The sweep's own trials, by their numbers."""
        return self._trials()[self._taken_over :]

    def _asked(self, number: int, trial: FrozenTrial) -> ProposedTrial:
        params = {each.name: decode(each.kind, trial.params[each.name]) for each in self.plan.parameters}
        kept = trial.user_attrs.get(START)
        return ProposedTrial(number, params, None if kept is None else TrialStart.from_json(kept))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's notes that a part of it is new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _open(plan: Plan, storage: BaseStorage, name: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if plan.storage is None:  # its one study is this sweep's, whatever name it had
        names = [each.study_name for each in storage.get_all_studies()]
        name = names[0] if len(names) == 1 else name
    return optuna.create_study(
        study_name=name,
        storage=storage,
        directions=list(plan.objectives.values()),
        sampler=RandomSampler(),  # never used: `ask` samples in memory
        load_if_exists=True,
    )

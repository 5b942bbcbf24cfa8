"""The study: which trials were asked for and what they answered, kept in the output folder by Optuna's journal.

Why the journal and not SQLite: it is one append-only file, flushed to the disk with every record, that also works on the
shared file systems clusters have (SQLite's locks do not, on many); what a `kill -9` leaves behind is at most half a last
line, which is cut off on opening, and a stale lock. `optuna-dashboard OUTPUT/study.journal` opens it.

An ask is one record: the sampler works on a copy of the history in memory, and the trial is written with all its
parameters at once. So after a kill a trial is there whole, to be resumed, or not at all, to be asked again the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import optuna
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from sweeps.informed import DualInformedSampler, Outcome, report
from sweeps.plan import Plan
from sweeps.samplers import decode, distributions, sampler_for
from sweeps.starts import ATTRIBUTE as START
from sweeps.starts import Begun
from sweeps.unchanged import check_unchanged, fingerprint
from trainer.errors import BadInput, Problem

JOURNAL = "study.journal"
_FINGERPRINT = "dualsweep"
State = Literal["running", "complete", "failed"]
_STATES: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Asked:
    """A trial to run: its number, from 0, the value of every parameter by name, and its start once that is decided."""

    number: int
    params: dict[str, Any]
    start: Begun | None = None


class Study:
    """Ask and tell over one sweep, in one process at a time.

    A trial that was asked for and never told is `unfinished` after the next opening, with its number and parameters.
    """

    def __init__(self, plan: Plan, output: Path) -> None:
        """Opens the study in `output`, or begins it.

        Raises:
            BadInput: another process has it open, or it was begun with another search, recipe, objectives or sampler.
        """
        output.mkdir(parents=True, exist_ok=True)
        self.plan = plan
        self._judged: tuple[int, str | None] | None = None  # the end is judged once for each trial that has ended
        self._lock = _lock(output)
        try:
            self._study = _open(plan, output / JOURNAL)
            kept = self._study.user_attrs.get(_FINGERPRINT)
            if kept is None:
                with _quiet():
                    self._study.set_metric_names(list(plan.objectives))  # what the dashboard shows
                self._study.set_user_attr(_FINGERPRINT, fingerprint(plan))
            else:
                check_unchanged(plan, kept)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes open the study."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def states(self) -> dict[int, State]:
        """The state of every trial by number."""
        return {each.number: _STATES.get(each.state, "running") for each in self._trials()}

    @property
    def finished(self) -> int:
        """Trials that have been told, complete or failed."""
        return sum(each.state.is_finished() for each in self._trials())

    @property
    def remaining(self) -> int:
        """Trials that may yet be asked for; none where the sampler has found an end."""
        left = max(0, self.plan.trials - len(self._trials()))
        return 0 if left and self.stopped else left

    @property
    def stopped(self) -> str | None:
        """Why the sampler asks for no more, in words; None where it would go on."""
        sampler = sampler_for(self.plan, 0)
        if not isinstance(sampler, DualInformedSampler):
            return None
        if self._judged is None or self._judged[0] != self.finished:
            verdict = sampler.verdict(self._study)
            self._judged = self.finished, verdict.reason if verdict.stop else None
        return self._judged[1]

    def unfinished(self) -> list[Asked]:
        """Trials asked for and not told, by number: after an interruption these come first, as they are."""
        return [self._asked(each) for each in self._trials() if not each.state.is_finished()]

    def ask(self) -> Asked:
        """A new trial. What it is depends on the plan, its number and the trials before it, not on this process.

        Raises:
            RuntimeError: `remaining` is 0.
        """
        if not self.remaining:
            raise RuntimeError(
                f"A new trial must be within the plan's {self.plan.trials}, but {self.stopped or 'all were asked for'}; "
                "raise `trials`, or lower the sampler's `tolerance`."
            )
        history = self._trials()
        memory = optuna.create_study(
            directions=list(self.plan.objectives.values()),
            storage=InMemoryStorage(),
            sampler=sampler_for(self.plan, len(history)),
        )
        memory.add_trials(history)
        with _quiet():
            memory.ask(distributions(self.plan))
        self._study.add_trial(memory.get_trials(deepcopy=False)[-1])
        return self._asked(self._trials()[-1])

    def tell(
        self,
        number: int,
        values: Sequence[float] | None,
        slacks: Mapping[str, float] | None = None,
        failed: bool = False,
        outcome: Outcome | None = None,
    ) -> State:
        """Ends a trial. `values` are the objectives in the plan's order; `slacks` b - g by constraint, >= 0 where it holds.

        `outcome` is what the sampler `dual_informed` reads; without it the trial says nothing of the front.

        A trial is `failed` where it is said to be, and where a value or a slack is missing or not finite: Optuna takes a
        trial without constraints as feasible, and leaves one with a NaN running. Told again, a trial stays as it is.
        """
        trial = self._trials()[number]
        if trial.state.is_finished():
            return _STATES[trial.state]
        slacks = slacks or {}
        told = [*(values or [math.nan]), *(slacks.get(name, math.nan) for name in self.plan.constraints)]
        if failed or len(values or ()) != len(self.plan.objectives) or not all(map(math.isfinite, told)):
            self._study.tell(number, state=TrialState.FAIL)
            return "failed"
        live = optuna.trial.Trial(self._study, trial._trial_id)  # the one way to `set_constraint` on a trial asked for earlier
        for name in self.plan.constraints:
            if name not in trial.constraints:  # it is there where a kill came between this and the next line
                live.set_constraint(name, -slacks[name])
        if outcome is not None:
            report(live, outcome)
        self._study.tell(number, list(values or ()))
        return "complete"

    def keep_start(self, number: int, begun: Begun) -> None:
        """Keeps where a trial starts, before it does."""
        optuna.trial.Trial(self._study, self._trials()[number]._trial_id).set_user_attr(START, begun.to_json())

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _asked(self, trial: FrozenTrial) -> Asked:
        params = {each.name: decode(each.kind, trial.params[each.name]) for each in self.plan.parameters}
        kept = trial.user_attrs.get(START)
        return Asked(trial.number, params, None if kept is None else Begun.from_json(kept))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's notes that a part of it is new."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _lock(output: Path) -> int | None:
    """Holds the folder for this process; the system lets go when the process ends, however it ends."""
    handle = os.open(output / "study.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 100).decode(errors="replace").strip() or "another process"
        os.close(handle)
        way_out = "wait until it has ended, or give another `--output`"
        raise BadInput([Problem(str(output), 1, "output", "must not be in use by another sweep", holder, way_out)]) from None
    except OSError:  # a file system without locks: the journal's own lock still keeps its records whole
        return handle
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
    return handle


def _open(plan: Plan, journal: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _mend(journal)
    return optuna.create_study(
        study_name=plan.name,
        storage=JournalStorage(JournalFileBackend(str(journal))),
        directions=list(plan.objectives.values()),
        sampler=RandomSampler(),  # never used: `ask` samples in memory
        load_if_exists=True,
    )


def _mend(journal: Path) -> None:
    """Cuts off a last line that a kill left half written, and removes the lock it left: nobody else has the study open."""
    journal.with_name(journal.name + ".lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    text = journal.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(journal, whole)

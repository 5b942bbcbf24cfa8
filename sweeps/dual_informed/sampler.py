"""`DualInformedSampler`: an Optuna sampler that places the budgets of constrained trainings by their multipliers.

    from dualsweep.analysis.trials import Budget
    from dualsweep.sweeps.dual_informed.outcome import Outcome, report
    from dualsweep.sweeps.dual_informed.sampler import DualInformedSampler

    budgets = [Budget("b", ("four",), "at_most", 0.08, 0.25)]
    study = optuna.create_study(sampler=DualInformedSampler(budgets, beside=TPESampler(seed=0)))

    def objective(trial):
        done = train(at_most=trial.suggest_float("b", 0.08, 0.25), step_size=trial.suggest_float("step", 1e-3, 1e-1, log=True))
        report(trial, Outcome(done.objective, {"four": done.value}, {"four": done.multiplier}))
        return done.objective

    study.optimize(objective, n_trials=20)            # ends before, where the band is narrow
    study.user_attrs["dualsweep.stopped"]             # and says why

Nothing is kept but the study: every ask reads its trials anew. So any storage will do, several processes may work on one
study, and a study that is opened again goes on as it would have.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from dualsweep.analysis.certified.observations import Vector
from dualsweep.analysis.certified.reading import read
from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.dual_informed.observing import Translator, distribution
from dualsweep.sweeps.dual_informed.outcome import Outcome
from dualsweep.sweeps.dual_informed.search import JUDGED_EACH_UP_TO, Search, StopDecision, judged_at

STOPPED = "dualsweep.stopped"


@dataclass(frozen=True)
class Front:
    """The front at N budgets, in the user's units: its band, the prediction within it, and the multipliers by budget.

    `lower` [N] <= truth <= `upper` [N], infinite where nothing is known; `prices` hold each budget's multiplier [N].
    """

    lower: Vector
    upper: Vector
    objective: Vector
    prices: Mapping[str, Vector]


class DualInformedSampler(BaseSampler):
    """Places budgets by the front's certified band and predicted hypervolume improvement; all else is left to `beside`.

    Args:
        budgets: the searched parameters that are budgets; each is to be suggested over the same range.
        beside: the sampler of the other parameters; independent draws unless given.
        direction: of the objective that the budgets constrain.
        base: the outcome of a model that was there before (multipliers 0), as a free trial.
        ideal: the best value that the objective can have, where that is known: 0 of a KL divergence.
        z: standard errors of margin on both sides of the band.
        tolerance: the width of the band, as a part of the front's range, at which the search ends.
        seed: of the cloud of budgets that are compared.

    Raises:
        ValueError: no budgets, one that is none (`Translator`), or `z` or `tolerance` below 0.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        *,
        beside: BaseSampler | None = None,
        direction: Literal["minimize", "maximize"] = "minimize",
        base: Outcome | None = None,
        ideal: float | None = None,
        z: float = 2.0,
        tolerance: float = 0.05,
        seed: int = 0,
    ) -> None:
        if not budgets or z < 0 or tolerance < 0:
            raise ValueError(
                f"a search by multipliers must have a budget, z >= 0 and tolerance >= 0, but got {list(budgets)}, z={z} and "
                f"tolerance={tolerance}; search a budget, or take another sampler"
            )
        self._beside = beside or RandomSampler(seed=seed)
        self._translator = Translator(tuple(budgets), direction == "maximize", base)
        self._distributions = {each.parameter: distribution(each) for each in budgets}
        bound = -np.inf if ideal is None else self._translator.sign * ideal
        self._search = Search(self._translator.box, z, tolerance, bound, seed)
        self._judged: tuple[tuple[str, int, int], StopDecision] | None = None

    def verdict(self, study: Study) -> StopDecision:
        """Whether the search is over, and why; asked of a study at any time.

        Of more than `JUDGED_EACH_UP_TO` ended trials it is that of the first `judged_at` of them.
        """
        return self._judge(study, study.get_trials(deepcopy=False))

    def front(self, study: Study, at: Sequence[Mapping[str, float]]) -> Front:
        """The front as the study knows it, at budgets given by their parameters' names.

        Raises:
            ValueError: no trial of the study has an outcome yet.
        """
        translator = self._translator
        history = translator.history(study.get_trials(deepcopy=False))
        if not len(history.trials):
            raise ValueError("a front must rest on a trial, but the study has none with an outcome; run one, or give `base`")
        budgets = translator.asked(at)
        reading = read(history.trials, translator.box, budgets, self._search.z, self._search.ideal)
        prices = {name: reading.prices[:, i] for i, name in enumerate(self._distributions)}
        lower, upper, objective = reading.band.lower, reading.band.upper, reading.front
        if translator.maximize:
            lower, upper, objective = -upper, -lower, -objective
        return Front(lower, upper, objective, prices)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The budgets, and what the other sampler places jointly."""
        others = self._others(self._beside.infer_relative_search_space(study, trial))
        return {**self._distributions, **others}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """The next budgets, beside the other sampler's draw."""
        others = self._beside.sample_relative(study, trial, self._others(search_space))
        return {**others, **self._translator.params(self._search.ask(self._translator.history(self._trials(study, trial))))}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """The other sampler's draw. A budget comes here only where the range it is suggested with is not its own."""
        if param_name in self._distributions:
            raise ValueError(
                f"`{param_name}` must be suggested with the distribution of its Budget, "
                f"{self._distributions[param_name]}, but got {param_distribution}; make the two alike"
            )
        return self._beside.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Tells the sampler of the other parameters that a trial begins."""
        self._beside.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Ends `study.optimize` where the search is over, and keeps the reason in the study."""
        self._beside.after_trial(study, trial, state, values)
        ended = copy.copy(trial)  # the storage hears of the end only after this
        ended.state = state
        verdict = self._judge(study, self._trials(study, without=trial, ended=(ended,)))
        if verdict.stop:
            study.set_user_attr(STOPPED, verdict.reason)
            try:
                study.stop()
            except RuntimeError:  # ask and tell: whoever asks looks at the reason
                return

    def reseed_rng(self) -> None:
        """Reseeds the sampler of the other parameters; budgets are a function of the seed and the study."""
        self._beside.reseed_rng()

    def _others(self, space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        return {name: each for name, each in space.items() if name not in self._distributions}

    def _judge(self, study: Study, trials: Sequence[FrozenTrial]) -> StopDecision:
        """The verdict of these trials. One of many trials is kept, as it costs seconds: it is the same until the next is due."""
        ended = [each for each in trials if each.state.is_finished()]
        if len(ended) <= JUDGED_EACH_UP_TO:
            return self._search.verdict(self._translator.history(trials))
        first = sorted(ended, key=lambda each: (each.datetime_complete or datetime.max, each.number))[: judged_at(len(ended))]
        key = study.study_name, len(first), first[-1].number
        if self._judged is None or self._judged[0] != key:
            counted = {each.number for each in first}
            history = self._translator.history([t for t in trials if t.number in counted or not t.state.is_finished()])
            self._judged = key, self._search.verdict(history)
        return self._judged[1]

    def _trials(self, study: Study, without: FrozenTrial, ended: Sequence[FrozenTrial] = ()) -> list[FrozenTrial]:
        return [*(each for each in study.get_trials(deepcopy=False) if each.number != without.number), *ended]

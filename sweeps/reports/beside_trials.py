"""What the other trials of its sweep say of one that has ended: what its budgets cost, and which gives a wanted share."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.trials import JUDGED_STATUSES, SweepRecord
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.records.folder_kind import RECORDS
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer import metric_names
from dualsweep.trainer.verdicts.class_share import ClassShare, class_shares_of, classes_of, share_in

#: Constraints whose wanted share is asked for, by name.
Wanted = Mapping[str, float]
_log = logging.getLogger(__name__)


def beside_folder(explained: Explained, sweep: Path, trial_id: str, wanted: Wanted) -> Explained:
    """What is explained of a trial, with what the records in its sweep's folder add; the same where these are not there."""
    if not (sweep / RECORDS).is_dir():
        return explained
    trials = tuple(record.as_trial() for record in TrialRecord.load_all(sweep))
    record = SweepRecord("", sweep.name, "", {}, None, trials, maximizes=explained.recipe.maximizes)
    return _beside(explained, record, trial_id, wanted)


def beside_mlflow(explained: Explained, tracking_uri: str, sweep_run: str, trial_id: str, wanted: Wanted) -> Explained:
    """The same of a trial whose sweep MLflow holds; what is explained of the trial alone where its sweep cannot be read."""
    from dualsweep.analysis.reading import read_sweep

    try:
        record = read_sweep(tracking_uri, sweep_run)
    except ReviewError as error:
        _log.warning("what the sweep's other trials tell is left out: %s", error)
        return explained
    return _beside(explained, record, trial_id, wanted)


def _beside(explained: Explained, record: SweepRecord, trial_id: str, wanted: Wanted) -> Explained:
    ended = explained.result.constraints
    # Where the largest value is minimised a constraint has no budget that could be another.
    shares = [each for each in class_shares_of(explained.recipe, explained.result) if ended[each.name].kind != "minimax"]
    goals = [_goal(explained, record, each, wanted.get(each.name, each.even)) for each in shares]
    return replace(explained, prices=_prices(record, trial_id), goals=tuple(goal for goal in goals if goal))


def _prices(record: SweepRecord, trial_id: str) -> tuple[str, ...]:
    from dualsweep.analysis.prices.shadow import Pricing  # SciPy

    prices = Pricing(record).of([trial for trial in record.trials if trial.trial_id == trial_id])
    told = (*(price.sentence for price in prices.prices), *prices.troubles.values())
    return told or ((prices.unpriced,) if prices.unpriced else ())


def _goal(explained: Explained, record: SweepRecord, own: ClassShare, wanted: float) -> str:
    """Which budget likely gives the wanted share of one constraint's classes, in a sentence."""
    from dualsweep.analysis.wanted_share import LEAST, value_for  # SciPy

    named, metric = classes_of(explained.recipe)[own.name], metric_names.value(own.name)
    pairs = np.array(
        [(trial.metric(metric), share_in(trial.metrics, named)) for trial in record.trials if trial.status in JUDGED_STATUSES]
    ).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    likely = value_for(wanted, pairs[:, 0], pairs[:, 1], own.count)
    budget = f"constraints.{own.name}.{explained.result.constraints[own.name].kind}"
    if likely is None:
        return f"Which {budget} gives a share of {wanted:.3g} is told from {LEAST} trials with different budgets on."
    if math.isnan(likely.value):
        return f"The shares of {len(pairs)} trials do not follow the values of `{own.name}` beyond noise: no budget is told."
    ends = f"{likely.value:.3g} ({likely.low:.3g} to {likely.high:.3g}, 95 %)"
    if likely.within:
        return f"{budget} {ends} would likely give a share of {wanted:.3g}, by what {len(pairs)} trials attained."
    best = pairs[np.argmin(np.abs(pairs[:, 1] - wanted))]
    return (
        f"No trial attained what likely gives a share of {wanted:.3g}: {budget} {ends}, beyond all {len(pairs)}; the nearest "
        f"share was {best[1]:.3g}, at {best[0]:.3g}."
    )

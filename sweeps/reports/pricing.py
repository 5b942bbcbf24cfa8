"""What the budgets of one trial cost, by its multipliers and the other trials of its sweep, in sentences."""

from __future__ import annotations

from pathlib import Path

from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps.records.folder_kind import RECORDS
from dualsweep.sweeps.records.trial_record import TrialRecord


def priced_in_folder(sweep: Path, trial_id: str, *, maximizes: bool) -> tuple[str, ...]:
    """Sentences on the prices of a trial in a sweep's folder; none where its records are not there."""
    if not (sweep / RECORDS).is_dir():
        return ()
    trials = tuple(record.as_trial() for record in TrialRecord.load_all(sweep))
    return _sentences(SweepRecord("", sweep.name, "", {}, None, trials, maximizes=maximizes), trial_id)


def priced_in_mlflow(tracking_uri: str, sweep_run: str, trial_id: str) -> tuple[str, ...]:
    """Sentences on the prices of a trial whose sweep MLflow holds.

    Raises:
        ReviewError: there is no such sweep.
    """
    from dualsweep.analysis.reading import read_sweep

    return _sentences(read_sweep(tracking_uri, sweep_run), trial_id)


def _sentences(record: SweepRecord, trial_id: str) -> tuple[str, ...]:
    from dualsweep.analysis.prices.shadow import Pricing  # SciPy

    prices = Pricing(record).of([trial for trial in record.trials if trial.trial_id == trial_id])
    told = (*(price.sentence for price in prices.prices), *prices.troubles.values())
    return told or ((prices.unpriced,) if prices.unpriced else ())

"""How the errors of trials vary together that were evaluated on the same draws, from what each of them drew.

A sweep's trials have one seed, so their final evaluations meet the same images, noises and timesteps, and a hard draw is hard
for all of them. The covariance of two means is that of the draws they share, paired one by one; where trials do not pair (another
seed, other data) it is 0, and where nothing was kept it is not known. What values are measured with (a scale of rewards, a judge)
errs alike for all trials, too.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualsweep.analysis.store import artifacts_of, download
from dualsweep.analysis.trial_draws import TrialDraws
from dualsweep.analysis.trials import JUDGED_STATUSES, Trial
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.evaluation.draws_file import DRAWS, loaded, naming
from dualsweep.trainer.evaluation.spread import MeanSpread

Vector = NDArray[np.float64]
#: Requests that a store may fail before it is asked no more: one that is away would be waited for with each.
_FAILED = 3
_log = logging.getLogger(__name__)


def read_draws(tracking_uri: str, trials: Sequence[Trial]) -> dict[str, TrialDraws]:
    """What single trainings drew in their final evaluations, by trial id; without those that kept nothing that can be read.

    Each trial is a request to the store.
    """
    judged = [each for each in trials if each.status in JUDGED_STATUSES and each.replicates == 1]
    trial_draws, failures = dict[str, TrialDraws](), list[str]()
    for trial in judged:
        try:
            data = _kept(tracking_uri, trial)
        except Exception as error:  # every store has an error of its own
            failures.append(masked(first_line(error)))
            if len(failures) == _FAILED:
                break
            continue
        try:
            if data is not None:
                drawn, seed = loaded(data)
                trial_draws[trial.trial_id] = TrialDraws(drawn, seed, *naming(data))
        except ValueError:  # of another version
            continue
    if failures:
        _log.warning("what trials drew cannot be read (%s), so the band takes each of them alone, and is wider", failures[0])
    return trial_draws


def _kept(tracking_uri: str, trial: Trial) -> bytes | None:
    """A trial's file of draws; None where it has none."""
    if DRAWS not in artifacts_of(tracking_uri, trial):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return download(tracking_uri, trial, DRAWS, folder).read_bytes()


def related(trials: Sequence[TrialDraws | None], names: Sequence[str]) -> NDArray[np.bool_]:
    """Of which trials [n] it is known how their means of (f, g_1 .. g_K) vary with others': every draw of these was kept."""
    return np.array([each is not None and _kept_all(each, names) for each in trials], dtype=np.bool_)


def _kept_all(trial: TrialDraws, names: Sequence[str]) -> bool:
    rows = trial.rows(names)
    if rows is None:
        return False
    told = {column for draws in trial.drawn.sets if _tells(draws) for column in draws.columns}
    return told >= set(np.flatnonzero(np.abs(rows).any(axis=0)).tolist())


def _tells(draws: JointDraws) -> bool:
    return len(draws.values) > 1 and bool(np.isfinite(draws.values).all())


def correlations(trials: Sequence[TrialDraws | None], names: Sequence[str]) -> Vector | None:
    """Correlations [n (1 + K), n (1 + K)] of the trials' means of (f, g_1 .. g_K), trial by trial; None where no two pair."""
    width = 1 + len(names)
    covariance, pairs = np.zeros([len(trials) * width] * 2), False
    for alike in _alike(trials, names):
        pairs = pairs or len(alike) > 1
        at = np.concatenate([np.arange(width) + each.place * width for each in alike])
        covariance[np.ix_(at, at)] += _covariance(alike)
    sizes = np.sqrt(np.diag(covariance))
    if not pairs:
        return None
    with np.errstate(all="ignore"):
        correlation = covariance / np.outer(sizes, sizes)
    correlation = np.where(np.isfinite(correlation), correlation, 0.0)
    np.fill_diagonal(correlation, 1.0)
    return correlation


class _Told(NamedTuple):
    """What a trial's means vary by; `part` is that of its draws that are known."""

    place: int
    spread: MeanSpread
    part: float


def _alike(trials: Sequence[TrialDraws | None], names: Sequence[str]) -> list[list[_Told]]:
    """Trials' places with what they drew, in groups that drew the same: the same units, or the same to measure values with."""
    groups: dict[tuple[object, ...], list[Member]] = {}
    scales: dict[tuple[object, ...], list[_Told]] = {}
    for place, trial in enumerate(trials):
        rows = trial.rows(names) if trial is not None else None
        if trial is None or rows is None:
            continue
        for draws in trial.drawn.sets:
            if _tells(draws):
                key = (trial.seed, draws.columns, draws.pool, draws.stratified)
                groups.setdefault(key, []).append((place, draws, rows[:, list(draws.columns)]))
        # Scales of other samples are about independent by what they put in, whatever their seed; judges are told by name.
        for number, (calibration, spread) in enumerate(trial.drawn.calibrated(rows)):
            by = (number, calibration.columns, len(spread.shares), calibration.identity)
            scales.setdefault(by, []).append(_Told(place, spread, 1.0))
    paired = [alike for members in groups.values() for alike in _paired(members)]
    told = [[_Told(place, draws.spread(rows), _part(draws)) for place, draws, rows in alike] for alike in paired]
    return told + list(scales.values())


def _part(draws: JointDraws) -> float:
    """Of draws on units, which are drawn again and again, all that is known is taken for all."""
    return 1.0 if draws.units is not None or not draws.total else len(draws.values) / draws.total


Member = tuple[int, JointDraws, Vector]


def _paired(members: Sequence[Member]) -> list[list[Member]]:
    """Groups of trials whose draws are of the same units, as far as the shorter of them goes."""
    groups: list[list[Member]] = []
    for member in members:
        mine = next((group for group in groups if _same(group[0][1], member[1])), None)
        if mine is None:
            groups.append([member])
        else:
            mine.append(member)
    return groups


def _same(one: JointDraws, other: JointDraws) -> bool:
    shorter, longer = sorted((one.stages, other.stages), key=sum)
    if longer[: len(shorter)] != shorter and longer[: len(shorter) - 1] != shorter[:-1]:
        return False
    count = sum(shorter)
    for mine, theirs in ((one.units, other.units), (one.groups, other.groups)):
        if (mine is None) != (theirs is None):
            return False
        if mine is not None and theirs is not None and not np.array_equal(mine[:count], theirs[:count]):
            return False
    return True


def _covariance(alike: Sequence[_Told]) -> Vector:
    """The covariance of all their means, by what each unit or draw put into them: nothing into those that did not have it.

    So of two trials, of which one went on for longer, it is that of the draws they share: rho s_1 s_2 sqrt(n_1 / n_2). Where only
    the first k of n draws are known, variances fall by k / n, and covariances by the lesser such part of the two.
    """
    numbers = np.unique(np.concatenate([each.spread.numbers for each in alike]))
    width = alike[0].spread.shares.shape[1]
    shares = np.zeros((len(numbers), len(alike) * width))
    for place, each in enumerate(alike):
        shares[np.searchsorted(numbers, each.spread.numbers), place * width : (place + 1) * width] = each.spread.shares
    parts = np.repeat([each.part for each in alike], width)
    result: Vector = shares.T @ shares * np.minimum.outer(parts, parts)
    return result

"""The correlations of trials on common draws against numpy's, and the file that they are read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualsweep.analysis.bands import slices, with_draws
from dualsweep.analysis.common_draws import correlations, related
from dualsweep.analysis.front import find_front
from dualsweep.analysis.trial_draws import TrialDraws
from dualsweep.trainer.evaluation import draws_file
from dualsweep.trainer.evaluation.drawn import JointDraws, drawn_values
from dualsweep.trainer.evaluation.draws_file import DRAWS as FILE
from dualsweep.trainer.evaluation.draws_file import loaded, naming, stored
from dualsweep.trainer.evaluation.scale import Scale
from tests.analysis.test_bands import sweep

NAMES, DRAWS = ("four", "five"), 4000


def drawn(place: int, common: np.ndarray, *, seed: int = 0, count: int = DRAWS, relative: bool = False) -> TrialDraws:
    """Objective and two constraints, the last on draws of its own; `common` [DRAWS, 3] is in all trials."""
    own = np.random.default_rng(100 + place).standard_normal(common.shape)
    values = (common + 0.5 * own)[:count]
    sets = [JointDraws((0, 1), values[:, :2], (count,)), JointDraws((2,), values[:, 2:], (count,))]
    return TrialDraws(drawn_values(3, sets), seed, NAMES, (relative, False))


COMMON = np.random.default_rng(0).standard_normal((DRAWS, 3)) @ np.array([[1.0, 0.3, 0], [0, 1, 0], [0, 0, 1]])


def test_the_correlations_are_those_of_the_draws() -> None:
    trials = [drawn(place, COMMON, relative=True) for place in range(2)]
    matrix = correlations(trials, ["five", "four"])  # another order than that of the file
    columns = []
    for trial in trials:
        joint, apart = (each.values for each in trial.drawn.sets)
        columns += [joint[:, 0], apart[:, 0], joint[:, 1] - joint[:, 0]]
    wanted = np.array(np.corrcoef(np.array(columns)))
    wanted[np.ix_([1, 4], [0, 2, 3, 5])] = wanted[np.ix_([0, 2, 3, 5], [1, 4])] = 0.0  # five was drawn apart
    assert matrix is not None and matrix == pytest.approx(wanted, abs=1e-9)
    assert matrix[0, 3] == pytest.approx(0.8, abs=0.05) and np.linalg.eigvalsh(matrix)[0] >= -1e-9


def test_trials_pair_as_far_as_both_go_and_not_with_other_seeds_or_without_draws() -> None:
    trials = [drawn(0, COMMON), drawn(1, COMMON, count=1000), drawn(2, COMMON, seed=1), None]
    matrix = correlations(trials, ["four"])
    assert matrix is not None and matrix[0, 2] == pytest.approx(0.8 * np.sqrt(1000 / DRAWS), abs=0.08)
    both = correlations([trials[0], trials[0], trials[1]], ["four"])  # a third that stopped early takes nothing from these
    assert both is not None and both[0, 2] == pytest.approx(1.0) and both[0, 4] == pytest.approx(matrix[0, 2])
    assert (matrix[:4, 4:] == 0).all() and np.diag(matrix) == pytest.approx(1.0)
    assert correlations(trials[2:], ["four"]) is None and correlations(trials, ["six"]) is None


def test_trials_whose_first_draws_alone_are_kept_pair_as_by_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept ones of a trial that went on for longer tell how it varies, and how many it drew how much less."""
    monkeypatch.setattr(draws_file, "MOST", 500)
    calibrations = (Scale((2,), np.random.default_rng(9).standard_normal((300, 1))),)
    counts = {0: DRAWS, 1: 2000, 2: 400}
    trials = [replace(drawn(place, COMMON, count=count), names=NAMES) for place, count in counts.items()]
    trials = [replace(each, drawn=replace(each.drawn, calibrations=calibrations)) for each in trials]
    kept = [TrialDraws(*loaded(stored(each.drawn, 0)), NAMES, (False, False)) for each in trials]
    assert [len(each.drawn.sets[0].values) for each in kept] == [500, 500, 400]
    whole, known = correlations(trials, NAMES), correlations(kept, NAMES)
    assert whole is not None and known is not None and known == pytest.approx(whole, abs=0.1)
    assert 0.1 < whole[0, 6] < 0.3 < whole[0, 3] < 0.6 and np.linalg.eigvalsh(known)[0] > 0


def test_draws_of_units_pair_by_units() -> None:
    """Of 50 images, which a longer trial sees twice as often: so all of their scatter is shared, at any numbers of draws."""
    images = np.random.default_rng(0).standard_normal(50)
    units = np.tile(np.arange(50), 40)
    trials = []
    for count in (1000, 2000):
        own = 0.1 * np.random.default_rng(count).standard_normal(count)
        draws = JointDraws((0, 1), (images[units[:count]] + own)[:, None] * [1.0, 2.0], (count,), units=units[:count])
        trials.append(TrialDraws(drawn_values(2, [draws]), 0, ("four",), (False,)))
    matrix = correlations(trials, ["four"])
    assert matrix is not None and matrix[1, 3] > 0.99


def test_a_scale_that_trials_share_is_a_part_of_their_correlation() -> None:
    """Draws of two seeds are independent, and the rest of the variance is that of the scale: as it is, and from the file."""
    z = np.random.default_rng(9).standard_normal((300, 1))
    trials = [replace(drawn(place, COMMON, seed=place, count=1000), names=("four", "five")) for place in range(2)]
    trials = [replace(each, drawn=replace(each.drawn, calibrations=(Scale((2,), z),))) for each in trials]
    shares = [float(each.drawn.variance_by(each.drawn.calibrations[0])[0] / each.drawn.estimate().variance[2]) for each in trials]
    read = [TrialDraws(*loaded(stored(each.drawn, each.seed)), each.names, each.relative) for each in trials]
    for those in (trials, read):
        matrix = correlations(those, ["five"])
        assert matrix is not None and matrix[1, 3] == pytest.approx(np.sqrt(shares[0] * shares[1]), rel=0.02)
        assert matrix[0, 2] == 0 and 0.6 < shares[0] < 0.9
    calibrations = [(Scale((2,), z, identity=name),) for name in ("one judge", "another")]
    apart = [replace(each, drawn=replace(each.drawn, calibrations=of)) for each, of in zip(trials, calibrations, strict=True)]
    matrix = correlations(
        [TrialDraws(*loaded(stored(each.drawn, each.seed)), each.names, each.relative) for each in apart], ["five"]
    )
    assert matrix is None or matrix[1, 3] == 0
    assert [loaded(stored(each.drawn, 0))[0].calibrations[0].identity for each in apart] == ["one judge", "another"]


def test_the_file_tells_which_constraint_is_which() -> None:
    kept = drawn(0, COMMON)
    data = stored(kept.drawn, 3, NAMES, (True, False))
    assert loaded(data)[1] == 3 and naming(data) == (NAMES, (True, False))
    assert naming(stored(kept.drawn, 3)) == ((), ())


def test_of_many_trials_those_that_the_band_rests_on_are_read(tmp_path: Path) -> None:
    """201 of them: without any draws their errors would have counted as independent."""
    (tmp_path / FILE).write_bytes(stored(drawn(0, COMMON, count=50).drawn, 0, NAMES, (False, False)))
    record = sweep(201)
    record = replace(record, trials=tuple(replace(each, artifacts=tmp_path.as_uri()) for each in record.trials))
    read = with_draws(record, f"sqlite:///{tmp_path}/mlflow.db").drawn
    assert len(read) == 200
    assert all(each.seed == 0 and each.names == NAMES for each in read.values())


def test_whose_draws_are_known_in_every_expectation() -> None:
    torn = drawn(1, COMMON)
    joint, apart = torn.drawn.sets
    torn = replace(torn, drawn=drawn_values(3, [joint, replace(apart, values=np.full_like(apart.values, np.nan))]))
    trials = [drawn(0, COMMON), torn, None]
    assert related(trials, ["four", "five"]).tolist() == [True, False, False]
    assert related(trials, ["four"]).tolist() == [True, True, False]
    assert related(trials, ["six"]).tolist() == [False, False, False]


def test_common_draws_narrow_the_band_of_a_record() -> None:
    record = sweep(8)
    noisy = tuple(
        replace(
            trial, metrics={**trial.metrics, "objective_error": 0.002},
            constraints=tuple(replace(each, multiplier_error=0.0) for each in trial.constraints),
        )
        for trial in record.trials
    )  # fmt: skip
    record = replace(record, trials=noisy)
    own = {trial.trial_id: TrialDraws(replace(drawn(0, COMMON).drawn), 0, NAMES, (False, False)) for trial in noisy}
    (apart,) = slices(record, find_front(record))
    (together,) = slices(replace(record, drawn=own), find_front(record))
    widths = [np.array(each.upper) - np.array(each.lower) for each in (apart, together)]
    closed = np.isfinite(widths[0]) & np.isfinite(widths[1])
    assert (widths[1][closed] < widths[0][closed]).all()

"""Sums of per-sample values against brute force, however many batches are kept, and with values that are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualsweep.trainer.dual.reduction import reduce
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.sources import value_accumulator
from dualsweep.trainer.sources.value_accumulator import Places, ValueAccumulator

SIZE = 4


def batches(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of several sizes, one of them empty, in which expectation 2 has no value at first and one at last."""
    rng = np.random.default_rng(seed)
    made = [(rng.choice([0, 1, 3], count), rng.normal(3.0, 1.0, count).astype(np.float32)) for count in (1, 7, 0, 32)]
    return [*made, (np.array([0, 2, 0]), np.array([1.0, -2.0, 4.0], dtype=np.float32))]


def by_hand(drawn: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Counts, sums, sums of squares, numbers of neighbours and sums of their squared differences, [5, SIZE]."""
    sums = np.zeros((5, SIZE))
    for columns, values in drawn:
        for column in range(SIZE):
            own = values[columns == column].astype(np.float64)
            pairs = [(own[k + 1] - own[k]) ** 2 for k in range(len(own) - 1)]
            sums[:, column] += [len(own), own.sum(), (own**2).sum(), len(pairs), sum(pairs)]
    return sums


def told(report: SlackReport) -> np.ndarray:
    assert report.neighbours is not None
    return np.stack([report.count, report.total, report.squares, *report.neighbours])


@pytest.mark.parametrize("table", [1, 60, 2**20])
def test_stratified_values(table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_accumulator, "LARGEST_TABLE", table)
    sums = ValueAccumulator(SIZE)
    for seed in range(2):  # the second report begins anew
        for columns, values in batches(seed):
            sums.add_stratified(columns, torch.from_numpy(values))
        report = sums.report(seed, 1)
        np.testing.assert_allclose(told(report), by_hand(batches(seed)), rtol=1e-13)
        assert (report.step, report.rank, report.products) == (seed, 1, None)


def test_what_is_not_finite_stays_in_its_own_expectation() -> None:
    sums, drawn = ValueAccumulator(SIZE), batches()
    drawn[1][1][np.flatnonzero(drawn[1][0] == 1)[0]] = np.nan
    for columns, values in drawn:
        sums.add_stratified(columns, torch.from_numpy(values))
    report, others = told(sums.report(0, 0)), [0, 2, 3]
    assert np.isnan(report[1:3, 1]).all()
    np.testing.assert_allclose(report[:, others], by_hand(drawn)[:, others], rtol=1e-13)


def test_values_on_the_same_samples() -> None:
    rng, sums = np.random.default_rng(0), ValueAccumulator(SIZE)
    first, second = rng.normal(size=(2, 5, 2)).astype(np.float32)
    for values in (first, second):
        sums.add_joint([3, 1], torch.from_numpy(values))
    sums.add_stratified(np.array([0, 0]), torch.tensor([1.0, 2.0]))
    report, both = sums.report(0, 0), np.concatenate([first, second]).astype(np.float64)
    np.testing.assert_array_equal(report.count, [2, 10, 0, 10])
    np.testing.assert_allclose(report.total[[3, 1]], both.sum(0), rtol=1e-12)
    np.testing.assert_allclose(report.squares[[3, 1]], (both**2).sum(0), rtol=1e-12)
    assert report.products is not None
    np.testing.assert_allclose(report.products[np.ix_([3, 1], [3, 1])], both.T @ both, rtol=1e-12)
    assert np.isnan(report.products[[0, 2]]).all() and np.isnan(report.products[:, [0, 2]]).all()


@pytest.mark.parametrize("table", [60, 2**20])
@pytest.mark.parametrize("world", [2, 3, 4, 5])
def test_errors_do_not_depend_on_the_number_of_workers(world: int, table: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours of the same batches are neighbours whoever drew them; of one batch a worker has no draw."""
    monkeypatch.setattr(value_accumulator, "LARGEST_TABLE", table)
    alone, together = ValueAccumulator(SIZE), [ValueAccumulator(SIZE) for _ in range(world)]
    for step, (columns, values) in enumerate(batches()):
        alone.add_stratified(columns, torch.from_numpy(values))
        whose = np.random.default_rng(step).integers(world - (step == 1), size=len(columns))
        for rank, sums in enumerate(together):
            mine = np.flatnonzero(whose == rank)
            sums.add_stratified(columns[mine], torch.from_numpy(values[mine]), Places(step, mine, len(columns)))
    one = reduce([alone.report(0, 0)])
    several = reduce([sums.report(0, rank) for rank, sums in enumerate(together)])
    np.testing.assert_allclose(several.mean, one.mean, rtol=1e-12)
    np.testing.assert_allclose(several.variance, one.variance, rtol=1e-12)
    assert np.isfinite(one.variance[[0, 1, 3]]).all()
    assert all(sums.report(1, 0).draws is None for sums in together), "the second report begins anew"


def test_what_is_not_finite_stays_in_its_own_expectation_among_workers() -> None:
    columns, values = np.array([0, 1, 0, 1, 0, 1]), torch.tensor([1.0, torch.nan, 2.0, 3.0, 4.0, 5.0])
    sums = [ValueAccumulator(SIZE) for _ in range(2)]
    for rank, each in enumerate(sums):
        mine = np.arange(rank * 3, rank * 3 + 3)
        each.add_stratified(columns[mine], values[mine], Places(0, mine, len(columns)))
    variance = reduce([each.report(0, rank) for rank, each in enumerate(sums)]).variance
    assert variance[0] == pytest.approx(0.5 * (1 + 4) / 2 / 3) and np.isnan(variance[1:]).all()


def test_what_workers_tell_each_other_of_a_long_dual_step_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_accumulator, "MOST_TOLD", 60)
    values = np.random.default_rng(0).normal(size=(50, 12))
    sums = [ValueAccumulator(1) for _ in range(3)]
    for step, batch in enumerate(values):
        for rank, each in enumerate(sums):
            mine = np.arange(rank, 12, 3)
            each.add_stratified(np.zeros(4, np.int64), torch.from_numpy(batch[mine]), Places(step, mine, 12))
    reports = [each.report(0, rank) for rank, each in enumerate(sums)]
    assert all(each.draws is not None and each.draws.shape == (4, 5 * 4) for each in reports)
    of_told = np.mean(np.diff(values[::10], axis=1) ** 2) / 2 / values.size
    assert reduce(reports).variance[0] == pytest.approx(of_told) and reduce(reports).mean[0] == pytest.approx(values.mean())


def test_without_values_the_report_is_of_none() -> None:
    report = ValueAccumulator(2).report(3, 0)
    assert not told(report)[:, :2].any() and report.products is None

"""Successive halving: its order against brute force, and what it costs on trials whose ends are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from dualsweep.analysis.front import non_dominated
from dualsweep.analysis.hypervolume import hypervolume
from dualsweep.sweeps.early_stopping.early_stopper import EarlyStopper
from dualsweep.sweeps.early_stopping.halving import Rungs, Standing, levels, order, spread
from dualsweep.sweeps.early_stopping.watched import Watched
from dualsweep.sweeps.planning.schema import Direction, EarlyStopping, Halving
from tests.margins import Sampled

Points = NDArray[np.float64]


def better(one: Standing, other: Standing) -> bool:
    """Constrained domination (Deb et al. 2002, definition 1)."""
    if one.violation or other.violation:
        return one.violation < other.violation
    return one != other and all(a <= b for a, b in zip(one.objectives, other.objectives, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_nobody_stands_before_who_dominates_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    standings = [
        Standing(tuple(rng.integers(0, 6, 2).astype(float)), float(rng.random() * (rng.random() < 0.4))) for _ in range(12)
    ]
    ordered = order(standings)
    assert sorted(ordered) == list(range(12))
    for earlier, later in itertools.combinations(ordered, 2):
        assert not better(standings[later], standings[earlier])
    # Rank by rank: the first ones are those that nobody dominates.
    first = [i for i in range(12) if not any(better(each, standings[i]) for each in standings)]
    if any(each.violation == 0 for each in standings):
        assert set(ordered[: len(first)]) == set(first)


@pytest.mark.parametrize("seed", range(10))
def test_the_net_takes_the_farthest_point_each_time(seed: int) -> None:
    points = np.random.default_rng(seed).random((9, 3)) * [1, 10, 100]
    net = spread(points)
    scaled = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    assert net[0] == np.argmin((scaled**2).sum(axis=1)) and sorted(net) == list(range(9))
    for k in range(1, 9):
        apart = [min(np.linalg.norm(scaled[i] - scaled[j]) for j in net[:k]) for i in range(9)]
        assert apart[net[k]] == pytest.approx(max(apart))


def test_what_is_not_known_stands_last() -> None:
    nan = float("nan")
    assert order([Standing((nan, 1.0)), Standing((2.0, 2.0), 0.5), Standing((3.0, 3.0), nan), Standing((9.0, 9.0))])[:2] == [3, 1]


def test_rungs_and_who_goes_on() -> None:
    assert levels(0.2, 3) == pytest.approx((0.2, 0.6)) and levels(0.25, 2) == (0.25, 0.5) and levels(1 / 9, 3) == (1 / 9, 1 / 3)
    rungs = Rungs(0.2, 3)
    assert rungs.passed(0, 19, 100) is None and rungs.passed(19, 20, 100) == 0.2 and rungs.passed(20, 59, 100) is None
    assert rungs.passed(10, 70, 100) == pytest.approx(0.6)
    said = [rungs.record(0.2, str(k), Standing((value,))) for k, value in enumerate([5.0, 6.0, 7.0, 4.0, 3.0, 4.5])]
    assert [each is None for each in said] == [True, True, False, True, True, False]
    assert said[-1] == "after 20 % of its steps it is number 3 of the 6 trials recorded there, of which the first 2 go on"


def test_a_trial_of_several_trainings_is_judged_once_a_rung_and_never_against_itself() -> None:
    judge = EarlyStopper(EarlyStopping(halving=Halving()), {"a": "minimize"})

    def at_first_rung(trial: int, seed: int, level: float) -> str | None:
        judge.begin(Watched(f"{trial}-{seed}", 50, trial=str(trial)))
        stop = judge.take(f"{trial}-{seed}", 10, {"a": level})
        return None if stop is None else stop.reason

    assert [at_first_rung(0, seed, level) for seed, level in enumerate((5.0, 6.0, 7.0, 8.0))] == [None] * 4
    assert at_first_rung(1, 0, 6.0) is None and at_first_rung(1, 1, 9.0) is None, "two trials do not tell"
    last = "after 20 % of its steps it is number 3 of the 3 trials recorded there, of which the first goes on"
    assert at_first_rung(2, 0, 7.0) == last
    assert at_first_rung(3, 0, 4.0) is None and at_first_rung(3, 1, 9.0) is None, "its first training stands for it"


def curves(rng: np.random.Generator, count: int) -> tuple[Points, Points]:
    """Final points [n, 2], waste above a front x y = 1, and their paths [n, 50, 2] down to them, with noise."""
    place, waste = rng.uniform(-1, 1, count), rng.exponential(0.5, count)
    final = np.stack([np.exp(place + waste / 2), np.exp(-place + waste / 2)], 1)
    fading = np.exp(-np.arange(1, 51) / rng.uniform(1, 4, (count, 1)))
    return final, final[:, None] * (1 + 2 * fading[..., None]) + 0.05 * rng.normal(size=(count, 50, 2))


def volume(points: Points) -> float:
    return hypervolume(points, ["minimize"] * 2, [5.0, 5.0])


@pytest.mark.parametrize(
    ("sweeps", "loss", "of_chance"), [(40, 0.13, 0.93), pytest.param(2400, 0.1, 0.75, marks=pytest.mark.dear)]
)
def test_a_tenth_of_the_hypervolume_is_lost_for_half_of_the_steps(
    sweeps: int, loss: float, of_chance: float, sampled: Sampled
) -> None:
    lost, saved, by_chance = [], [], []
    for seed in sampled.seeds(sweeps):
        final, paths = curves(np.random.default_rng(seed), 30)
        objectives: dict[str, Direction] = {"a": "minimize", "b": "minimize"}
        judge = EarlyStopper(EarlyStopping(halving=Halving()), objectives)
        steps = np.full(30, 50)
        for i, path in enumerate(paths):
            judge.begin(Watched(str(i), 50))
            for step, (a, b) in enumerate(path.tolist(), 1):
                if judge.take(str(i), step, {"a": a, "b": b}):
                    steps[i] = step
                    break
        kept = steps == 50
        drawn = [np.random.default_rng(draw).permutation(30)[: kept.sum()] for draw in range(10)]
        whole, rest, *other = (volume(each) for each in (final, final[kept], *(final[each] for each in drawn)))
        lost.append(1 - rest / whole)
        by_chance.append(1 - np.mean(other) / whole)
        saved.append(1 - steps.sum() / (30 * 50))
        assert non_dominated(final[kept], ["minimize"] * 2).any()
    sampled.at_least("share of steps saved", np.mean(saved), 0.55)
    sampled.at_most("share of hypervolume lost", np.mean(lost), loss)
    sampled.at_most("lost, of what chance loses", np.mean(lost) / np.mean(by_chance), of_chance)

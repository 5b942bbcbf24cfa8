"""Final values as a source draws them: errors against their scatter over seeds, the same draws on any number of workers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.evaluation.drawn import DrawnValues, JointDraws, drawn_values
from dualsweep.trainer.evaluation.draws_file import MOST, loaded, sent, stored
from dualsweep.trainer.evaluation.scale import Scale
from dualsweep.trainer.evaluation.values import expectations, lasting_error_metrics
from dualsweep.trainer.sources.mixture import MixtureSource
from dualsweep.trainer.terms.context import TermContext
from tests.margins import Sampled
from tests.trainer.recipes import digits

SEEDS = 120
STAGES = (range(60), range(60, 96))


class Gathering(LocalHost):
    """Brings together what each of several workers measured, as a cluster's hosts do."""

    def __init__(self, others: list[MixtureSource], held_out: bool, draws: range) -> None:
        super().__init__(others[0].setting.host.coordinator, others[0].setting.host.checkpoints)
        self._rest = [sent(each.measure(np.ones(3), held_out, draws)) for each in others[1:]]

    def gather(self, own):
        return [own, *self._rest]


@pytest.fixture
def source(tmp_path: Path) -> MixtureSource:
    recipe = digits(evaluation={"batch_size": 20}, data={"holdout": 0.2})
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path)))
    (mixture,) = prepare(recipe, host).sources
    assert isinstance(mixture, MixtureSource)
    return mixture


def ranked(source: MixtureSource, setting: TermContext, rank: int, world: int) -> MixtureSource:
    """The source of one of several workers, whose model predicts the noise to be the noised sample: worse the earlier."""
    other = copy.copy(source)
    other.setting = replace(setting, host=LocalHost(setting.host.coordinator, setting.host.checkpoints, rank=rank, world=world))
    other.forward = lambda x, t, **_: x
    return other


def drawn_by(source: MixtureSource, workers: int, draws: range, *, seed: int = 0, held_out: bool = False) -> DrawnValues:
    own = replace(source.setting, seed=seed)
    sources = [ranked(source, own, rank, workers) for rank in range(workers)]
    drawn = expectations(sources[:1], np.ones(3), Gathering(sources, held_out, draws), draws, held_out=held_out)
    assert drawn is not None
    return drawn


def test_errors_are_the_scatter_over_seeds(source: MixtureSource, sampled: Sampled) -> None:
    estimates = []
    for seed in range(SEEDS * sampled.seed, SEEDS * (1 + sampled.seed)):
        first, later = (drawn_by(source, 1, draws, seed=seed) for draws in STAGES)
        joined = first.joined(later)
        assert joined.counts.tolist() == [96] * 3
        estimates.append(joined.estimate())
    scatter = np.std([each.mean for each in estimates], axis=0, ddof=1)
    told = np.sqrt(np.mean([each.variance for each in estimates], axis=0))
    sampled.near("told / scatter", told / scatter, 1.0, abs=0.28)


@pytest.mark.parametrize("held_out", [False, True])
def test_draws_do_not_depend_on_the_number_of_workers(source: MixtureSource, held_out: bool) -> None:
    one, three = (drawn_by(source, workers, range(64), held_out=held_out) for workers in (1, 3))
    for first, second in zip(one.sets, three.sets, strict=True):
        np.testing.assert_allclose(first.values, second.values, rtol=1e-5)
        assert first.stages == second.stages == (64,)
        assert (first.units is None) == (second.units is None) == (not held_out)
    np.testing.assert_allclose(one.estimate().mean_covariance, three.estimate().mean_covariance, rtol=1e-4, atol=1e-9)


def test_held_out_images_are_drawn_equally_often(source: MixtureSource) -> None:
    drawn = drawn_by(source, 1, range(700), held_out=True)
    for draws, population in zip(drawn.sets, source._populations, strict=True):
        assert draws.units is not None
        numbers, counts = np.unique(draws.units, return_counts=True)
        assert set(numbers) <= set(population.held_out[0]) and counts.max() - counts.min() <= 1
        assert len(numbers) == min(700, len(population.held_out[0]))


def test_the_file_of_draws_keeps_what_pairs_trials() -> None:
    rng = np.random.default_rng(0)
    sets = [
        JointDraws((0, 2), rng.standard_normal((MOST + 10, 2)), (MOST - 5, 15), groups=np.arange(MOST + 10) % 2),
        JointDraws((1,), rng.standard_normal((7, 1)), (7,), stratified=True, units=np.arange(7) % 3, pool="examples"),
    ]
    drawn = drawn_values(3, sets)
    back, seed = loaded(stored(drawn, 11))
    assert seed == 11 and back.size == 3 and [each.stages for each in back.sets] == [(MOST - 5, 5), (7,)]
    np.testing.assert_allclose(back.sets[0].values, sets[0].values[:MOST], rtol=1e-6)
    assert back.sets[1].units is not None and back.sets[1].units.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert back.sets[1].stratified and back.sets[1].pool == "examples" and back.sets[0].groups is not None
    np.testing.assert_allclose(back.estimate().variance[1], drawn.estimate().variance[1], rtol=1e-5)
    with pytest.raises(ValueError, match=r"draws\.npz"):
        loaded(b"nothing of the kind")


def test_the_parts_of_errors_that_more_draws_would_leave_are_told_by_what_they_are_due_to() -> None:
    rng = np.random.default_rng(0)
    units = np.arange(4000) % 20
    of_reward = JointDraws((1,), rng.standard_normal((4000, 1)), (4000,))
    of_samples = JointDraws((2,), rng.standard_normal(20)[units][:, None], (4000,), units=units, pool="examples")
    drawn = drawn_values(3, [of_reward, of_samples], [Scale((1,), rng.standard_normal((16, 1)))])
    problem = ConstrainedProblem(("bright", "close"), np.zeros(2), np.zeros(2, dtype=np.bool_))
    parts, errors = lasting_error_metrics(problem, drawn), problem.slack_errors(drawn.estimate())
    assert parts.keys() == {"scale_error/bright", "samples_error/close"}
    assert parts["scale_error/bright"] == pytest.approx(np.sqrt(errors[0] ** 2 - of_reward.spread(np.eye(1)).covariance[0, 0]))
    assert parts["samples_error/close"] == pytest.approx(errors[1], rel=0.01)

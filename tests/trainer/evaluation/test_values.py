"""Standard errors of final values against their scatter over seeds: the draws are stratified, which makes them smaller."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.recipes import digits
from trainer.checkpoint import CheckpointFolder
from trainer.coordinator import InProcess
from trainer.dual.controller import controller_of, reduce
from trainer.evaluation.values import expectations
from trainer.host import LocalHost
from trainer.prepare import prepare
from trainer.setting import Setting
from trainer.sources.data import DataSource

SEEDS = 200


@pytest.mark.parametrize("workers", [1, 3])
def test_errors_are_the_scatter_over_seeds(workers: int, tmp_path: Path) -> None:
    recipe = digits(evaluation={"loss_draws": 96, "batch_size": 20})
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path)))
    (source,) = prepare(recipe, host).sources
    assert isinstance(source, DataSource)

    told = []

    def mean(seed: int) -> np.ndarray:
        own = replace(source.setting, recipe=recipe.model_copy(update={"seed": seed}))
        report = expectations([_ranked(source, own, rank, workers) for rank in range(workers)], np.ones(3), host)
        assert report is not None and report.count.tolist() == [96.0] * 3
        stratified, independent = reduce([report]), reduce([replace(report, neighbours=None)])
        told.append([stratified.variance, independent.variance])
        return stratified.mean

    scatter = np.std([mean(seed) for seed in range(SEEDS)], axis=0, ddof=1)
    stratified, independent = np.sqrt(np.mean(told, axis=0))
    assert stratified / scatter == pytest.approx(1.0, abs=0.2)
    assert (independent > 1.5 * scatter).all()


def _ranked(source: DataSource, setting: Setting, rank: int, world: int) -> DataSource:
    """The source of one of several workers, whose model predicts the noise to be the noised sample: worse the earlier."""
    other = copy.copy(source)
    other.setting = replace(setting, host=LocalHost(setting.host.coordinator, setting.host.checkpoints, rank=rank, world=world))
    other.forward = lambda x, t, **_: x
    return other

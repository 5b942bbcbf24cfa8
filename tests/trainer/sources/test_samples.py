"""Terms on samples of a frozen model: those that are trained on, and the others that final values are taken on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.sources.mixture import MixtureSource
from tests.trainer.recipes import digits

SAMPLES = [
    {"name": "kept", "samples": {"of": "pretrained", "count": 16}, "at_most": 0.5},
    {"name": "near", "closeness": {"samples": 12}, "at_most": 0.1},
]


@pytest.fixture
def source(tmp_path: Path) -> MixtureSource:
    recipe = digits(constraints=SAMPLES, evaluation={"sample_steps": 4})
    prepared = prepare(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path))))
    (made,) = prepared.sources
    assert isinstance(made, MixtureSource)
    return made


def drawn_by(source: MixtureSource) -> dict[int, JointDraws]:
    return {each.columns[0]: each for each in source.measure(np.ones(3), False, range(256))}


def by_heart(source: MixtureSource, known: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The noise where the sample is the nearest of those known."""
    signal = source.setting.schedule.alphas_cumprod[t][:, None, None, None]
    nearest = known[torch.cdist((x / signal.sqrt()).flatten(1), known.flatten(1)).argmin(1)]
    noise: Tensor = (x - signal.sqrt() * nearest) / (1 - signal).sqrt()
    return noise


def test_what_is_known_by_heart_of_a_frozen_models_samples_is_not_its_final_value(source: MixtureSource) -> None:
    known = source._fetch(source._populations[1].groups[0])
    assert known.shape == (16, 1, 8, 8)
    source.forward = lambda x, t, **_: by_heart(source, known, x, t)
    values = drawn_by(source)[1]
    assert values.units is not None
    others = source._fetch(np.unique(values.units))
    assert torch.cdist(others.flatten(1), known.flatten(1)).min() > 0.1
    source.forward = lambda x, t, **_: by_heart(source, others, x, t)
    assert float(values.mean[0]) > 5 * float(drawn_by(source)[1].mean[0])


def test_final_values_are_on_as_many_others_as_are_trained_on(source: MixtureSource) -> None:
    for part, count in ((1, 16), (2, 12)):
        units, trained = drawn_by(source)[part].units, source._populations[part].groups[0]
        assert units is not None and len(np.unique(units)) == len(trained) == count
        assert not set(units.tolist()) & set(trained.tolist())

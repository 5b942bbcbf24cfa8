"""Composition without training against exact answers: the multipliers, the KLs, and what the saved model samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.trainer.engine.sample_command import generate
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.samplers.chain import steps_of
from tests.known import exact, models
from tests.known.cases import CALL
from tests.known.test_answers import train
from tests.margins import Sampled

GAUSSIANS = {"left": models.LEFT, "right": models.RIGHT, **{f"oval_{i}": each for i, each in enumerate(models.OVALS)}}
LANGEVIN = {"levels": 25, "steps": 20, "snr": 0.5}
#: What is composed, of how many chains the KLs are measured, and how many dual steps there are: two that differ in their means
#: alone begin at their answer.
CASES = {
    "a pair on the line": (["left", "right"], 24_576, 10), "equal covariances": (["oval_0", "oval_1"], 49_152, 4),
    "unequal covariances": (["oval_0", "oval_2"], 28_672, 8), "three": (["oval_0", "oval_1", "oval_2"], 28_672, 10),
}  # fmt: skip
#: What these are about is in the two that are left as well: more models, equal covariances, and differences of means.
DEAR = ("a pair on the line", "equal covariances", "three")


def composed(formulation: str, names: list[str], term: str, shape: list[int], **sections: Any) -> Recipe:
    plain = {
        "name": "known", "formulation": formulation, "model": {"compose": {"of": names}, "shape": shape},
        "models": {name: {"call": CALL(name)} for name in names}, "schedule": {"timesteps": models.T},
        "constraints": [{"name": name, term: {"to": name}} for name in names],
        "evaluation": {"samples": 0, "loss_draws": 100_000, "batch_size": 25_000}, "checkpoint": {"every": 10**6},
    }  # fmt: skip
    return Recipe.model_validate({**plain, **sections})


def multipliers(result: Result) -> np.ndarray:
    return np.array([each.multiplier for each in result.constraints.values()])


def moments(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([GAUSSIANS[name][0] for name in names]), np.array([GAUSSIANS[name][1] for name in names])


@pytest.mark.parametrize("case", [pytest.param(each, marks=[pytest.mark.dear] if each in DEAR else []) for each in CASES])
def test_the_product_of_gaussians_by_dual_steps_alone(case: str, tmp_path: Path, sampled: Sampled) -> None:
    names, chains, dual_steps = CASES[case]
    means, covariances = moments(names)
    wanted, kls = exact.composition_and(means, covariances)
    spec = composed(
        "composition_and", names, "kl", [means.shape[1]],
        dual={"rule": "simplex", "step_size": 0.05 if "left" in names else 0.3, "staleness": 0, "decay": "linear"},
        train={"steps": dual_steps, "batch_size": 32_768}, product={"samples": chains, **LANGEVIN},
    )  # fmt: skip
    result = train(spec, tmp_path, sampled.seed)
    measured = np.array([each.value for each in result.constraints.values()])
    sampled.near("multipliers", multipliers(result), wanted, abs=0.03)
    sampled.near("KLs beside their mean", measured / measured.mean(), 1.0, abs=0.08)
    sampled.near("KLs", measured, kls, rel=0.10)
    made = generate(str(result.checkpoint), 8000, tmp_path / "made", sampler=None, steps=None, seed=sampled.seed)
    samples = made.double().numpy()
    mean, covariance = exact.product_of_gaussians(means, covariances, multipliers(result))
    spread = np.sqrt(np.diag(covariance))
    sampled.near("mean of samples", samples.mean(0), mean, abs=0.15 * spread.max())
    sampled.near("covariance of samples", np.cov(samples.T), covariance.squeeze(), abs=0.20 * covariance.max())


def test_two_models_are_not_given_equal_weights_for_being_two(tmp_path: Path, sampled: Sampled) -> None:
    """What differences of the weighted prediction, in the place of KLs, would always give."""
    means, covariances = moments(["left", "right"])
    both = exact.product_of_gaussians(means, covariances, np.array([0.5, 0.5]))
    kls = [exact.gaussian_kl(*both, *each) for each in zip(means, covariances, strict=True)]
    spec = composed(
        "composition_and", ["left", "right"], "kl", [1], dual={"rule": "fixed"}, train={"steps": 1},
        product={"samples": 8192, **LANGEVIN},
    )  # fmt: skip
    measured = [each.value for each in train(spec, tmp_path, sampled.seed).constraints.values()]
    assert kls[1] - kls[0] > 4
    sampled.near("difference of the KLs", measured[1] - measured[0], kls[1] - kls[0], rel=0.1)


@pytest.mark.parametrize(
    "names", [["oval_0", "oval_2"], pytest.param(["oval_0", "oval_1", "oval_2"], marks=pytest.mark.dear)], ids="-".join
)
def test_concepts_of_gaussians(names: list[str], tmp_path: Path, sampled: Sampled) -> None:
    concepts, guidance = [models.Gaussian(*GAUSSIANS[name]) for name in names], 2.0
    spec = composed(
        "concept_composition", names, "path_kl", [2],
        model={"compose": {"of": names, "guidance": guidance, "base": "anything"}, "shape": [2]},
        models={name: {"call": CALL(name)} for name in (*names, "anything")},
        dual={"rule": "simplex", "step_size": 0.05, "staleness": 0, "decay": "linear"},
        train={"steps": 40}, rollout={"steps": 10, "batch_size": 4096},
    )  # fmt: skip
    steps = steps_of(noise_schedule(spec, (2,)), 10, 1.0)
    weights = np.full(len(names), 1 / len(names))
    for step in range(300):
        kls, mean, covariance = exact.concept_composition(concepts, models.anything(), guidance, weights, steps)
        weights = weights * np.exp(0.5 / (1 + step / 50) * (kls - kls.max()))
        weights /= weights.sum()
    result = train(spec, tmp_path, sampled.seed)
    measured = np.array([each.value for each in result.constraints.values()])
    sampled.near("multipliers", multipliers(result), weights, abs=0.03)
    sampled.near("KLs", measured, kls, rel=0.05)
    shares = json.loads((Path(str(result.checkpoint)) / "composition.json").read_text())
    assert list(shares) == names and list(shares.values()) == pytest.approx(multipliers(result))
    made = generate(str(result.checkpoint), 4000, tmp_path / "made", sampler=None, steps=None, seed=sampled.seed)
    samples = made.double().numpy()
    sampled.near("mean of samples", samples.mean(0), mean, abs=0.06)
    sampled.near("covariance of samples", np.cov(samples.T), covariance, abs=0.1 * covariance.max())

"""Class-balanced objectives: exact expectations over balanced rows, in training and in what is measured; refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dualsweep.trainer.checks.before_loading import check
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.sources.mixture import Population
from dualsweep.trainer.sources.mixture_batch import Parts
from tests.trainer.conftest import WriteModule
from tests.trainer.data.conftest import recipe_of
from tests.trainer.engine.test_loop import run
from tests.trainer.recipes import digits

LABELS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 7])


def test_a_balanced_population_weighs_classes_equally() -> None:
    """Any function's mean over finely even draws is the mean of its class means."""
    rows = np.arange(10)
    parts = Parts.grouped([Population.balanced(rows, rows[:0], LABELS).groups])
    values = np.random.default_rng(0).normal(size=10)
    drawn = values[parts.pick(np.zeros(4800, dtype=np.int64), (np.arange(4800) + 0.5) / 4800)]
    expected = np.mean([values[label == LABELS].mean() for label in (0, 1, 2, 7)])
    assert drawn.mean() == pytest.approx(expected, abs=1e-12)


def test_held_out_rows_are_balanced_over_the_classes_that_are_trained_on() -> None:
    population = Population.balanced(np.array([0, 1, 6, 8]), np.array([2, 3, 7, 9]), LABELS)
    assert [each.tolist() for each in population.held_out] == [[2, 3], [7]]


def test_the_measured_objective_is_of_the_balanced_draw(tmp_path: Path) -> None:
    """With one class of three cut to a few examples, the balanced loss is near the mean of the classes' own losses."""
    keep = {0: 0.02} | dict.fromkeys(range(3, 10), 0.0)
    each_class = [{"name": f"c{each}", "data": {"classes": [each]}, "at_most": 9.0} for each in range(3)]
    result, *_ = run(
        digits(evaluation={"samples": 0, "loss_draws": 8000}, data={"keep": keep, "balance": True}, constraints=each_class,
               train={"steps": 2, "batch_size": 32}), tmp_path,
    )  # fmt: skip
    classes = [each.value for each in result.constraints.values()]
    errors = np.sqrt(result.objective_error**2 + np.mean([each.slack_error**2 for each in result.constraints.values()]) / 3)
    assert abs(result.objective - np.mean(classes)) < 4 * errors


def test_data_without_labels_cannot_be_balanced(module: WriteModule) -> None:
    module("plain_data", "import torch\ndef load():\n    return [torch.zeros(1, 8, 8) for _ in range(4)]\n")
    recipe, _ = recipe_of("data: {call: plain_data:load, balance: true}\n")
    with pytest.raises(BadDataError, match=r"data\.balance: must go with an objective on examples that have classes"):
        assemble(recipe)
    told = check(*recipe_of("data: {dataset: owner/name, balance: true}\n"))
    assert [problem.key for problem in told] == ["data.balance"] and told[0].line == 5


def test_an_objective_of_examples_without_classes_cannot_be_balanced(module: WriteModule) -> None:
    module("own_data", "import torch\ndef load():\n    return [torch.zeros(1, 8, 8) for _ in range(4)]\n")
    recipe, _ = recipe_of("data: {source: digits, balance: true}\nobjective: {data: {call: own_data:load}}\n")
    with pytest.raises(BadDataError, match="examples that are of no class"):
        assemble(recipe)


def test_balance_draws_minorities_as_often_as_others() -> None:
    recipe = digits(data={"balance": True})
    data = assemble(recipe)
    labels = data.examples.labels
    assert labels is not None
    groups = Population.balanced(data.rows[0], data.held_out_rows[0], labels).groups
    picked = Parts.grouped([groups]).pick(np.zeros(10_000, dtype=np.int64), (np.arange(10_000) + 0.5) / 10_000)
    assert (np.bincount(labels[picked]) == 1000).all() and torch.isfinite(data.examples.fetch(picked[:4])).all()

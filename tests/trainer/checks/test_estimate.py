"""What a training is said to take, against what is known of a network of two layers."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dualsweep.sweeps.checking import checked_plan, checked_recipe
from dualsweep.sweeps.describing import describe
from dualsweep.sweeps.estimating import amount, estimated, size
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.trial_state import clock
from dualsweep.trainer.checks.estimate import DRAWS, TIMED, WARM, Estimate, estimate
from dualsweep.trainer.feasibility.stages import last_look
from dualsweep.trainer.recipe.recipe import Recipe
from tests.sweeps.files import RECIPE as FILE
from tests.sweeps.files import SWEEP
from tests.sweeps.in_process import RECIPE
from tests.trainer.conftest import WriteModule

#: 64 numbers in, 100 between, 64 out: 6,500 + 6,464 parameters. It notes how often it is asked, and may take its time.
MODULE = """
import time, torch

class Net(torch.nn.Module):
    asked, pause = [], 0.0

    def __init__(self):
        super().__init__()
        self.one, self.two = torch.nn.Linear(64, 100), torch.nn.Linear(100, 64)

    def forward(self, x, t):
        Net.asked.append((len(x), self.training))
        time.sleep(Net.pause)
        return self.two(self.one(x.flatten(1)).relu()).view_as(x)
"""
PARAMETERS = 64 * 100 + 100 + 100 * 64 + 64


def recipe(path: str, **keys: Any) -> Recipe:
    plain = {**RECIPE, "model": {"call": path}, "constraints": [], "evaluation": {"samples": 0, "loss_draws": 64}, **keys}
    return Recipe.model_validate(plain)


def test_parameters_and_what_is_held_between_steps_are_counted(module: WriteModule) -> None:
    told = estimate(recipe(module("linear", MODULE) + ":Net"))
    assert told.parameters == told.trained == PARAMETERS
    four = 4 * PARAMETERS
    assert (told.memory["weights"], told.memory["gradients"], told.memory["averaged weights"]) == (four, four, four)
    assert told.memory["optimiser"] == pytest.approx(2 * four, abs=64)  # two moments, and a step for each parameter


def test_of_weights_in_shards_a_worker_holds_its_part(module: WriteModule) -> None:
    told = estimate(recipe(module("linear", MODULE) + ":Net", resources={"workers": 4, "parallel": "fsdp"}))
    assert told.parameters == PARAMETERS
    kinds = ("weights", "gradients", "averaged weights")
    assert [told.memory[name] for name in kinds] == [PARAMETERS, PARAMETERS, PARAMETERS], "4 bytes each, over 4 workers"
    assert told.memory["optimiser"] == pytest.approx(2 * PARAMETERS, abs=64)


def test_activations_are_those_of_the_batch(module: WriteModule) -> None:
    """Of each sample the input, what the first layer gives to ReLU's result, 4 bytes each; the loss keeps some more of 64."""
    path = module("linear", MODULE) + ":Net"
    kept = {batch: estimate(recipe(path, train={"steps": 20, "batch_size": batch})).memory["activations"] for batch in (32, 64)}
    of_one = (kept[64] - kept[32]) / 32
    assert 4 * (64 + 100) <= of_one <= 4 * (64 + 100 + 100 + 6 * 64)
    in_pieces = estimate(recipe(path, train={"steps": 20, "batch_size": 64, "accumulate": 4})).memory["activations"]
    assert in_pieces < 0.4 * kept[64]


def test_a_worker_takes_its_share_of_the_batch_and_a_few_steps(module: WriteModule) -> None:
    estimate(recipe(module("linear", MODULE) + ":Net", train={"steps": 20, "batch_size": 32}, resources={"workers": 2}))
    asked = sys.modules["linear"].Net.asked
    assert [count for count, training in asked if training] == [16] * (WARM + TIMED)


CONSTRAINTS = [{"name": f"is-{digit}", "data": {"classes": [digit]}, "at_most": 0.3} for digit in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("train", "share", "images"),
    [
        ({"batch_size": 64, "floor": 2}, 8, 64),
        ({"batch_size": 16, "floor": 2}, 5, 16),  # one of each part
        ({"batch_size": 64, "floor": 10}, 9, 64),  # 1 + 4 x 2 at the least
        ({"batch_size": 64, "batches": "separate", "constraint_batch": 16}, 8 + 4 * 2, 64 + 4 * 16),
    ],
)
def test_of_every_part_s_draws_a_worker_takes_its_share(
    module: WriteModule, train: dict[str, Any], share: int, images: int
) -> None:
    path = module("linear", MODULE) + ":Net"
    told = estimate(recipe(path, constraints=CONSTRAINTS, train={"steps": 20, **train}, resources={"workers": 8}))
    asked = sys.modules["linear"].Net.asked
    assert [count for count, training in asked if training] == [share] * (WARM + TIMED)
    assert told.images * told.step == pytest.approx(images)


def test_steps_are_timed(module: WriteModule) -> None:
    """A step takes as long as the network sleeps, at the least."""
    path = module("linear", MODULE.replace("pause = [], 0.0", "pause = [], 0.03"))
    started = time.perf_counter()
    told = estimate(recipe(path + ":Net", evaluation={"samples": 0, "loss_draws": 1000 * DRAWS}))
    passed = time.perf_counter() - started
    assert 0.03 <= told.step <= passed / TIMED
    assert told.evaluation > 1000 * 0.03, "scaled to all draws, of which few were made"


def test_a_feasibility_that_is_not_decided_costs_the_estimate_one_look_and_is_told_as_a_range(module: WriteModule) -> None:
    """Of two values that are alike no number of draws tells which is less."""
    alike = [{"name": name, "data": {"all": True}, "at_most": 0.0, "relative_to": "objective"} for name in "ab"]
    asked_for = recipe(
        module("linear", MODULE) + ":Net", constraints=alike, feasibility={"tolerance": 1e-9, "draws": 60_000},
        evaluation={"samples": 0, "loss_draws": 2048},
    )  # fmt: skip
    told = estimate(asked_for)
    drawn = sum(count for count, training in sys.modules["linear"].Net.asked if not training)
    assert drawn <= 3 * DRAWS + 100, "of each of the three values, beside what the model is first asked"
    assert told.evaluation >= 2048 * told.draw > 0.0
    steps, most = asked_for.train.steps, last_look(asked_for)
    assert most == 20_000 and told.training(steps, most - 2048) == pytest.approx(told.training(steps) + (most - 2048) * told.draw)


def test_the_draws_until_constraints_are_decided_are_in_the_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(FILE + "feasibility: {draws: 1000000}\n")
    (tmp_path / "sweep.yaml").write_text(SWEEP + "concurrency: 1\n")
    checked = checked_plan(load_plan("sweep.yaml"), None, None, None, "light")
    more = last_look(checked.recipe) - checked.recipe.evaluation.loss_draws
    lines = list(estimated(checked, replace(KNOWN, draw=0.01)))
    soonest = 30 + checked.recipe.train.steps / 10
    assert more > 1000 and f"about {clock(soonest)} to {clock(soonest + more / 100)}: " in lines[3]
    assert "evaluation 30 s, longer the later its constraints are decided" in lines[3]
    assert checked.plan is not None
    ends = [clock(checked.plan.trials * (each + 0.5)) for each in (soonest, soonest + more / 100)]
    assert f"from {ends[0]} to {ends[1]}: " in lines[4]


def test_looks_are_timed_and_counted(module: WriteModule) -> None:
    path = module("linear", MODULE.replace("pause = [], 0.0", "pause = [], 0.01"))
    monitor = {"every": 10, "samples": 4}
    evaluation = {"samples": 0, "loss_draws": 64, "sample_steps": 8}
    told = estimate(recipe(path + ":Net", monitor=monitor, evaluation=evaluation, dual={"every": 5}, train={"steps": 20}))
    assert 8 * 0.01 / 10 <= told.look < 1.0  # of eight steps of the sampler, every tenth step
    assert told.training(1000) == pytest.approx(1000 * (told.step + told.look) + told.evaluation)


def test_nothing_is_left_and_torch_is_as_it_was(module: WriteModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    estimate(recipe(module("linear", MODULE) + ":Net", resources={"cpus_per_worker": 2}))
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads
    assert list(tmp_path.glob("**/checkpoints")) == []


KNOWN = Estimate({"weights": 3 << 20, "activations": 512 << 20}, 0.1, 1280.0, 30.0, 1_000_000, 1_000_000, "cpu")


def test_the_sweep_s_time_is_that_of_its_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(FILE)
    (tmp_path / "sweep.yaml").write_text(SWEEP + "concurrency: 1\nseeds: 2\n")
    checked = checked_plan(load_plan("sweep.yaml"), None, None, None, "light")
    steps = checked.recipe.train.steps
    lines, whole = list(estimated(checked, KNOWN)), 30 + steps / 10
    assert "515 MB of tensors a worker: weights 3 MB" in lines[1]
    assert lines[1].endswith("activations 512 MB; what is frozen beside the network comes on top")
    assert f"about {clock(whole)}: {steps} steps" in lines[3]
    assert checked.plan is not None
    trainings = 2 * checked.plan.trials
    assert f"about {clock(trainings * (whole + 0.5))}: {trainings} trainings, 1 at a time" in lines[4]
    elsewhere = list(estimated(replace(checked, address="10.0.0.1:6379"), KNOWN))[-1]
    assert elsewhere.endswith(
        f"{amount(trainings * whole / 3600)} worker-hours in {trainings} trainings, on machines like this one"
    )
    alone = list(estimated(checked_recipe(Path("recipe.yaml"), [], None, None, None, "light"), KNOWN))
    assert len(alone) == 4 and "1,280 images a second" in alone[2]


def test_an_elastic_training_is_estimated_and_described_by_its_least_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: WriteModule
) -> None:
    estimate(recipe(module("linear", MODULE) + ":Net", train={"steps": 20, "batch_size": 32}, resources={"workers": [2, 4]}))
    asked = sys.modules["linear"].Net.asked
    assert [count for count, training in asked if training] == [16] * (WARM + TIMED)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(FILE + "resources: {workers: [1, 3]}\n")
    checked = checked_recipe(Path("recipe.yaml"), [], None, None, None, "light")
    assert "CPU, the least, 1 worker without what they exchange)" in list(estimated(checked, KNOWN))[2]
    assert any("on 1 to 3 workers of 1 CPU" in line for line in describe(checked))


@pytest.mark.parametrize(("count", "told"), [(12, "12 bytes"), (1 << 10, "1 kB"), (3 << 19, "1.5 MB"), (5 << 30, "5 GB")])
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told

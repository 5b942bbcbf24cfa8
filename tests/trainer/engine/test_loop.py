"""The worker loop in one process: resumed equals uninterrupted bit for bit, staleness is exact, ends have reasons."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.recipes import digits


class Interrupted(Exception):
    pass


class Recording(InProcess):
    """Keeps every state, and stops the process, as a kill would, once `stop_at` dual steps were taken."""

    def __init__(self, recipe, stop_at=None):
        super().__init__(controller_of(recipe))
        self.states, self.stop_at = {}, stop_at

    def exchange(self, report):
        answer = super().exchange(report)
        state = answer()
        self.states[state.version] = state
        if state.version == self.stop_at:
            raise Interrupted
        return answer


def run(recipe, folder, stop_at=None):
    coordinator = Recording(recipe, stop_at)
    host = LocalHost(coordinator, CheckpointFolder(str(folder / "checkpoints")))
    try:
        result = run_worker(recipe, host, str(folder), str(folder.parent / "judges"))
    finally:
        host.checkpoints.flush()  # a kill may come at any time; which checkpoint a test starts from is not left to chance
    points = {point["step"]: point["metrics"] for report in host.reports for point in report["points"]}
    return result, points, coordinator.states, host.checkpoints.latest()


def without_time(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("system/")}


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "waiting": {"dual": {"staleness": 0, "every": 2}, "train": {"steps": 20}},
    "nu_pi": {"dual": {"rule": "nu_pi", "kappa_p": 0.5, "nu": 0.5, "every": 2, "average": 0.5, "decay": "cosine"}},
    "separate": {"train": {"batches": "separate", "constraint_batch": 4, "lr_schedule": "cosine", "lr_warmup": 3}},
    "dropout": {"model": {"unet": {"channels": [8, 16], "dropout": 0.2}}, "schedule": {"prediction": "v_prediction"}},
}


def aligned(gradient: str, **rollout: Any) -> Recipe:
    """A tiny alignment of the digits' shape to two rewards."""
    plain = {
        "name": "tiny", "formulation": "alignment",
        "model": {"call": "tests.trainer.engine.test_loop:tiny_model", "shape": [1, 8, 8]},
        "schedule": {"timesteps": 50}, "dual": {"step_size": 0.1, "every": 2},
        "constraints": [
            {"name": "bright", "reward": {"call": "tests.trainer.engine.test_loop:brightness"}, "at_least": 0.5},
            {"name": "even", "reward": {"call": "tests.trainer.engine.test_loop:evenness"}, "at_least": 0.2},
        ],
        "train": {"steps": 20, "lr": 2e-3, "log_every": 5, "lr_schedule": "cosine"},
        "rollout": {"steps": 4, "batch_size": 6, "gradient": gradient, "normalization_samples": 16, **rollout},
        "evaluation": {"samples": 4, "sample_steps": 4, "loss_draws": 16}, "checkpoint": {"every": 6},
    }  # fmt: skip
    return Recipe.model_validate(plain)


def tiny_model() -> torch.nn.Module:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            scaled: torch.Tensor = self.layer(x) * (1 + t[:, None, None, None] / 50)
            return scaled

    return Model()


def brightness(x: torch.Tensor) -> torch.Tensor:
    return x.mean((1, 2, 3))


def evenness(x: torch.Tensor) -> torch.Tensor:
    return -x.square().mean((1, 2, 3))


ROLLOUTS: dict[str, dict[str, Any]] = {
    "backpropagation": {"truncation": {"kind": "uniform"}},
    "policy_gradient": {"updates": 2},
    "dag": {"flow": {"width": 8}},
    "dag_kl": {"updates": 2, "flow": {"width": 8, "look_ahead": "none"}},
}


@pytest.mark.parametrize("gradient", ROLLOUTS)
@pytest.mark.parametrize("stop_at", [2, 8])
def test_interrupted_alignment_is_bit_for_bit_the_uninterrupted_run(tmp_path, gradient, stop_at):
    check_resumed(aligned(gradient, **ROLLOUTS[gradient]), tmp_path, stop_at)


def test_the_flow_is_in_checkpoints_and_not_in_what_is_delivered(tmp_path):
    _, _, _, end = run(aligned("dag", flow={"width": 8}), tmp_path)
    flow = {name: value for name, value in end.groups["companions"].items() if name.startswith("flow.")}
    assert flow and any(bool(value.abs().sum() > 0) for name, value in flow.items() if name == "flow.last.weight")
    assert set(end.groups["weights"]) == {"layer.weight", "layer.bias"} and len(end.groups["average"]) == 2


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop_at", [3, 8, 10])
def test_interrupted_and_continued_is_bit_for_bit_the_uninterrupted_run(tmp_path, case, stop_at):
    check_resumed(digits(checkpoint={"every": 6}, **CASES[case]), tmp_path, stop_at)


#: The uninterrupted run of each recipe and the folder that has it, for all steps it is interrupted at.
WHOLE: dict[str, tuple[Path, Any]] = {}


def check_resumed(recipe, tmp_path, stop_at):
    key = recipe.model_dump_json()
    if key not in WHOLE:
        WHOLE[key] = tmp_path, run(recipe, tmp_path / "whole")
    base, (whole, whole_points, whole_states, whole_end) = WHOLE[key]
    parts = base / f"parts-{tmp_path.name}"  # beside the whole, so that they share its judge
    with pytest.raises(Interrupted):
        run(recipe, parts, stop_at)
    resumed, points, states, end = run(recipe, parts)
    assert min(states) <= stop_at  # it went back to a checkpoint, and not to the start where there was one
    for version, state in states.items():
        assert state.multipliers.tobytes() == whole_states[version].multipliers.tobytes()
    for step, metrics in points.items():
        assert without_time(metrics) == without_time(whole_points[step])
    for group, tensors in whole_end.groups.items():
        assert tensors.keys() == end.groups[group].keys()
        assert all(torch.equal(tensors[name], end.groups[group][name]) for name in tensors), group
    assert without_time(resumed.metrics) == without_time(whole.metrics)


def images_of(folder, count=40):
    for number in range(count):
        place = folder / str(number % 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 5 * number, np.uint8)).save(place / f"{number}.png")
    return {"folder": str(folder), "holdout": 0.2}


def of_images(data):
    recipe = digits().model_dump(mode="json", exclude_unset=True)
    constraint = {"name": "one", "data": {"classes": [1]}, "at_most": 0.5}
    evaluation = {"samples": 0, "loss_draws": 64, "metrics": []}
    return Recipe.model_validate({**recipe, "data": data, "constraints": [constraint], "evaluation": evaluation})


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "replaced"])
def test_a_run_does_not_go_on_with_other_data(tmp_path, change):
    """One image more, and all are divided anew: what was held out would be trained on."""
    recipe = of_images(images_of(tmp_path / "images"))
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "run", 13)
    last = tmp_path / "images" / "0" / "38.png"
    if change == "added":
        shutil.copy(last, last.with_name("39.png"))
    elif change == "removed":
        last.unlink()
    elif change == "renamed":
        last.rename(last.with_name("00.png"))
    else:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8)).astype(np.uint8)).save(last)
    told = r"40 examples up to its step 7, now \d+ examples.*; put the data back, or choose another"
    with pytest.raises(TrainingError, match=told):
        run(recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "images")
    images_of(tmp_path / "images")
    assert run(recipe, tmp_path / "run")[0].steps == 20, "the same again, written later"


def test_a_checkpoint_that_does_not_tell_of_its_data_goes_on(tmp_path):
    """As earlier versions wrote them."""
    recipe = of_images(images_of(tmp_path / "images"))
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "run", 13)
    checkpoints = CheckpointFolder(str(tmp_path / "run" / "checkpoints"))
    snapshot = checkpoints.latest()
    assert snapshot is not None
    del snapshot.state["data"]
    checkpoints.save(snapshot)
    checkpoints.flush()
    assert run(recipe, tmp_path / "run")[0].steps == 20


def test_a_checkpoint_between_log_points_loses_none(tmp_path):
    recipe = digits(checkpoint={"every": 3}, train={"log_every": 4})
    _, whole, _, _ = run(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", 10)
    _, rest, _, _ = run(recipe, tmp_path / "parts")
    assert set(whole) == {4, 8, 12, 16, 20} and set(rest) == {4, 8, 12, 16, 20}  # of which none was reported before
    assert without_time(rest[12]) == without_time(whole[12])


def used_weights(recipe, tmp_path, monkeypatch):
    """The Lagrangian's coefficients that each primal step began with."""
    used = []
    original = GradientPrimal.begin

    def spy(primal, step, weights):
        used.append(weights.copy())
        return original(primal, step, weights)

    monkeypatch.setattr(GradientPrimal, "begin", spy)
    _, _, states, _ = run(recipe, tmp_path)
    return used, states


@pytest.mark.parametrize("every, staleness", [(1, 0), (1, 1), (4, 0), (4, 1)])
def test_the_multipliers_in_use_are_those_of_the_stated_version(tmp_path, monkeypatch, every, staleness):
    recipe = digits(dual={"every": every, "staleness": staleness, "step_size": 0.3}, evaluation={"samples": 0})
    used, states = used_weights(recipe, tmp_path, monkeypatch)
    assert len(used) == recipe.train.steps
    for step, weights in enumerate(used):
        version = max(0, step - staleness) // every
        expected = states[version].multipliers if version else np.zeros(2)
        np.testing.assert_array_equal(weights, problem_of(recipe).mixture_weights(expected))


def test_a_finished_runs_last_checkpoint_is_a_diffusers_pipeline(tmp_path):
    from diffusers import DDPMPipeline

    result, *_ = run(digits(), tmp_path)
    pipeline = DDPMPipeline.from_pretrained(result.checkpoint)
    images = pipeline(batch_size=2, num_inference_steps=2, output_type="np").images
    assert images.shape == (2, 8, 8, 1) and np.isfinite(images).all()


def test_an_impossible_budget_ends_as_infeasible_naming_the_constraint(tmp_path):
    constraints = [
        {"name": "four", "data": {"classes": [4]}, "at_most": 1e-6},
        {"name": "five", "data": {"classes": [5]}, "at_most": 10.0},
    ]
    recipe = digits(constraints=constraints, dual={"step_size": 5.0, "cap": 3.0, "patience": 4}, train={"steps": 200})
    result, *_ = run(recipe, tmp_path)
    assert result.status == "infeasible" and "`four`" in result.reason and "`five`" not in result.reason
    assert result.steps < 20 and result.feasible == "violated"


@pytest.mark.parametrize("staleness", [0, 1])
def test_where_a_run_ends_does_not_depend_on_its_checkpoints(staleness, tmp_path):
    ends = []
    for every in (5, 500):
        recipe = digits(
            constraints=[{"name": "four", "data": {"classes": [4]}, "at_most": 1e-6}], train={"steps": 100},
            dual={"step_size": 1.0, "cap": 0.05, "patience": 3, "every": 5, "staleness": staleness},
            checkpoint={"every": every}, evaluation={"samples": 0},
        )  # fmt: skip
        result, *_ = run(recipe, tmp_path / str(every))
        assert result.status == "infeasible" and result.steps < 100
        ends.append((result.steps, result.constraints["four"].multiplier))
    assert ends[0] == ends[1]


def test_an_exploding_model_ends_as_diverged(tmp_path):
    recipe = digits(train={"lr": 1e30, "clip": None, "steps": 100}, evaluation={"samples": 0})
    result, *_ = run(recipe, tmp_path)
    assert result.status == "diverged" and "train.lr" in result.reason and result.feasible == "undecided"


def test_a_run_without_constraints_is_plain_training(tmp_path):
    result, points, _, _ = run(digits(constraints=[]), tmp_path)
    assert result.feasible == "met" and result.constraints == {} and "value/max" not in points[20]
    assert points[20]["objective"] < points[5]["objective"]


def test_the_loop_resumes_a_run_that_had_ended(tmp_path):
    recipe = digits(dual={"step_size": 5.0, "cap": 3.0, "patience": 4}, evaluation={"samples": 0},
                    constraints=[{"name": "four", "data": {"classes": [4]}, "at_most": 1e-6}])  # fmt: skip
    first, *_ = run(recipe, tmp_path)
    again, *_ = run(recipe, tmp_path)
    assert (again.status, again.steps, again.reason) == (first.status, first.steps, first.reason)


def test_loop_has_no_ray_behind_it():
    import subprocess
    import sys

    kept_out = ("ray", "mlflow", "matplotlib", "plotly")
    code = f"import sys, dualsweep.trainer.engine.worker; sys.exit(any(name in sys.modules for name in {kept_out}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Loop.__module__ == "dualsweep.trainer.engine.loop"

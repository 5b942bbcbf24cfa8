"""An amortised training in one process: resumed equals uninterrupted, and what it leaves is sampled, loaded and measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.testing

from dualsweep.sweeps.cli import app
from dualsweep.sweeps.reports.asked_multipliers import asked_multipliers
from dualsweep.trainer.amortised.front import FILE, AmortisedFront
from dualsweep.trainer.amortised.measure import measured_at
from dualsweep.trainer.checkpoint import CheckpointFolder, locate
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.settling import settled_errors
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.sample_command import generate, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.build import build_model
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.rng import shard
from tests.trainer.engine.test_loop import aligned, check_resumed, run
from tests.trainer.recipes import digits

AMORTISED = {"multipliers": {"low": 0.01, "high": 2.0}, "points": 5}


def amortised(**sections) -> Recipe:
    return digits(**{"amortised": AMORTISED, "train": {"lr": 2e-2}, **sections})


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("ended") / "run"
    result, points, _, _ = run(amortised(), folder)
    assert result.status in ("converged", "out_of_steps", "infeasible"), result.reason
    assert not any(name.startswith(("multiplier/", "slack/")) for step, each in points.items() if step < 20 for name in each)
    return folder


def front_in(folder: Path) -> AmortisedFront:
    return AmortisedFront.from_json(json.loads((folder / FILE).read_text()))


@pytest.mark.parametrize("stop_at", [3, 10])
def test_interrupted_and_continued_is_bit_for_bit_the_uninterrupted_run(tmp_path, stop_at):
    check_resumed(amortised(checkpoint={"every": 6}), tmp_path, stop_at)


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient"])
def test_interrupted_alignment_is_the_uninterrupted_run(tmp_path, gradient):
    plain = aligned(gradient).model_dump() | {"amortised": AMORTISED}
    plain["model"]["call"] = "tests.trainer.amortised.test_training:tiny_model"
    check_resumed(Recipe.model_validate(plain), tmp_path, 8)


def tiny_model() -> torch.nn.Module:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)
            self.shift = torch.nn.Linear(2, 1, bias=False)

        def forward(self, x: torch.Tensor, t: torch.Tensor, multipliers: torch.Tensor | None = None) -> torch.Tensor:
            plain: torch.Tensor = self.layer(x) * (1 + t[:, None, None, None] / 50)
            return plain if multipliers is None else plain + self.shift(multipliers)[:, :, None, None]

    torch.manual_seed(0)
    return Network()


def test_shards_add_up_to_the_global_batch(tmp_path):
    """Two workers' surrogates and gradients, averaged, are one worker's."""
    recipe = amortised(train={"batch_size": 17})
    mean_gradients = {}
    for world in (1, 2):
        gradients = []
        for rank in range(world):
            host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path)))
            host.rank, host.world = rank, 1
            prepared = prepare(recipe, host)
            host.world = world
            turn = prepared.sources[0].begin_step(5, np.array([1.0, 0.0, 0.0]))
            turn.loss(0).backward()
            own = prepared.primal.predictor.parameters()
            gradients.append(torch.cat([each.grad.flatten() for each in own if each.grad is not None]))
        mean_gradients[world] = torch.stack(gradients).mean(0)
    assert len(shard(17, 0, 2)) != len(shard(17, 1, 2))
    assert torch.allclose(mean_gradients[1], mean_gradients[2], atol=1e-6) and mean_gradients[1].abs().max() > 1e-3


def test_the_front_holds_every_point_and_the_last_is_where_the_result_is(ended):
    result, front = json.loads((ended / "result.json").read_text()), front_in(ended)
    assert len(front.points) == 5 + 1 + 1 and front.steps == 20
    assert dict(front.last) == {name: each["multiplier"] for name, each in result["constraints"].items()}
    assert front.points[0].multipliers == {"four": 0.0, "five": 0.0}
    assert max(each.multipliers["four"] for each in front.points) == pytest.approx(2.0)


def test_the_last_point_is_on_the_draws_of_the_others_though_the_result_is_on_more(ended):
    result, front = json.loads((ended / "result.json").read_text()), front_in(ended)
    last = front.points[-1]
    again = measured_at(str(ended), np.array([[last.multipliers[name] for name in front.names]]))[0]
    assert last.objective == pytest.approx(again.objective, rel=1e-5)
    assert last.values == pytest.approx(dict(again.values), rel=1e-4)
    assert last.value_errors == pytest.approx(dict(again.value_errors), rel=1e-4)
    assert result["objective"] != last.objective


def test_how_sure_the_multipliers_on_a_fitted_front_are_was_not_measured(tmp_path):
    """Though the training is long enough to tell so of multipliers that moved."""
    recipe = amortised(train={"steps": 60}, evaluation={"samples": 0, "loss_draws": 16})
    result, _, states, _ = run(recipe, tmp_path)
    assert np.isfinite(settled_errors(states[max(states)])).all()
    assert np.isnan([each.multiplier_error for each in result.constraints.values()]).all()
    assert not any(name.startswith("multiplier_error/") for name in result.metrics)


def test_a_run_is_measured_again_at_any_multipliers(ended):
    front = front_in(ended)
    wanted = front.points[3]
    again = measured_at(str(ended), np.array([[wanted.multipliers[name] for name in front.names]]))[0]
    assert again.objective == pytest.approx(wanted.objective, rel=1e-5)
    assert again.values == pytest.approx(dict(wanted.values), rel=1e-4)


def test_samples_at_multipliers_are_those_of_the_conditioned_network(ended, tmp_path):
    recipe = amortised()
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(ended / "checkpoints")))
    loop = Loop(prepare(recipe, host), lambda _: {})
    loop._resume()
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([1, 20, 49])
    bound, *_ = restore(str(locate(str(ended))), {"four": 1.5})
    with loop.primal.averaged(loop.settled) as model, torch.no_grad():
        wanted, other = model.at(np.array([1.5, 0.0]))(x, t), model.at(np.zeros(2))(x, t)
        assert torch.allclose(bound(x, t), wanted, atol=1e-5) and not torch.allclose(wanted, other, atol=1e-4)
    asked = generate(str(locate(str(ended))), 3, tmp_path, sampler=None, steps=3, seed=0, multipliers={"four": 1.5})
    assert torch.isfinite(asked).all()


def test_a_further_training_takes_it_at_multipliers(ended, tmp_path):
    plain = digits(train={"steps": 1, "lr": 1e-12, "log_every": 1}).model_dump()
    plain |= {"model": {"load": str(ended), "multipliers": {"five": 0.5}}, "schedule": None}
    run(Recipe.model_validate(plain), tmp_path / "next")
    x, t, library = torch.randn(2, 1, 8, 8), torch.tensor([3, 30]), Library()
    taken, at_zero = (
        build_model(Model(load=str(ended), multipliers=each), (1, 8, 8), 0, library, trained=False)
        for each in ({"five": 0.5}, {"five": 0.0})
    )
    again = build_model(Model(load=str(tmp_path / "next")), (1, 8, 8), 0, library, trained=False)
    with torch.no_grad():
        assert torch.allclose(again(x, t), taken(x, t), atol=1e-4) and not torch.allclose(at_zero(x, t), taken(x, t), atol=1e-4)
    with pytest.raises(TrainingError, match="must go with an amortised run"):
        build_model(Model(load=str(tmp_path / "next"), multipliers={"four": 1.0}), (1, 8, 8), 0, library)


def test_an_adapter_is_trained_on_it_at_multipliers(ended, tmp_path):
    """Its base, which is not of any multipliers itself, lies under the adapter at those of the recipe."""
    plain = digits(train={"steps": 1, "lr": 1e-12, "log_every": 1}).model_dump()
    adapted = {"load": str(ended), "multipliers": {"five": 0.5}, "lora": {"rank": 2, "targets": ["time_emb_proj", "linear_2"]}}
    run(Recipe.model_validate(plain | {"model": adapted, "schedule": None}), tmp_path / "next")
    x, t, library = torch.randn(2, 1, 8, 8), torch.tensor([3, 30]), Library()
    taken, at_zero, again = (
        build_model(Model(**each), (1, 8, 8), 0, library, trained=False)
        for each in (
            {"load": str(ended), "multipliers": {"five": 0.5}},
            {"load": str(ended), "multipliers": {}, "lora": str(tmp_path / "next")},
            {"load": str(tmp_path / "next")},
        )
    )
    with torch.no_grad():
        assert torch.allclose(again(x, t), taken(x, t), atol=1e-4) and not torch.allclose(at_zero(x, t), taken(x, t), atol=1e-4)


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [(None, r"must be taken at some multipliers, .*write multipliers: \{four: 0.1, five: 0.1\}"), ({"six": 1.0}, "got six")],
)
def test_loading_without_multipliers_is_refused(ended, multipliers, message):
    with pytest.raises(TrainingError, match=message):
        build_model(Model(load=str(ended), multipliers=multipliers), (1, 8, 8), 0, Library())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "",
            "model.multipliers: must be given for an amortised run, but got none; write e.g. multipliers: {four: 0.1, five: 0.1}",
        ),
        (", multipliers: {six: 1.0}", "model.multipliers: must be of the run's constraints, four, five, but got six"),
        (", multipliers: {four: -1.0}", "model.multipliers.four: must be"),
        (", multipliers: {four: 1.0}", ""),
    ],
)
def test_a_recipe_that_loads_it_is_checked_before_anything_starts(ended, tmp_path, given, message):
    file = tmp_path / "next.yaml"
    file.write_text(
        f"name: next\nformulation: constrained_training\nmodel: {{load: {ended}{given}}}\ndata: {{source: digits}}\n"
        "constraints: [{name: four, data: {classes: [4]}, at_most: 0.1}]\ntrain: {steps: 1}\n"
    )
    done = typer.testing.CliRunner().invoke(app, ["check", str(file)])
    assert (message in str(done.exception)) if message else done.exit_code == 0, done.exception


def test_asking_for_multipliers_and_budgets(ended):
    place, front = str(locate(str(ended))), front_in(ended)
    assert asked_multipliers(place, None, None) is None
    assert asked_multipliers(place, "four=0.3, five=0.1", None) == {"four": 0.3, "five": 0.1}
    loose = front.points[0].values["four"] + 0.1
    assert asked_multipliers(place, None, f"four={loose},five=5") == {"four": 0.0, "five": 0.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--multipliers", "four=0.3", "--budgets", "five=1"], "--budgets: must not stand beside --multipliers"),
        (["--multipliers", "four"], "--multipliers: must be NAME=VALUE,…, but got 'four'"),
        (["--multipliers", "four=1, four=2"], "--multipliers: must have each name once, but got `four` twice; keep one"),
        (["--multipliers", "six=1"], "must be of the run's constraints, four, five, but got six"),
        (["--multipliers", "four=-1"], "must be ≥ 0, but got -1 for four"),
        (["--budgets", "four=-9"], "must be a budget that the range of multipliers reaches, but got -9 for four"),
    ],
)
def test_what_cannot_be_asked_is_told(ended, arguments, message, tmp_path):
    done = typer.testing.CliRunner().invoke(app, ["sample", str(ended), "--output", str(tmp_path), *arguments])
    assert isinstance(done.exception, InputError) and message in str(done.exception)


def test_the_command_samples_at_the_recipes_budgets_unless_asked(ended, tmp_path):
    for number, arguments in enumerate(([], ["--multipliers", "four=2,five=0.9"])):
        done = typer.testing.CliRunner().invoke(
            app, ["sample", str(ended), "--output", str(tmp_path / str(number)), "--count", "4", "--steps", "3", *arguments]
        )
        assert done.exit_code == 0, done.exception
    first, second = (np.load(tmp_path / str(number) / "samples.npy") for number in range(2))
    assert not np.allclose(first, second)


def test_the_command_exports_it_at_budgets(ended, tmp_path):
    loose = front_in(ended).points[0].values["four"] + 0.1
    arguments = ["export", str(ended), str(tmp_path / "out"), "--budgets", f"four={loose},five=5"]
    done = typer.testing.CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and (tmp_path / "out" / "pipeline.py").exists(), done.exception


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["amortised.multipliers={low: 2.0, high: 1.0}"],
            "amortised.multipliers.low: `low` must be below `high`, but got 2.0 and 1.0",
        ),
        (["amortised.points=2"], "amortised.points: must"),
        (["amortised.multiplier={}"], "amortised.multiplier: must be a known key"),
        (["amortised={by_constraint: {six: {high: 1}}}"], "must name constraints, but got 'six'"),
        (["amortised={}", "constraints=[]"], "must go with constraints that have budgets, but got no constraint"),
        (["amortised={}", "start={from: there, multipliers: {four: 1.0}}"], "`start.multipliers` must be left out with `amort"),
        (["amortised={}", "train.batches=separate"], "`train.batches` must be mixture with `amortised`, but got separate"),
        (["amortised={}", "constraints.four.at_most=null", "constraints.four.equals=0.1"], "must be at_most or at_least with"),
    ],
)
def test_bad_settings_are_told_where_they_stand(overrides, message, tmp_path):
    file = Path(__file__).parent.parent.parent.parent / "sweeps/recipes/digits.yaml"
    with pytest.raises(InputError) as error:
        load_recipe(file, overrides)
    assert message in str(error.value)

"""`start`: what is taken over and what begins anew, that a resumed run never starts again, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder, Snapshot, locate, read
from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import parse
from dualsweep.trainer.dual.settling import settled_multipliers
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.job import fingerprint
from dualsweep.trainer.recipe.load import OverlaidDocument, load_recipe, validate_recipe
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.amortised.test_training import amortised
from tests.trainer.engine.test_loop import Interrupted, Recording, aligned, run, without_time
from tests.trainer.recipes import digits

QUICK: dict[str, Any] = {"evaluation": {"samples": 0, "loss_draws": 16}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("source")
    run(digits(dual={"start": 0.2}, **QUICK), folder)
    return str(folder)


def begun(recipe: Recipe, folder: Path) -> Loop:
    """A loop that has put everything where it begins."""
    host = LocalHost(Recording(recipe), CheckpointFolder(str(folder / "checkpoints")))
    loop = Loop(prepare(recipe, host), lambda _: {})
    loop._resume()
    return loop


def snapshot_of(place: str) -> Snapshot:
    checkpoint = locate(place)
    assert checkpoint is not None
    return read(checkpoint)


@pytest.mark.parametrize("rule", ["ascent", "nu_pi", "secant", "augmented_lagrangian"])
def test_what_is_taken_over_and_what_begins_anew(source: str, tmp_path: Path, rule: str) -> None:
    recipe = digits(start={"from": source}, dual={"rule": rule}, train={"steps": 6, "lr_warmup": 3}, **QUICK)
    loop, there = begun(recipe, tmp_path), snapshot_of(source)
    groups, numbers = loop.primal.state()
    for name in ("weights", "average", "optimizer"):
        assert groups[name].keys() == there.groups[name].keys()
        assert all(torch.equal(value, there.groups[name][key]) for key, value in groups[name].items()), name
    assert numbers == there.state["primal"]
    assert (loop.step, loop.state.version, loop.seconds, loop.updates.bad) == (0, 0, 0.0, 0)
    settled = settled_multipliers(DualState.from_json(there.state["dual"]))
    for mine in (loop.state.multipliers, loop.state.applied, loop.state.previous):
        np.testing.assert_array_equal(mine, settled)
    first = controller_of(recipe).first()
    np.testing.assert_array_equal(loop.state.memory, first.memory)
    np.testing.assert_array_equal(loop.state.average, first.average)
    loop.primal.begin(0, loop.problem.mixture_weights(settled))
    assert loop.primal.optimizer.param_groups[0]["lr"] == pytest.approx(recipe.train.lr / 3)  # type: ignore[attr-defined]


RMSPROP: dict[str, Any] = {"call": "torch.optim:RMSprop"}
SGD: dict[str, Any] = {"call": "torch.optim:SGD"}
HEAVY: dict[str, Any] = SGD | {"options": {"momentum": 0.9}}


@pytest.mark.parametrize(("there", "here", "left"), [
    ("adamw", RMSPROP, True), (HEAVY, "adamw", True), (SGD, "adamw", True), (SGD, HEAVY, True),
    ("adamw", {"call": "torch.optim:AdamW", "options": {"amsgrad": True}}, True),
    (SGD, SGD, False), (HEAVY, SGD, False), ("adamw", {"call": "torch.optim:AdamW"}, False),
])  # fmt: skip
def test_moments_of_another_optimiser_are_left_behind_with_a_word(
    there: Any, here: Any, left: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short: dict[str, Any] = {"steps": 2, "batch_size": 8, "lr": 1e-4}
    run(digits(train=short | {"optimizer": there}, **QUICK), tmp_path / "first")
    recipe = digits(start={"from": str(tmp_path / "first")}, train=short | {"optimizer": here}, **QUICK)
    assert refusals(recipe) == ""
    loop, snapshot = begun(recipe, tmp_path / "second"), snapshot_of(str(tmp_path / "first"))
    assert ("train.optimizer begins without moments" in caplog.text) == left
    groups, _ = loop.primal.state()
    for name in ("weights", "average"):
        assert all(torch.equal(value, snapshot.groups[name][key]) for key, value in groups[name].items()), name
    kept = {} if left or here is SGD else snapshot.groups["optimizer"]
    assert groups["optimizer"].keys() == kept.keys()
    assert all(torch.equal(value, kept[key]) for key, value in groups["optimizer"].items())
    result, *_ = run(recipe, tmp_path / "second")
    assert np.isfinite(result.metrics["objective"])


def test_an_optimisers_options_are_those_of_its_own_recipe(tmp_path: Path) -> None:
    def by(momentum: float, decay: float) -> dict[str, Any]:
        options = {"momentum": momentum, "weight_decay": decay}
        return {"steps": 2, "batch_size": 8, "lr": 1e-4, "optimizer": SGD | {"options": options}}

    run(digits(train=by(0.9, 0.0), **QUICK), tmp_path / "first")
    recipe = digits(start={"from": str(tmp_path / "first")}, train=by(0.5, 0.1), **QUICK)
    primal = begun(recipe, tmp_path / "second").primal
    group = primal.optimizer.param_groups[0]  # type: ignore[attr-defined]
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.1)
    there = snapshot_of(str(tmp_path / "first")).groups["optimizer"]
    moments = primal.state()[0]["optimizer"]
    assert there and moments.keys() == there.keys()
    assert all(torch.equal(value, there[key]) for key, value in moments.items())


def test_given_multipliers_stand_above_the_runs_own(source: str, tmp_path: Path) -> None:
    loop = begun(digits(start={"from": source, "multipliers": {"five": 0.07}}, **QUICK), tmp_path)
    settled = settled_multipliers(DualState.from_json(snapshot_of(source).state["dual"]))
    assert loop.state.multipliers.tolist() == [settled[0], 0.07]
    fixed = digits(start={"from": source}, dual={"rule": "fixed", "start": 0.3}, **QUICK)
    assert begun(fixed, tmp_path).state.multipliers.tolist() == [0.3, 0.3]


def test_a_resumed_run_does_not_start_again(source: str, tmp_path: Path) -> None:
    """It goes on from its own checkpoint though the run that it started from is no longer there."""
    there = tmp_path / "there"
    shutil.copytree(source, there)
    recipe = digits(start={"from": str(there)}, checkpoint={"every": 6}, train={"steps": 12}, **QUICK)
    whole, points, *_ = run(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", 8)
    shutil.rmtree(there)
    resumed, rest, *_ = run(recipe, tmp_path / "parts")
    assert without_time(resumed.metrics) == without_time(whole.metrics)
    assert all(without_time(rest[step]) == without_time(points[step]) for step in rest)


def test_rewards_keep_the_scale_of_the_pretrained_model(tmp_path: Path) -> None:
    """They are normalised under the recipe's own pretrained model, not under the one that training starts from."""
    first, *_ = run(aligned("backpropagation"), tmp_path / "first")
    plain = aligned("backpropagation").model_dump() | {"start": {"from": str(tmp_path / "first"), "multipliers": {}}}
    second, points, *_ = run(Recipe.model_validate(plain), tmp_path / "second")
    scales = {name: value for name, value in first.metrics.items() if name.startswith("scale/")}
    assert scales and {name: second.metrics[name] for name in scales} == scales
    assert points[min(points)]["objective"] > 0.5 * first.metrics["objective"] > 0  # the divergence that was come to, not 0


def test_companions_start_with_the_model(tmp_path: Path) -> None:
    recipe = aligned("dag", flow={"width": 8})
    run(recipe, tmp_path / "first")
    again = Recipe.model_validate(recipe.model_dump() | {"start": {"from": str(tmp_path / "first")}})
    groups, _ = begun(again, tmp_path / "second").primal.state()
    there = snapshot_of(str(tmp_path / "first")).groups
    assert all(torch.equal(value, there["companions"][name]) for name, value in groups["companions"].items())
    other = Recipe.model_validate(aligned("backpropagation").model_dump() | {"start": {"from": str(tmp_path / "first")}})
    with pytest.raises(TrainingError, match=r"a tensor flow.* among its companions"):
        begun(other, tmp_path / "third")


@pytest.mark.parametrize(("sections", "said"), [
    ({"model": {"unet": {"channels": [8, 8]}}}, "architecture, but .* has .* of shape"),
    ({"model": {"unet": {"channels": [8, 16], "layers_per_block": 2}}}, "has no tensor"),
    ({"schedule": {"prediction": "v_prediction"}}, "50 timesteps of squaredcos_cap_v2 with v_prediction, but .* with epsilon"),
    ({"schedule": {"timesteps": 60}}, "must hold a model of this recipe's noise schedule, 60 timesteps"),
    ({"constraints": [{"name": "six", "data": {"classes": [6]}, "at_most": 0.5}]}, "none for six, where .* has four, five"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(source: str, tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        begun(digits(start={"from": source}, **sections, **QUICK), tmp_path)


def test_no_checkpoint_and_one_without_an_optimiser_are_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="must be a run's output or a checkpoint of ours, but got memory://nowhere"):
        begun(digits(start={"from": "memory://nowhere"}, **QUICK), tmp_path / "out")
    older = without_optimiser(source, tmp_path)
    with pytest.raises(TrainingError, match=r"must hold the optimiser's state, but got .*an older version wrote it"):
        begun(digits(start={"from": older}, **QUICK), tmp_path / "out")


def without_optimiser(source: str, folder: Path) -> str:
    """A checkpoint as a version without `training/optimizer.safetensors` would have written it."""
    there = snapshot_of(source)
    groups = {name: each for name, each in there.groups.items() if name != "optimizer"}
    older = CheckpointFolder(str(folder / "older"))
    older.save(Snapshot(there.step, groups, there.state, there.files))
    older.flush()
    return str(folder / "older")


def refusals(recipe: Recipe) -> str:
    document = OverlaidDocument.of(parse("name: tiny\nstart:\n  from: there\n", "recipe.yaml"))
    return "\n".join(map(str, before_loading.check(recipe, document)))


def test_a_file_is_checked_before_anything_starts(source: str, tmp_path: Path) -> None:
    assert refusals(digits(start={"from": source})) == ""
    (tmp_path / "empty").mkdir()
    for place, said in (("missing", "which is not there"), ("empty", "which holds no complete one")):
        assert said in refusals(digits(start={"from": str(tmp_path / place)}))
    assert "recipe.yaml:3: start.from: must hold the optimiser's state" in refusals(
        digits(start={"from": without_optimiser(source, tmp_path)})
    )
    wider = digits(start={"from": source}, model={"unet": {"channels": [8, 24]}})
    assert "recipe.yaml:3: start.from: must hold this recipe's architecture, with its channels, but got [8, 16]" in refusals(
        wider
    )
    velocity = digits(start={"from": source}, schedule={"prediction": "v_prediction"})
    assert "must hold a model that predicts the same, but got epsilon there" in refusals(velocity)
    renamed = [{"name": "six", "data": {"classes": [6]}, "at_most": 0.5}]
    assert "but got none for six, where that run has four, five" in refusals(digits(start={"from": source}, constraints=renamed))
    given = {"from": source, "multipliers": {"six": 0.1}}
    assert refusals(digits(start=given, constraints=renamed)) == ""


def test_noise_adapters_and_amortisation_are_compared_before_anything_starts(source: str) -> None:
    for same in ({"timesteps": 50}, {"timesteps": 50, "name": "squaredcos_cap_v2"}):  # said in full
        assert refusals(digits(start={"from": source}, schedule=same)) == ""
    for schedule, key in (
        ({"timesteps": 60}, "timesteps 50 there"),
        ({"name": "linear"}, "name 'squaredcos_cap_v2' there"),
        ({"name": "edm"}, "name 'squaredcos_cap_v2' there"),
    ):
        said = refusals(digits(start={"from": source}, schedule=schedule))
        assert f"must hold a model of this recipe's noise schedule, but got {key}" in said, said
    lora = {"unet": None, "load": source, "lora": {"rank": 2}}
    assert "start.from: must hold a run with `model.lora` where this recipe has it, but got none there" in refusals(
        digits(start={"from": source}, model=lora)
    )
    assert "start.from: must hold a run with `amortised` where this recipe has it, but got none there" in refusals(
        amortised(start={"from": source})
    )


def test_an_amortised_run_starts_from_one_with_constraints_of_other_names(tmp_path: Path) -> None:
    """Its multipliers are drawn at each step, so none of the other run's is needed, or could be given."""
    run(amortised(train={"steps": 2}, **QUICK), tmp_path / "first")
    recipe = amortised(start={"from": str(tmp_path / "first")})
    four, five = (each.model_dump() for each in recipe.constraints)
    renamed = Recipe.model_validate(recipe.model_dump() | {"constraints": [four | {"name": "rare"}, five]})
    assert refusals(renamed) == ""
    loop = begun(renamed, tmp_path / "second")
    assert loop.state.multipliers.tolist() == loop.policy.controller.first().multipliers.tolist() == [0.0, 0.0]


def test_an_amortised_adapter_starts_from_one_of_the_same_base(source: str, tmp_path: Path) -> None:
    """Whose base is compared, at whatever multipliers."""
    model = {"unet": None, "load": source, "lora": {"rank": 2, "targets": ["time_emb_proj"]}}
    adapted = {"model": model, "train": {"steps": 2}, **QUICK}
    run(amortised(**adapted), tmp_path / "first")
    loop = begun(amortised(start={"from": str(tmp_path / "first")}, **adapted), tmp_path / "second")
    ours, theirs = loop.primal.state()[0]["weights"], snapshot_of(str(tmp_path / "first")).groups["weights"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("start", "more", "said"), [
    ("{from: runs/a, multipliers: {six: 0.1}}", "", "`start.multipliers` must name constraints"),
    ("{from: runs/a, multipliers: {four: -0.1}}", "", "must be >= 0"),
    ("{multipliers: {four: 0.1}}", "", "start.from: is required"),
    ("{from: runs/a, multiplier: {four: 0.1}}", "", "did you mean `multipliers`"),
    ("{from: runs/a, multipliers: {four: 0.1}}", "dual: {rule: fixed}\n", "must be left out with rule fixed"),
])  # fmt: skip
def test_bad_sections_are_refused_by_line(tmp_path: Path, start: str, more: str, said: str) -> None:
    (tmp_path / "recipe.yaml").write_text(f"""\
name: tiny
formulation: constrained_training
model: {{unet: {{channels: [8, 16]}}}}
data: {{source: digits}}
constraints: [{{name: four, data: {{classes: [4]}}, at_most: 0.5}}]
train: {{steps: 20}}
{more}start: {start}
""")
    with pytest.raises(InputError) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert said in str(caught.value) and "recipe.yaml:" in str(caught.value)


def test_weights_on_a_simplex_are_all_given_or_none() -> None:
    plain: dict[str, Any] = {
        "name": "tiny", "formulation": "composition_or", "model": {"unet": {"channels": [8, 16]}}, "data": {"source": "digits"},
        "constraints": [{"name": name, "data": {"classes": [each]}} for name, each in (("four", 4), ("five", 5))],
        "dual": {"rule": "simplex"}, "train": {"steps": 20},
    }  # fmt: skip
    validated = OverlaidDocument.of(parse("name: tiny\n", "recipe.yaml"))
    for given, good in (
        ({}, True),
        ({"four": 0.4, "five": 0.6}, True),
        ({"four": 0.4}, False),
        ({"four": 0.4, "five": 0.4}, False),
    ):
        validated.data = plain | {"start": {"from": "runs/a", "multipliers": given}}
        if good:
            assert validate_recipe(validated).start is not None
            continue
        with pytest.raises(InputError, match="must be a weight for each constraint, with sum 1"):
            validate_recipe(validated)


def asking(held_out: float) -> Recipe:
    share = {"name": "four", "share": {"of": 4, "held_out": held_out}, "at_least": 0.2}
    return digits(formulation="alignment", model={"unet": None, "load": "runs/a"}, constraints=[share])


def test_runs_without_later_keys_keep_their_fingerprint() -> None:
    """So a run that was begun before there were these keys goes on."""
    recipe, later = digits(), {"resources", "checkpoint", "start", "feasibility", "monitor"}
    before = recipe.model_dump(mode="json", exclude=later)
    later_keys = {
        "train": ("accumulate", "checkpointing", "compile", "condition_dropout", "optimizer", "offset_noise"),
        "data": ("random_flip", "random_crop", "captions", "attributes"), "model": ("condition",),
        "schedule": ("sigma_min", "sigma_max", "rho", "sigma_data", "p_mean", "p_std"),
    }  # fmt: skip
    for section, keys in later_keys.items():
        before[section] = {key: value for key, value in before[section].items() if key not in keys}
    before["constraints"] = [
        {key: value for key, value in each.items() if key not in ("term", "share")} for each in before["constraints"]
    ]
    for each in before["constraints"]:
        del each["data"]["captions"], each["data"]["attributes"]
    assert fingerprint(recipe) == hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:16]
    assert fingerprint(asking(0.2)) != fingerprint(asking(0.3))
    changed: list[dict[str, Any]] = [
        {"train": {"accumulate": 2}}, {"data": {"random_flip": True}}, {"data": {"random_crop": 1}},
        {"train": {"offset_noise": 0.1}},
        {"schedule": {"name": "edm"}}, {"schedule": {"name": "edm", "rho": 5.0}}, {"monitor": {"every": 5}},
        {"train": {"optimizer": {"call": "torch.optim:SGD"}}}, {"model": {"condition": "labels"}}, {"start": {"from": "runs/a"}},
        {"feasibility": {"confidence": 0.9}},
    ]  # fmt: skip
    assert len({fingerprint(recipe), *(fingerprint(digits(**each)) for each in changed)}) == 1 + len(changed)

"""`import dualsweep`: what Python has at hand becomes a recipe, what lies in a folder a result, as the commands have it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

import dualsweep as ds
from dualsweep.sweeps.checking import checked_read
from dualsweep.sweeps.python.explanation import Explanation
from dualsweep.sweeps.python.given import count_given, plan_given, preference_given, recipe_given
from dualsweep.sweeps.tracking.artifacts import draw_trajectories
from dualsweep.sweeps.tracking.spool import points_in
from dualsweep.trainer.config import yaml_core
from tests.stores import empty_store
from tests.sweeps.here import dualsweep_here
from tests.test_runs_of_0_1 import unpack


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training, a sweep of two trials and their MLflow store."""
    folder = unpack(tmp_path_factory.mktemp("there"))
    for trial in ("0000", "0001"):  # whose checkpoints were not kept
        shutil.copytree(folder / "runs/tiny/checkpoints", folder / "runs/tiny-sweep/trials" / trial / "checkpoints")
    return folder


@pytest.fixture(scope="module")
def fronted(there: Path) -> ds.Front:
    """Its front, drawn anew from the sweep's folder alone, in another working directory."""
    return ds.front(there / "runs" / "tiny-sweep")


def test_importing_it_is_light_and_dir_shows_the_api(tmp_path: Path) -> None:
    code = "import sys, dualsweep; print(dir(dualsweep), [m for m in ('torch', 'ray', 'mlflow', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == f"{sorted([*ds.__all__, '__version__'])} []"
    assert all(hasattr(ds, name) for name in ds.__all__)


def test_a_training_is_loaded_with_its_history_and_verdicts(there: Path) -> None:
    run = ds.load(there / "runs" / "tiny")
    assert isinstance(run, ds.Run) and isinstance(run, ds.Result)
    assert repr(run).startswith("<Run tiny: out of steps after 20 steps, objective 0.71") and "\n" not in repr(run)
    table = run.to_dataframe()
    assert table.index[-1] == 20 and bool(table["final"].iloc[-1]) and not table["final"].iloc[:-1].any()
    assert table["objective"].iloc[-1] == run.objective
    said = dualsweep_here("explain", "runs/tiny", folder=there).stdout
    assert repr(run.explain()).split() == said.split()


def test_a_notebook_shows_all_that_is_explained(there: Path) -> None:
    run = ds.load(there / "runs" / "tiny")
    assert isinstance(run, ds.Run)
    price, goal = "Loosening `four` by 1 gains 0.2 of the objective.", "For 10 % of fours take 0.3."
    explained = Explanation.of(replace(run._known, prices=(price,), goals=(goal,)))
    page, lines = explained._repr_markdown_(), repr(explained).splitlines()
    objective = next(line for line in lines if line.startswith("objective 0.71"))
    assert all(line in lines and line in page for line in (price, goal, objective))


def test_the_same_training_from_a_file_a_dict_and_a_recipe(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has ended, so that nothing is trained: each call must find that it is the same."""
    monkeypatch.chdir(there)
    plain = yaml.safe_load(Path("recipe.yaml").read_text())
    loaded = ds.load("runs/tiny")
    steps = plain["train"].pop("steps")
    given: list[str | Path | ds.Recipe] = ["recipe.yaml", Path("recipe.yaml"), ds.load_recipe("recipe.yaml")[0]]
    runs = [*(ds.train(each) for each in given), ds.train(plain, set={"train.steps": steps})]
    assert [run.to_json() for run in runs] == [loaded.to_json()] * 4
    assert "steps" not in plain["train"]  # what was given is left as it was


def untold(file: str) -> ds.Recipe:
    """A recipe with a budget of 0 and nothing that tells its tolerance."""
    plain = ds.load_recipe(file)[0].model_dump(mode="json")
    plain["constraints"] = [{"name": "four", "data": {"classes": [4]}, "at_most": 0.0}]
    return ds.Recipe.model_validate(plain)


def with_seed(file: str, seed: int) -> ds.Recipe:
    """A recipe with another seed, which pydantic does not check."""
    return ds.load_recipe(file)[0].model_copy(update={"seed": seed})


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ds.train("recipe.yaml", set={"train.stesp": 3}), "did you mean `steps`"),
        (lambda: ds.train("recipe.yaml", set={"train.steps": "many"}), "set:1: train.steps: must be a valid integer"),
        (lambda: ds.train("sweep.yaml"), "must be a recipe, but got a sweep"),
        (lambda: ds.train({"name": "a"}), "recipe:1: formulation: is required"),
        (lambda: ds.train(3), "must be a recipe, but got `int`"),  # type: ignore[arg-type]
        (lambda: ds.train("recipe.yaml", set=["train.steps=3"]), "set: must be a dict of dotted keys"),  # type: ignore[arg-type]
        (lambda: ds.train("recipe.yaml", set={3: 3}), "set: must have texts as keys, but got 3"),  # type: ignore[dict-item]
        (lambda: ds.train("recipe.yaml", 3), "output: must be a place, but got 3"),  # type: ignore[arg-type]
        (lambda: ds.train("recipe.yaml", on_report=3), "on_report: must be a function"),  # type: ignore[arg-type]
        (lambda: ds.sweep("sweep.yaml", on_report=3), "on_report: must be a function"),  # type: ignore[arg-type]
        (lambda: ds.load(None), "run: must be a place, but got None"),  # type: ignore[arg-type]
        (lambda: ds.front(None), "sweep: must be a place, but got None"),  # type: ignore[arg-type]
        (lambda: ds.front("runs/tiny-sweep", output="recipe.yaml"), "Python:1: output: must be a place that can be written"),
        (lambda: ds.front("runs/tiny-sweep", prefer=3), "prefer: must be a preference, but got 3"),  # type: ignore[arg-type]
        (lambda: ds.front("runs/tiny-sweep", prefer={"bets": 1}), "did you mean `best`"),
        (lambda: ds.load_recipe("recipe.yaml", {"train.steps": "x"}), "train.steps: must be a valid integer"),
        (lambda: ds.load_plan("sweep.yaml", {"trials": 0}), "overrides:1: trials: must be greater than or equal to 1, but got 0"),
        (lambda: ds.load_plan("sweep.yaml", "trials=2"), "overrides: must be a dict of dotted keys, or texts `key=value`"),
        (lambda: ds.load_recipe("recipe.yaml", 3), "overrides: must be a dict of dotted keys"),  # type: ignore[arg-type]
        (lambda: ds.load_recipe(None), "must be a path, but got None"),  # type: ignore[arg-type]
        (lambda: ds.load_plan(1), "must be a path, but got 1"),  # type: ignore[arg-type]
        (lambda: ds.train("recipe.yaml", "runs/tiny-sweep"), "holds a sweep; write another `name`"),
        (lambda: ds.sweep("sweep.yaml", "runs/tiny"), "holds a training; write another `name`"),
        (lambda: ds.sweep("sweep.yaml", set={"trials": 0}), "set:1: trials: must be greater than or equal to 1"),
        (lambda: ds.load("mlruns"), "Python:1: run: must be a training that has ended"),
        (lambda: ds.load("runs/tiny-sweep/trials/0007"), "must be a training that has ended"),
        (lambda: ds.load("nope://a/b"), "run: must be"),
        (lambda: ds.load("runs/tiny-sweep").run(9), "Python:1: trial: must be a trial of the sweep"),  # type: ignore[union-attr]
        (lambda: ds.train({"name": "a", "data": {None: 4}}), "Python:1: data: must have texts or whole numbers as keys"),
        (
            lambda: ds.train({"name": "a", "data": {(1, 2): 4}}),
            "Python:1: data: must have texts or whole numbers as keys, but got (1",
        ),
        (lambda: ds.train("recipe.yaml", set={"data.keep": {0.5: 1}}), "Python:1: data.keep: must have texts or whole numbers"),
        (lambda: ds.train({"recipe": "recipe.yaml"}), "must be a recipe, but got a sweep; give it to `dualsweep.sweep`"),
        (lambda: ds.sweep({"formulation": "x"}), "must be a sweep, but got a recipe; give it to `dualsweep.train`, or"),
        (lambda: ds.train("recipe.yaml", tracking_uri=Path("a.db")), "tracking_uri: must be a text, but got"),  # type: ignore[arg-type]
        (lambda: ds.front("runs/tiny-sweep", tracking_uri=[]), "tracking_uri: must be a text, but got []"),  # type: ignore[arg-type]
        (
            lambda: ds.train(with_seed("recipe.yaml", -3)),
            "seed: must be greater than or equal to 0",
        ),
        (lambda: ds.train(untold("recipe.yaml")), "feasibility.tolerance"),
        (lambda: ds.train("recipe.yaml", address=1), "address: must be a text, but got 1"),  # type: ignore[arg-type]
        (lambda: ds.sweep("sweep.yaml", address=b"x"), "address: must be a text, but got"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_told_before_anything_starts(call, said: str, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(there)
    with pytest.raises(ds.InputError) as refused:
        call()
    assert said in str(refused.value)


def test_a_folder_is_enough_to_draw_the_front_and_then_knows_its_point(there: Path, fronted: ds.Front) -> None:
    folder = there / "runs" / "tiny-sweep"
    assert fronted.folder == folder and (folder / "front.png").exists()
    assert list(fronted.to_dataframe().index) == list(fronted.trials)
    swept = ds.load(folder)
    assert isinstance(swept, ds.Swept) and "data:image/png;base64," in swept._repr_html_()
    assert repr(swept).startswith(f"<Sweep tiny-sweep: 2 trials, {len(fronted.trials)} on the front")
    assert swept.recommended == fronted.recommended and len(swept.to_dataframe()) == 2
    assert swept.run(1).title == "tiny-sweep 0001"


@pytest.mark.parametrize("command", ["explain", "sample"])
@pytest.mark.parametrize(("prefer", "trial"), [("none", 0), ("{weights: {objective: 1}}", 0), ("{weights: {value/max: 1}}", 1)])
def test_commands_on_a_sweeps_folder_take_the_recommended_trial(
    command: str, prefer: str, trial: int, there: Path, fronted: ds.Front, tmp_path: Path
) -> None:
    ids = [fronted.trials[0], fronted.trials[-1]]
    if trial or prefer != "none":
        ds.front(there / "runs" / "tiny-sweep", prefer=prefer)
    options = {"explain": [], "sample": ["--count", "2", "--steps", "2", "--trust", "--output", str(tmp_path / "a")]}[command]
    asked, other = (
        dualsweep_here(command, place, *options, folder=there)
        for place in ("runs/tiny-sweep", f"runs/tiny-sweep/trials/{ids[trial]}")
    )
    assert asked.returncode == other.returncode == 0, asked.stderr
    first, _, rest = asked.stdout.partition("\n")
    assert first.split(": ")[0].endswith(f"trials/{ids[trial]}") and rest == other.stdout


@pytest.mark.parametrize("command", ["explain", "sample"])
@pytest.mark.parametrize(("file", "folder"), [("sweep.yaml", "runs/tiny-sweep"), ("recipe.yaml", "runs/tiny")])
def test_a_file_is_as_good_as_the_folder_of_its_run(
    command: str, file: str, folder: str, there: Path, fronted: ds.Front, tmp_path: Path
) -> None:
    options = {"explain": [], "sample": ["--count", "2", "--steps", "2", "--trust", "--output", str(tmp_path / "a")]}[command]
    asked, other = (dualsweep_here(command, place, *options, folder=there) for place in (file, folder))
    assert asked.returncode == other.returncode == 0, asked.stderr
    assert asked.stdout.replace(f"{there}/", "") == other.stdout.replace(f"{there}/", "")


def test_the_front_of_a_file_is_kept_in_its_own_folder(there: Path, fronted: ds.Front) -> None:
    summary = there / "runs" / "tiny-sweep" / "review.json"
    summary.unlink()
    done = dualsweep_here("explain", "runs/tiny-sweep", folder=there)
    assert done.returncode == 2 and "or first: dualsweep front runs/tiny-sweep" in done.stderr
    done = dualsweep_here("front", "sweep.yaml", folder=there)
    assert done.returncode == 0 and f"front: {there}/runs/tiny-sweep/front.html" in done.stdout
    assert dualsweep_here("explain", "sweep.yaml", folder=there).returncode == 0 and summary.exists()


def test_a_training_is_refused_by_front_and_by_ui_where_no_store_has_it(there: Path) -> None:
    for place in ("runs/tiny", "recipe.yaml"):
        done = dualsweep_here("ui", place, folder=there)
        assert done.returncode == 2 and "Its command again with --tracking-uri STORE logs it" in done.stderr
    done = dualsweep_here("front", "runs/tiny", folder=there)
    assert done.returncode == 2 and f"A folder must be a sweep's, but got {there}/runs/tiny, where" in done.stderr
    done = dualsweep_here("front", "recipe.yaml", folder=there)
    assert done.returncode == 2 and "must be a sweep, but got a recipe" in done.stderr


def test_what_a_notebook_has_at_hand_is_as_yaml_would_have_it(there: Path) -> None:
    plain = yaml.safe_load((there / "recipe.yaml").read_text())
    odd = {**plain, "train": {**plain["train"], "steps": np.int64(40), "lr": np.float32(0.5)}}
    recipe, _ = recipe_given(odd, {"model.unet.channels": (np.int64(8), 16), "checkpoint.to": Path("kept")})
    assert (recipe.train.steps, recipe.train.lr, recipe.checkpoint.to) == (40, 0.5, "kept")
    assert recipe.model.unet is not None and recipe.model.unet.channels == [8, 16]
    assert isinstance(odd["train"]["steps"], np.int64)
    laid = {"model.unet.channels": (np.int64(8), 16), "checkpoint.to": Path("kept"), "train.steps": np.int64(9)}
    recipe, _ = ds.load_recipe(there / "recipe.yaml", laid)
    assert (recipe.train.steps, recipe.checkpoint.to) == (9, "kept")
    assert ds.load_plan(there / "sweep.yaml", {"trials": np.int64(9)}).trials == 9
    assert preference_given({"weights": {"objective": np.int64(1)}}) == '{"weights": {"objective": 1}}'


def test_numpys_whole_numbers_are_counts_and_trials(there: Path) -> None:
    swept = ds.load(there / "runs/tiny-sweep")
    assert isinstance(swept, ds.Swept) and swept.run(np.int64(1)).title == "tiny-sweep 0001"  # type: ignore[arg-type]
    assert count_given("n", np.int32(2), 1) == 2
    for each in (True, np.bool_(True), np.float64(2.0), 2.0, "2", None):
        with pytest.raises(ds.InputError, match="n: must be a whole number from 1"):
            count_given("n", each, 1)


def test_what_was_laid_over_a_plan_stays_under_what_is_laid_over_it_anew(there: Path) -> None:
    file, laid = there / "sweep.yaml", {"train.steps": 50, "trials": 5}
    plan = ds.load_plan(file, laid)
    again = plan_given(plan, {"trials": 4})
    assert (again.recipe.train.steps, again.trials) == (50, 4)
    assert plan_given(again, {"seed": 9}).recipe.train.steps == 50
    assert plan_given(again, {"train.steps": 60}).recipe.train.steps == 60
    assert plan.trials == 5  # what was given is left as it was


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"n": 0}, "n: must be a whole number from 1, but got 0"), ({"seed": -1}, "seed: must be a whole number from 0, but got"),
        ({"seed": 1.5}, "seed: must be a whole number from 0, but got 1.5"), ({"seed": 2**70}, "seed: must be a whole number"),
        ({"steps": 0}, "steps: must be a whole number from 1, but got 0"), ({"steps": "x"}, "steps: must be a whole number"),
        ({"sampler": "nope"}, "sampler: must be one of"), ({"sampler": ""}, "sampler: must be one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_sampled_is_refused(there: Path, asked: dict[str, object], said: str) -> None:
    with pytest.raises(ds.InputError) as refused:
        ds.load(there / "runs/tiny").samples(**asked)  # type: ignore[arg-type]
    assert said in str(refused.value) and str(refused.value).count("but got") == 1


def test_places_and_trials_are_what_they_are_meant_for(there: Path) -> None:
    run, swept = ds.load(there / "runs/tiny"), ds.load(there / "runs/tiny-sweep")
    for call in (lambda: run.export(None), lambda: run.export(1), lambda: swept.run(True), lambda: swept.run(1.0)):  # type: ignore
        with pytest.raises(ds.InputError, match=r"must be a place, but got|must be a trial's number or name, but got"):
            call()


def test_a_trial_is_named_as_the_commands_option_has_it(there: Path) -> None:
    swept = ds.load(there / "runs/tiny-sweep")
    assert isinstance(swept, ds.Swept)
    assert {str(swept.run(each).folder) for each in (1, "1", "01", "0001")} == {str(there / "runs/tiny-sweep/trials/0001")}
    assert repr(swept.explain("1")) == repr(swept.explain(1))
    for unknown in (7, -1, "7", "x", ""):
        with pytest.raises(ds.InputError, match=r"trial: must be a trial of the sweep that has ended, .* one of 0000, 0001"):
            swept.run(unknown)


@pytest.mark.parametrize("here", [True, False])
def test_a_trials_pictures_are_found_where_its_sweep_keeps_them(here: bool, there: Path, tmp_path: Path) -> None:
    """Its own folder has its samples, or, of a sweep behind a URI, is not here at all."""
    sweep = shutil.copytree(there / "runs/tiny-sweep", tmp_path / "s")
    kept, own = sweep / "artifacts" / "0000", sweep / "trials" / "0000"
    draw_trajectories(points_in(sweep / "spool" / "0000.jsonl"), "tiny", kept)
    for folder in (kept, own):
        shutil.copy(kept / "trajectories.png", folder / "samples.png")
    if not here:
        shutil.rmtree(sweep / "trials")
    swept = ds.load(sweep)
    assert isinstance(swept, ds.Swept) and swept.run(0)._repr_html_().count("data:image/png") == 2


def test_of_a_recipe_only_what_somebody_wrote_is_warned_of(there: Path) -> None:
    def warned(recipe: ds.Recipe, values: dict[str, object]) -> list[str]:
        found = checked_read(*recipe_given(recipe, values), str(there / "runs/new"), None, None, "light").found
        return [str(each) for each in found.warnings if "which it ignores" in str(each)]

    recipe, _ = ds.load_recipe(there / "recipe.yaml")
    stored = ds.Recipe.stored(yaml_core.write(recipe.model_dump(mode="json")))  # which has each default written out
    assert warned(recipe, {}) == warned(stored, {}) == warned(recipe, {"train.steps": 30}) == []
    for each in (recipe, stored):
        (line,) = warned(each, {"dual.trust": 0.3})
        assert line == "set:1: dual.trust: should be of use to the recipe, but got 0.3, which it ignores; drop it"


@pytest.mark.parametrize(("made", "said"), [
    (lambda it: it.model_copy(update={"seed": -3}), r"recipe:1: seed: must be .*, but got -3"),
    (lambda it: it.model_copy(update={"train": it.train.model_copy(update={"steps": 0})}), "train.steps"),
    (lambda it: ds.Recipe.model_validate(it.model_dump(mode="json") | {
        "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.0}],
    }), "must come with `feasibility.tolerance` where the budget is 0"),
])  # fmt: skip
def test_a_recipe_of_python_is_held_against_every_rule(made: Callable[[ds.Recipe], ds.Recipe], said: str, there: Path) -> None:
    recipe = made(ds.load_recipe(there / "recipe.yaml")[0])
    for values in (None, {"train.lr": 0.002}):
        with pytest.raises(ds.InputError, match=said):
            recipe_given(recipe, values)


def test_what_python_made_has_the_script_as_its_source(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(there)
    plain = yaml.safe_load(Path("recipe.yaml").read_text())
    script, names = Path(sys.argv[0]).name, []
    for at, given in enumerate((plain, ds.load_recipe("recipe.yaml")[0], "recipe.yaml")):
        ds.train(given, tracking_uri=(store := empty_store(there, f"source-{at}.db")))
        (run,) = MlflowClient(store).search_runs(["1"])
        names.append(Path(run.data.tags["mlflow.source.name"]).name)
    assert names == [script, script, "recipe.yaml"]
    sweep = {**yaml.safe_load(Path("sweep.yaml").read_text()), "recipe": plain}
    assert plan_given(plan_given(sweep, None), {"trials": 1}).document.source == ""
    assert plan_given("sweep.yaml", {"trials": 1}).document.source == str(there / "sweep.yaml")


def test_the_json_file_is_what_a_training_and_its_folder_have_in_python(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has ended, so that nothing is trained; a figure of it is of no number, of which JSON has none."""
    monkeypatch.chdir(shutil.copytree(there, there.parent / "with-nan"))
    result = Path("runs/tiny/result.json")
    result.write_text(json.dumps({**(kept := json.loads(result.read_text())), "metrics": {**kept["metrics"], "odd": math.nan}}))
    done = dualsweep_here("train", "recipe.yaml", "--json", "t.json", folder=Path.cwd())
    told = json.loads(Path("t.json").read_text())
    assert done.returncode == 0 and told["metrics"]["odd"] is None and told["verdicts"][0]["name"] == "four"
    trained, loaded = ds.train("recipe.yaml"), ds.load("runs/tiny")
    assert trained.to_json() == loaded.to_json() == told
    assert math.isnan(trained.metrics["odd"])

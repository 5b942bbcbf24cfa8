"""Sweeps are read with all that is wrong with them at once, each thing at its own line."""

# ruff: noqa: E501  # what users are told stands here as they see it
from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dualsweep.sweeps.planning.kinds import Choice, LogUniform, Uniform
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.schema import Sweep
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.recipe.load import load_recipe
from tests.sweeps.files import RECIPE, SWEEP, plan, write


def told(path: Path, *overrides: str) -> list[str]:
    """What is said of a bad sweep, without the folder's name."""
    with pytest.raises(InputError) as caught:
        load_plan(path, overrides)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.diagnostics]


def test_a_sweep_is_completed_by_its_recipe(tmp_path: Path) -> None:
    read = plan(tmp_path)
    assert [each.name for each in read.parameters] == ["dual.step_size", "constraints.four.at_most", "constraints.five.at_most"]
    assert [each.kind for each in read.parameters] == [LogUniform(0.003, 0.3), Uniform(0.08, 0.25), Uniform(0.08, 0.25)]
    assert dict(read.objectives) == {"objective": "minimize", "value/max": "minimize"}
    assert (read.trials, read.notes, read.experiment, read.sweep.concurrency) == (12, (), "digits-minority", None)
    assert (read.sweep.sampler.name, read.sweep.sampler.seed) == ("tpe", 0)
    assert read.recipe.train.steps == 1500


def test_what_is_bounded_from_below_is_maximised_unless_the_sweep_says_otherwise(tmp_path: Path) -> None:
    text = RECIPE.replace("at_most: 0.12}", "equals: 0.12}", 1)
    assert text != RECIPE
    read = load_plan(write(tmp_path, SWEEP.replace("constraints.[*].at_most", "constraints.five.at_most"), text), ())
    assert dict(read.objectives) == {"objective": "minimize", "value/five": "minimize"}


def test_an_objective_is_swept_in_the_direction_of_its_recipe(tmp_path: Path) -> None:
    recipe = (
        "name: r\nformulation: alignment\nmodel: {call: my:model, shape: [2]}\nobjective: {reward: brightness, maximize: true}\n"
        "constraints:\n  - {name: near, path_kl: {}, at_most: 1.0}\ntrain: {steps: 10}\n"
    )
    sweep = "name: s\nrecipe: recipe.yaml\nsearch: {constraints.near.at_most: {uniform: [0.1, 2.0]}}\ntrials: 2\n"
    write(tmp_path, sweep, recipe)
    assert dict(load_plan(tmp_path / "sweep.yaml").objectives) == {"objective": "maximize", "value/max": "minimize"}
    write(tmp_path, sweep + "objectives: {objective: minimize, value/near: minimize}\n", recipe)
    with pytest.raises(
        InputError, match=r"sweep.yaml:5: objectives.objective: must be the recipe's direction, maximize, but got min"
    ):
        load_plan(tmp_path / "sweep.yaml")


REWARDED = (
    "name: r\nformulation: alignment\nmodel: {call: my:model, shape: [2]}\nobjective: {reward: brightness}\n"
    "constraints:\n  - {name: near, path_kl: {}, at_most: 1.0}\ntrain: {steps: 10}\n"
)
MAXIMIZED = (
    "name: s\nrecipe: recipe.yaml\nsearch: {train.lr: {uniform: [0.1, 0.2]}}\ntrials: 2\nobjectives: {objective: DIRECTION, "
    "value/NAME: minimize}\n"
)
FAR = "[{name: far, path_kl: {}, at_most: 2.0}]"


@pytest.mark.parametrize(("key", "value", "right", "wrong", "says"), [
    ("objective.maximize", "true", "maximize near", "minimize near", "must be the recipe's direction, maximize, but got minimize"),
    ("constraints", FAR, "minimize far", "minimize near", "must be a metric of the recipe's runs, but got `value/near`"),
])  # fmt: skip
def test_objectives_are_held_against_the_recipe_with_what_is_laid_over_it(
    tmp_path: Path, key: str, value: str, right: str, wrong: str, says: str
) -> None:
    good, bad = (
        MAXIMIZED.replace("DIRECTION", direction).replace("NAME", name) for direction, name in (right.split(), wrong.split())
    )
    for sets, overrides in ((f"set: {{{key}: {value}}}\n", []), ("", [f"{key}={value}"])):
        read = load_plan(write(tmp_path, good + sets, REWARDED), overrides)
        assert list(read.objectives) == ["objective", f"value/{right.split()[1]}"]
        assert read.objectives["objective"] == ("maximize" if read.recipe.maximizes else "minimize")
        [only] = told(write(tmp_path, bad + sets, REWARDED), *overrides)
        assert only.startswith("sweep.yaml:5: objectives.") and says in only


@pytest.mark.parametrize(
    ("objective", "evaluation", "says"),
    [
        ("eval/frechet", "{samples: 0}", "but got `eval/frechet` with evaluation.samples 0; write e.g. evaluation.samples: 1000"),
        ("eval/frechte", "{samples: 100}", "but got `eval/frechte`; did you mean `frechet`"),
        ("eval/frechet", "{samples: 100, metrics: [copying]}", "but got `eval/frechet`; name frechet in evaluation.metrics"),
        ("train/loss", "{samples: 100}", "must be a metric of the recipe's runs, but got `train/loss`"),
        ("eval/share/4", "{samples: 100}", ""), ("eval/tv_from_uniform", "{samples: 100}", ""),
        ("eval/value/four", "{samples: 0}", ""), ("system/seconds", "{samples: 0}", ""),
        ("eval/mine", "{samples: 100, metrics: [frechet, 'math:sqrt']}", ""),
    ],
)  # fmt: skip
def test_an_objective_that_nothing_measures_is_refused(tmp_path: Path, objective: str, evaluation: str, says: str) -> None:
    write(
        tmp_path, SWEEP + f"objectives: {{objective: minimize, {objective}: minimize}}\n", f"{RECIPE}evaluation: {evaluation}\n"
    )
    if not says:
        assert objective in load_plan(tmp_path / "sweep.yaml").objectives
        return
    with pytest.raises(InputError, match=re.escape(says)):
        load_plan(tmp_path / "sweep.yaml")


def test_without_constraints_the_objective_is_alone(tmp_path: Path) -> None:
    recipe = "".join(line for line in RECIPE.splitlines(True) if "name: f" not in line and "constraints:" not in line)
    write(tmp_path, "name: s\nrecipe: recipe.yaml\nsearch: {train.lr: {log_uniform: [0.001, 0.1]}}\ntrials: 2\n", recipe)
    assert dict(load_plan(tmp_path / "sweep.yaml").objectives) == {"objective": "minimize"}


BOTH_FROM_BELOW = RECIPE.replace("at_most", "at_least")
MIXED = RECIPE.replace("at_most", "at_least", 1)
EQUAL = RECIPE.replace("at_most", "equals")


@pytest.mark.parametrize(("recipe", "names"), [
    (BOTH_FROM_BELOW, "objective, value/four, value/five"), (MIXED, "objective, value/four, value/five"),
    (EQUAL, "objective"), (RECIPE, "objective, value/max"),
])  # fmt: skip
def test_a_reference_point_has_a_number_for_each_objective_that_follows_from_the_recipe(
    tmp_path: Path, recipe: str, names: str
) -> None:
    sweep = "name: s\nrecipe: recipe.yaml\nsearch: {train.lr: {log_uniform: [0.001, 0.1]}}\ntrials: 2\nreference_point: POINT\n"
    count = len(names.split(", "))
    read = load_plan(write(tmp_path, sweep.replace("POINT", str([0.5] * count)), recipe))
    assert ", ".join(read.objectives) == names and read.sweep.reference_point == [0.5] * count
    point = [0.5] * (1 + count % 3)
    assert told(write(tmp_path, sweep.replace("POINT", str(point)), recipe)) == [
        f"sweep.yaml:5: reference_point: must hold one number for each of the {count} objectives, but got {point}; "
        f"write one number for each, in their order: {names}"
    ]


def test_a_recipe_may_stand_in_the_sweep(tmp_path: Path) -> None:
    recipe = "".join(f"  {line}" for line in RECIPE.splitlines(True))
    path = write(tmp_path, SWEEP.replace("recipe: recipe.yaml\n", f"recipe:\n{recipe}"), recipe=None)
    assert load_plan(path).recipe.name == "digits-minority"
    path.write_text(path.read_text().replace("steps: 1500", "steps: 0"))
    assert told(path) == [
        "sweep.yaml:10: recipe.train.steps: must be greater than or equal to 1, but got 0; write primal steps, e.g. 1500"
    ]


def test_overrides_reach_the_sweep_and_the_recipe(tmp_path: Path) -> None:
    read = plan(
        tmp_path,
        "trials=3", "sampler.seed=7", "train.steps=100", "constraints.four.data.classes=[4, 5]", "resources.workers=2",
        "search.constraints.[*].at_most=null", "search.constraints.four.at_most.choice=[0.1, 0.2]",
        "objectives.value/four=minimize", "mlflow.tracking_uri=http://127.0.0.1:5000", "set.data.keep.7=0.2", "dual.every=5",
    )  # fmt: skip
    assert (read.trials, read.sweep.sampler.seed, read.recipe.train.steps, read.recipe.dual.every) == (3, 7, 100, 5)
    assert read.recipe.terms[1].value.classes == [4, 5]
    assert read.recipe.resources.workers == 2
    assert [(each.name, each.kind) for each in read.parameters][1:] == [("constraints.four.at_most", Choice((0.1, 0.2)))]
    assert dict(read.objectives) == {"value/four": "minimize"}
    assert read.tracking_uri == "http://127.0.0.1:5000"
    assert read.recipe.data and read.recipe.data.keep == {4: 0.1, 5: 0.1, 7: 0.2}


def test_the_short_sampler_takes_overrides_below_it(tmp_path: Path) -> None:
    read = plan(tmp_path, "sampler.seed=7", sweep=SWEEP + "sampler: random\n")
    assert (read.sweep.sampler.name, read.sweep.sampler.seed) == ("random", 7)


def test_the_sweeps_resources_stand_above_the_recipes(tmp_path: Path) -> None:
    write(tmp_path, SWEEP + "resources: {workers: 2}\n", RECIPE + "resources: {workers: 1, retries: 5}\n")
    resources = load_plan(tmp_path / "sweep.yaml").recipe.resources
    assert (resources.workers, resources.retries) == (2, 5)


def test_the_store_is_the_sweeps_then_the_environments_then_a_file_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    read = plan(tmp_path)
    assert read.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert read.tracking_uri == "http://127.0.0.1:5000"
    assert plan(tmp_path, "mlflow.tracking_uri=sqlite:///a/b.db").tracking_uri == f"sqlite:///{tmp_path}/a/b.db"


def test_a_trials_recipe_has_its_values_at_the_constraints_of_that_name(tmp_path: Path) -> None:
    read = plan(tmp_path)
    recipe = read.trial_recipe({"dual.step_size": 0.2, "constraints.five.at_most": 0.2})
    assert (recipe.dual.step_size, [each.at_most for each in recipe.constraints]) == (0.2, [0.12, 0.2])
    assert read.recipe.dual.step_size == 0.03 and "dual" not in read.recipe_document.data


BAD = """\
name: digits minority
recipe: recipe.yaml
serch: {}
search:
  dual.step_siz: {log_uniform: [0.003, 0.3]}
  dual.step_size: {log_uniform: [0, 0.3]}
  constraints.*.at_most: {uniform: [0.25, 0.08]}
  constraints.four.at_most: {choice: []}
  train.steps: {uniform: [10, 100]}
  train.lr: {uniform: [-0.1, 0.1]}
  train.floor: {choice: [1, 40]}
  dual.warmup: {int: [0.5, 3]}
  dual.cap: {uniform: [1, .inf]}
  constraints.fuor.at_most: {uniform: [0.1, 0.3]}
  resources.workers: {choice: [1, 2]}
  dual.nu: {range: [0, 1]}
  dual.average: [0, 1]
  dual.patience: {int: [5, 5]}
  dual.rule: {choice: [ascent, ascent]}
  data.source.x: {choice: [1]}
sampler: {name: gridd}
objectives: {objectiv: minimize}
reference_point: [1, 2]
set: {constraints.*.name: 3}
trials: 0
"""


def test_everything_wrong_is_told_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    known = (
        "alpha, average, cap, decay, every, gain_warmup, kappa_p, nu, patience, rule, staleness, start, step_size, trust, warmup"
    )
    metrics = "objective, lagrangian, value/max, violation/max, value/four, value/five, slack/four, slack/five, multiplier/four, multiplier/five"
    kinds = "`{log_uniform: [0.003, 0.3]}`, `{uniform: [0.08, 0.25]}`, `{int: [1, 8]}` or `{choice: [1, 5]}`"
    sweep_keys = ", ".join(sorted(Sweep.model_fields))
    name = 'must be a valid string, but got 3; put it in quotes: "3"'
    assert told(write(tmp_path, BAD)) == [
        "sweep.yaml:1: name: must be of letters, digits, `_` and `-`, at least one, but got 'digits minority'; "
        "write a name of letters, digits, `_` and `-`, e.g. digits-minority",
        f"sweep.yaml:3: serch: must be a known key, but got `serch`; did you mean `search`? Valid: {sweep_keys}",
        f"sweep.yaml:5: search.dual.step_siz: must be a known key, but got `step_siz`; did you mean `step_size`? Valid: {known}",
        "sweep.yaml:6: search.dual.step_size.log_uniform: must be above zero, as logarithms need, but got [0, 0.3]; "
        "raise the low end above zero, or write `uniform`",
        "sweep.yaml:7: search.constraints.*.at_most.uniform: must have its low end below its high end, but got [0.25, 0.08]; "
        "write `uniform: [0.08, 0.25]`",
        "sweep.yaml:8: search.constraints.four.at_most.choice: must be a list of at least one value, but got []; "
        "write e.g. `choice: [1, 5, 10]`",
        "sweep.yaml:9: search.train.steps.uniform: must be whole numbers for this key, but got [10.0, 100.0]; write `int: [10, 100]`",
        "sweep.yaml:10: search.train.lr.uniform: must be greater than 0, but got -0.1; write learning rate, e.g. 2.0e-3",
        "sweep.yaml:11: search.train.floor.choice: must make a valid recipe, in which `train.batch_size` must be at least "
        "1 + constraints x floor = 81, but got 64 with 40; enlarge the batch, or lower train.floor",
        "sweep.yaml:12: search.dual.warmup.int: must be two whole numbers, but got [0.5, 3]; write whole numbers, or `uniform`",
        "sweep.yaml:13: search.dual.cap.uniform: must be two finite numbers, [low, high], but got [1, inf]; write e.g. `uniform: [1, 8]`",
        "sweep.yaml:14: search.constraints.fuor.at_most: must name an entry of `constraints`, but got `fuor`; "
        "did you mean `four`? Valid: four, five",
        "sweep.yaml:15: search.resources.workers: must be a key that shapes the training, but got `resources.workers`; "
        "fix it under `set` or in the recipe; name, resources, checkpoint are not searched",
        "sweep.yaml:16: search.dual.nu.range: must be a known kind of search, but got 'range'; valid: uniform, log_uniform, int, choice",
        "sweep.yaml:17: search.dual.average: must hold exactly one of `uniform`, `log_uniform`, `int`, `choice`, but got [0, 1]; "
        f"write e.g. {kinds}",
        "sweep.yaml:18: search.dual.patience.int: must have its low end below its high end, but got [5, 5]; "
        "write `choice: [5]`, or fix the key under `set`",
        "sweep.yaml:19: search.dual.rule.choice: must hold each value once, but got 'ascent' twice; keep one of them",
        "sweep.yaml:20: search.data.source.x: must lead through sections, and `data.source` is none, but got `x` below 'digits'; "
        "write the key as `data.source`",
        "sweep.yaml:21: sampler.name: must be one of the known words, but got 'gridd'; "
        "did you mean `grid`? Valid: tpe, nsga2, gp, random, quasi_random, grid, dual_informed",
        "sweep.yaml:22: objectives.objectiv: must be a metric of the recipe's runs, but got `objectiv`; "
        f"did you mean `objective`? Valid: {metrics}, or a metric of the evaluation, `eval/...`",
        "sweep.yaml:23: reference_point: must hold one number for each of the 1 objectives, but got [1, 2]; "
        "write one number for each, in their order: objectiv",
        f"sweep.yaml:24: constraints.*.name: {name}",
        "sweep.yaml:25: trials: must be greater than or equal to 1, but got 0; write the number of trials, e.g. 12",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "recipe.yaml", "recipes.yaml",
            "sweep.yaml:2: recipe: must be the path of a recipe that exists, but got 'recipes.yaml' (no file recipes.yaml); "
            "in FOLDER: did you mean `recipe.yaml`? Valid: recipe.yaml, sweep.yaml",
        ),
        (
            "[*].at_most: {uniform: [0.08, 0.25]}", "four.at_most: {uniform: [0.1, 0.2]}\n  constraints.*.at_most: {uniform: [0.1, 0.2]}",
            "sweep.yaml:6: search.constraints.*.at_most: must set what nothing else sets, but got the same place as "
            "`search.constraints.four.at_most`; keep one of the two; `--set search.constraints.*.at_most=null` drops this entry",
        ),
        (
            "trials: 12", "trials: 12\nset: {dual.step_size: 0.1}",
            "sweep.yaml:4: search.dual.step_size: must set what nothing else sets, but got the same place as the fixed value of "
            "`dual.step_size`; keep one of the two; `--set search.dual.step_size=null` drops this entry",
        ),
        (
            "trials: 12", "trials: 12\nsampler: grid",
            "sweep.yaml:4: search.dual.step_size.log_uniform: must have finitely many values with the sampler `grid`, but got the continuous "
            "`log_uniform`; write `choice: [...]` or `int: [low, high]`, or take another sampler",
        ),
        ("trials: 12", "", "sweep.yaml:1: trials: is required, but got nothing; write the number of trials, e.g. 12"),
        (
            "trials: 12", "trials: 12\nobjectives: {value/fuor: minimize, eval/frechet: minimize}",
            "sweep.yaml:7: objectives.value/fuor: must be a metric of the recipe's runs, but got `value/fuor`; did you mean `value/four`? "
            "Valid: objective, lagrangian, value/max, violation/max, value/four, value/five, slack/four, slack/five, multiplier/four, "
            "multiplier/five, or a metric of the evaluation, `eval/...`",
        ),
    ],
)  # fmt: skip
def test_one_thing_wrong(tmp_path: Path, old: str, new: str, line: str) -> None:
    found = told(write(tmp_path, SWEEP.replace(old, new)))
    assert found[0].replace(str(tmp_path), "FOLDER") == line


def test_a_corner_of_the_search_that_is_no_recipe_is_told(tmp_path: Path) -> None:
    sweep = "name: s\nrecipe: recipe.yaml\ntrials: 1\nsearch: {train.batch_size: {choice: [16, 64]}, train.floor: {choice: [2, 10]}}\n"
    assert told(write(tmp_path, sweep)) == [
        "sweep.yaml:4: search: must make a valid recipe in every corner, in which `train.batch_size` must be at least "
        "1 + constraints x floor = 21, but got 16 with train.batch_size = 16, train.floor = 10; enlarge the batch, or lower train.floor"
    ]


def test_a_recipe_in_a_sweeps_place_and_a_sweep_in_a_recipes_are_one_mistake(tmp_path: Path) -> None:
    sweep, recipe = write(tmp_path), tmp_path / "recipe.yaml"
    for read, file, said in (
        (load_plan, recipe, f"{recipe}:1: file: must be a sweep, but got a recipe; run `dualsweep train {recipe}`"),
        (load_recipe, sweep, f"{sweep}:1: file: must be a recipe, but got a sweep; run `dualsweep sweep {sweep}`"),
    ):
        with pytest.raises(InputError) as wrong:
            read(file)
        [only] = str(wrong.value).splitlines()
        assert only.startswith(said)


def test_a_wild_card_needs_constraints(tmp_path: Path) -> None:
    recipe = "".join(line for line in RECIPE.splitlines(True) if "name: f" not in line and "constraints:" not in line)
    assert told(write(tmp_path, SWEEP, recipe)) == [
        "sweep.yaml:5: search.constraints.[*].at_most: must have something for `[*]` to stand for, but got no entries in `constraints`; "
        "write the key without a wild-card"
    ]


def test_the_recipes_problems_are_told_at_the_recipe_and_do_not_hide_the_searchs(tmp_path: Path) -> None:
    path = write(tmp_path, SWEEP.replace("[0.003, 0.3]", "[0.3, 0.003]"), RECIPE.replace("steps: 1500", "steps: none"))
    assert told(path) == [
        "sweep.yaml:4: search.dual.step_size.log_uniform: must have its low end below its high end, but got [0.3, 0.003]; "
        "write `log_uniform: [0.003, 0.3]`",
        "recipe.yaml:8: train.steps: must be a valid integer (without quotes), but got 'none'; write primal steps, e.g. 1500",
    ]


def test_overrides_problems_name_the_command_line(tmp_path: Path) -> None:
    found = told(write(tmp_path), "trials=0", "train.stepz=7", "tials=2", "constraints.x.at_most=3", "train.lr=[", "nothing")
    assert [line.split("; ")[0] for line in found] == [
        "--set:1: trials: must be greater than or equal to 1, but got 0",
        "--set:2: train.stepz: must be a known key, but got `stepz`",
        "--set:3: tials: must be a key of the sweep or of the recipe, but got `tials`",
        "--set:4: constraints.x.at_most: must name an entry of `constraints`, but got `x`",
        "--set:5: train.lr: must have a value in YAML, but got '['",
        "--set:6: nothing: must be `key=value`, but got 'nothing'",
    ]


def test_a_grid_is_capped_and_says_so(tmp_path: Path) -> None:
    sweep = "name: s\nrecipe: recipe.yaml\nsampler: grid\nsearch: {dual.every: {choice: [1, 5]}, train.floor: {int: [1, 3]}}\ntrials: 10\n"
    capped, partial = plan(tmp_path, sweep=sweep), plan(tmp_path, "trials=4", sweep=sweep)
    assert (capped.trials, capped.notes) == (6, ("the grid has 6 points: 6 trials run, not 10",))
    assert (partial.trials, partial.notes) == (4, ("the grid has 6 points: 4 of them run, in an order shuffled by the seed",))


def test_bad_input_is_answered_at_once(tmp_path: Path) -> None:
    code = "import sys; from dualsweep.sweeps.planning.load import load_plan\ntry: load_plan(sys.argv[1])\nexcept Exception as error: print(error)\n"
    code += "print([name for name in ('optuna', 'mlflow', 'numpy', 'torch', 'ray') if name in sys.modules])"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, str(write(tmp_path, BAD))], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 2
    assert done.stdout.splitlines()[-1] == "[]" and len(done.stdout.splitlines()) == 24

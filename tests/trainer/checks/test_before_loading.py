"""The cheap checks: each case is a recipe's text, and the one error it must give, with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dualsweep.trainer.checks.before_loading import check, is_conclusive
from dualsweep.trainer.data.sources.packaged import PACKAGED
from dualsweep.trainer.recipe.model import Model
from tests.trainer.conftest import WriteModule
from tests.trainer.data.conftest import HEAD, recipe_of

CONSTRAINT = "  - {{name: a, at_most: 1.0, data: {}}}\n"
FOUR = "constraints:\n" + CONSTRAINT.format("{classes: [4]}")


def told(text: str, head: str = HEAD) -> list[str]:
    return [str(problem) for problem in check(*recipe_of(text, head))]


def test_table_of_digits_is_that_of_scikit_learn() -> None:
    digits = load_digits()
    packaged = PACKAGED["digits"]
    assert tuple(np.bincount(digits.target)) == packaged.counts
    assert digits.images.shape[1:] == (packaged.side, packaged.side)


@pytest.mark.parametrize(
    "data",
    [
        "data: {source: digits}\n",
        "data: {source: digits, keep: {4: 0.1, 5: 0.1}, holdout: 0.1}\n" + FOUR,
        "data: {source: digits, keep: {'4': 0.1}}\nconstraints:\n" + CONSTRAINT.format("{classes: ['4', 5]}"),
        "data: {source: digits}\nconstraints:\n" + CONSTRAINT.format("{indices: [0, 1796]}"),
        "data: {dataset: owner/name, label_column: label}\n" + FOUR,
    ],
)
def test_good_recipes_pass(data: str) -> None:
    assert told(data) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "data:\n  source: digits\n  keep:\n    10: 0.5\n",
            "recipe.yaml:8: data.keep.10: must be a class of the data, "
            "but got 10; did you mean `1`? Valid: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        (
            "data:\n  source: digits\n  keep:\n    4: 0.5\n    '4': 0.1\n",
            "recipe.yaml:9: data.keep.4: must name each class once, but got 4 and '4'; keep one of them",
        ),
        (
            f"data: {{source: digits, keep: {{{', '.join(f'{k}: 0' for k in range(10))}}}}}\n",
            "recipe.yaml:5: data.keep: must leave examples to train on, "
            "but got {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0, 5: 0.0, 6: 0.0, 7: 0.0, 8: 0.0, 9: 0.0}; "
            "keep a share of some class",
        ),
        (
            "data: {source: digits}\nconstraints:\n  - name: a\n    at_most: 1.0\n    data:\n      classes: [4, four]\n",
            "recipe.yaml:10: constraints.0.data.classes.1: must be a class of the data, but got 'four'; "
            "valid: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        (
            "data: {source: digits, keep: {4: 0}}\n" + FOUR,
            "recipe.yaml:7: constraints.0.data.classes: must have examples to train on, but got none for [4] after `keep`; "
            "keep a share of that class by `data.keep`, or name another",
        ),
        (
            "data: {source: digits}\nconstraints:\n" + CONSTRAINT.format("{indices: [0, 1797]}"),
            "recipe.yaml:7: constraints.0.data.indices.1: must be positions from 0 to 1796, but got 1797; leave it out",
        ),
        (
            "data: {source: digits}\nconstraints:\n" + CONSTRAINT.format("{indices: [3, 3]}"),
            "recipe.yaml:7: constraints.0.data.indices.1: must hold each position once, but got 3 twice; leave the second out",
        ),
        (
            "data: {dataset: owner/name, keep: {4: 0.1}}\n",
            "recipe.yaml:5: data.keep.4: must go with data that has labels, but got 4; "
            "give labelled data (`label_column`, sub-folders, or items (x, label)), or leave the class out",
        ),
        (
            "data: {dataset: not an id}\n",
            "recipe.yaml:5: data.dataset: must be a hub id or a local path that exists, but got 'not an id'; "
            "write e.g. `ylecun/mnist`, or the path of a directory",
        ),
        (
            "data: {dataset: /no/such/place}\n",
            "recipe.yaml:5: data.dataset: must be a hub id or a local path that exists, but got nothing at '/no/such/place'; "
            "fix the path",
        ),
        (
            "data: {folder: /no/such/place}\n",
            "recipe.yaml:5: data.folder: must be a folder, but got nothing at '/no/such/place'; fix the path",
        ),
        (
            "data: {call: 'no_such_module:load'}\n",
            "recipe.yaml:5: data.call: must lead to a function that can be imported, but got no module named `no_such_module`; ",
        ),
    ],
)
def test_bad_data_is_told_with_its_line(text: str, expected: str) -> None:
    (problem,) = told(text)
    assert problem == expected or (expected.endswith("; ") and problem.startswith(expected))


def test_all_problems_are_told_at_once_in_the_order_of_lines() -> None:
    text = "data:\n  source: digits\n  keep: {11: 0.1}\nconstraints:\n" + "".join(
        CONSTRAINT.format(data).replace("name: a", f"name: {name}")
        for name, data in [("a", "{classes: [x]}"), ("b", "{indices: [9999]}"), ("c", "{call: 'nothing:here'}")]
    )
    assert [problem.split(":")[1] for problem in told(text)] == ["7", "9", "10", "11"]


def test_folder_classes_and_counts(tmp_path: Path) -> None:
    for name, count in (("cat", 2), ("dog", 1), ("bird", 0)):
        (tmp_path / name).mkdir()
        for index in range(count):
            Image.new("L", (8, 8)).save(tmp_path / name / f"{index}.png")
    data = f"data: {{folder: '{tmp_path}', keep: {{dog: 0.1, cow: 1, bird: 1}}}}\nconstraints:\n"
    problems = told(
        data + CONSTRAINT.format("{classes: [Cat]}") + CONSTRAINT.replace("name: a", "name: b").format("{indices: [3]}")
    )
    assert len(problems) == 4
    assert "got 'cow'; valid: cat, dog" in problems[0]
    assert "got 'bird', a sub-folder without images" in problems[1]
    assert "recipe.yaml:7: constraints.0.data.classes.0" in problems[2] and "did you mean `cat`?" in problems[2]
    assert "must be positions from 0 to 2, but got 3" in problems[3]


def test_folder_without_classes_refuses_them(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    (problem,) = told(f"data: {{folder: '{tmp_path}'}}\n" + FOUR)
    assert "constraints.0.data.classes.0: must go with data that has labels, but got 4" in problem


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    assert "; make it, with a sub-folder of images for each class" in told(f"data: {{folder: '{tmp_path}/images'}}\n")[0]
    (tmp_path / "images").mkdir()
    assert "must hold images, but got none below" in told(f"data: {{folder: '{tmp_path}/images'}}\n")[0]
    assert "did you mean `images`?" in told(f"data: {{folder: '{tmp_path}/imagse'}}\n")[0]
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    assert "must be a folder, but got a file at" in told(f"data: {{folder: '{tmp_path}/x.png'}}\n")[0]
    Image.new("L", (8, 8)).save(tmp_path / "images" / "x.png")
    assert "1 images beside the sub-folder `images`" in told(f"data: {{folder: '{tmp_path}'}}\n")[0]


def test_users_parts_are_imported_and_their_parameters_checked(module: WriteModule) -> None:
    module("my_parts", "number = 3\ndef good():\n    pass\ndef one(labels):\n    pass\ndef two(a, b):\n    pass\n")
    module("my_broken", "import math\nraise RuntimeError('no licence')\n")
    module("my_lacking", "import no_such_package\n")
    head = HEAD.replace("unet: {channels: [16, 32]}", "call: 'my_broken:build'")
    text = (
        "data: {call: 'my_parts:number'}\n"
        "evaluation: {judge: {call: 'my_parts:one'}, metrics: ['my_parts:god', 'my_parts:one', class_shares]}\n"
        "constraints:\n"
        + CONSTRAINT.format("{call: 'my_lacking:x'}")
        + CONSTRAINT.format("{call: 'my_parts:two'}").replace("a,", "b,", 1)
    )
    problems = told(text, head)
    assert [problem.split(":")[1] for problem in problems] == ["3", "5", "6", "6", "8", "9"]
    assert "RuntimeError while importing it: no licence" in problems[0] and "my_broken.py:2" in problems[0]
    assert "got a int, which cannot be called" in problems[1]
    assert "must be a function that can be called with no argument, but got `my_parts:one`" in problems[2]
    assert "evaluation.metrics.0" in problems[3] and "without `god`; did you mean `good`?" in problems[3]
    assert "got no module named `no_such_package` " in problems[4] and problems[4].endswith("install `no_such_package`")
    assert "called with no argument or one argument, but got `my_parts:two`" in problems[5]


@pytest.mark.parametrize(
    ("data", "conclusive"),
    [
        ("data: {source: digits}\n" + FOUR, True),
        ("data: {source: digits}\nconstraints:\n" + CONSTRAINT.format("{indices: [0]}"), True),
        ("data: {source: digits, holdout: 0.5}\nconstraints:\n" + CONSTRAINT.format("{indices: [0]}"), False),
        ("data: {source: digits}\nconstraints:\n" + CONSTRAINT.format("{call: 'a:b'}"), False),
        ("data: {folder: images}\n", False),
        ("data: {dataset: owner/name}\n", False),
        ("data: {call: 'a:b'}\n", False),
    ],
)
def test_is_conclusive(data: str, conclusive: bool) -> None:
    assert is_conclusive(recipe_of(data)[0]) is conclusive


@pytest.mark.parametrize(
    ("section", "conclusive"),
    [
        ("evaluation: {metrics: [frechet]}", True),
        ("evaluation: {metrics: ['a:b']}", False),
        ("evaluation: {judge: {call: 'a:b'}}", False),
        ("models: {other: {load: there}}", False),
        ("models: {other: {unet: {}}}", True),
    ],
)
def test_parts_of_ones_own_and_loaded_models_must_be_asked(section: str, conclusive: bool) -> None:
    assert is_conclusive(recipe_of(f"data: {{source: digits}}\n{section}\n")[0]) is conclusive


@pytest.mark.parametrize(
    ("reward", "conclusive"), [("brightness", True), ("{call: 'a:b'}", False), ("{clip_score: {model: m, prompt: p}}", False)]
)
def test_rewards_that_only_asking_tells_of(reward: str, conclusive: bool) -> None:
    constraints = f"constraints:\n  - {{name: a, reward: {reward}, at_most: 1.0}}\n"
    head = HEAD.replace("constrained_training", "alignment").replace("unet: {channels: [16, 32]}", "load: there")
    recipe, _ = recipe_of("data: {source: digits}\n" + constraints, head)
    unet = recipe.model_copy(update={"model": Model.model_validate({"unet": {}})})
    assert is_conclusive(unet) is conclusive and not is_conclusive(recipe)


def test_a_unet_that_cannot_halve_the_images_is_told() -> None:
    head = HEAD.replace("[16, 32]", "[16, 16, 16, 16, 16]")
    (problem,) = told("data: {source: digits}\n", head)
    assert problem.startswith("recipe.yaml:3: model.unet.channels: must halve images of side 8 without remainder, but got 5")


def test_outline_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from dualsweep.trainer.config.yaml_file import parse, validate\n"
        "from dualsweep.trainer.checks.before_loading import check, is_conclusive\n"
        "from dualsweep.trainer.recipe.recipe import Recipe\n"
        f"document = parse({HEAD + 'data: {source: digits}' + chr(10) + FOUR!r}, 'recipe.yaml')\n"
        "recipe = validate(Recipe, document)\n"
        "assert check(recipe, document) == [] and is_conclusive(recipe)\n"
        "print([name for name in ('torch', 'numpy', 'sklearn', 'datasets', 'PIL', 'ray') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

"""Sweeps over the options of parts of a user's own, which no schema knows by name."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.search import apply
from dualsweep.sweeps.starting.json_schema import json_schema
from dualsweep.sweeps.starting.kinds import KINDS
from tests.sweeps.files import RECIPE, SWEEP, write
from tests.sweeps.here import dualsweep_here

EXAMPLES = Path(__file__).resolve().parents[3] / "docs/examples"
OWN = RECIPE + "dual: {rule: {call: heavy_ball:RULE, options: {momentum: 0.5}}}\n"
SEARCH = SWEEP.replace("  dual.step_size", "  dual.rule.options.momentum: {uniform: [0.1, 0.9]}\n  dual.step_size")


@pytest.fixture(autouse=True)
def rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shutil.copy(EXAMPLES / "heavy_ball.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "heavy_ball", raising=False)
    yield
    sys.modules.pop("heavy_ball", None)


def test_an_option_of_ones_own_rule_is_searched(tmp_path: Path) -> None:
    write(tmp_path, SEARCH, OWN)
    found = load_plan(tmp_path / "sweep.yaml", [])
    assert "dual.rule.options.momentum" in [each.name for each in found.parameters]
    recipe = apply(found.recipe_document.data, {"dual.rule.options.momentum": 0.25})
    assert recipe["dual"]["rule"] == {"call": "heavy_ball:RULE", "options": {"momentum": 0.25}}


def test_the_schemas_accept_parts_by_path_and_refuse_what_is_none() -> None:
    recipe, sweep = (Draft202012Validator(json_schema(kind)) for kind in KINDS)
    good = yaml.safe_load(OWN)
    assert recipe.is_valid(json.loads(json.dumps(good))) and sweep.is_valid(yaml.safe_load(SEARCH))
    wrong: list[object] = [{"call": "heavy_ball"}, {"call": "heavy_ball:RULE", "option": 1}, "heavy_ball:RULE", {"options": {}}]
    for rule in wrong:
        assert not recipe.is_valid(json.loads(json.dumps({**good, "dual": {"rule": rule}})))


def test_check_tells_the_line_of_a_wrong_option_in_a_sweep(tmp_path: Path) -> None:
    write(tmp_path, SEARCH, OWN.replace("0.5", "1.5"))
    done = dualsweep_here("check", "sweep.yaml", folder=tmp_path)
    assert done.returncode == 2 and "recipe.yaml:9: dual.rule.options.momentum: must be less than 1, but got" in done.stderr


def test_the_ends_of_a_searched_option_are_tried(tmp_path: Path) -> None:
    write(tmp_path, SEARCH.replace("[0.1, 0.9]", "[0.1, 1.5]"), OWN)
    done = dualsweep_here("check", "sweep.yaml", folder=tmp_path)
    assert done.returncode == 2 and "sweep.yaml:4: search.dual.rule.options.momentum" in done.stderr
    assert "must be less than 1, but got 1.5" in done.stderr

"""The JSON Schemas against what `check` says: of every shipped and documented file, and of files with one thing changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from dualsweep.sweeps.planning.schema import Sweep
from dualsweep.sweeps.starting.json_schema import json_schema
from dualsweep.sweeps.starting.kinds import KINDS, Kind
from dualsweep.trainer.recipe.recipe import Recipe

ROOT = Path(__file__).parents[3]
FILES = [*ROOT.glob("sweeps/**/*.yaml"), *ROOT.glob("docs/examples/*.yaml"), *ROOT.glob("tests/fuzz/*.yaml")]
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    10**9,
    "many",
    "a b:",
    [],
    [None],
    {},
    {"no such key": 1},
    float("nan"),
    float("inf"),
)
Keys = tuple[Any, ...]


@cache
def validator(kind: Kind) -> Draft202012Validator:
    return Draft202012Validator(json_schema(kind))


def kind_of(data: Any) -> Kind:
    return "sweep" if "search" in data else "recipe"


def refused(data: Any, kind: Kind) -> bool:
    """Whether the schema finds a fault; keys are texts to it, as they are to editors."""
    return not validator(kind).is_valid(json.loads(json.dumps(data)))


def faults(data: Any, kind: Kind) -> tuple[bool, bool]:
    """Whether the types that `check` reads with refuse it: at all, and for one key's type, range, word or name alone."""
    try:
        (Recipe if kind == "recipe" else Sweep).model_validate(data)
    except ValidationError as error:
        kinds = {each["type"]: each["input"] for each in error.errors(include_url=False)}
        # A JSON number has no type of its own: 2.0 is a whole number there.
        return True, any(word != "value_error" and not _whole(word, given) for word, given in kinds.items())
    return False, False


def _whole(word: str, given: Any) -> bool:
    return word == "int_type" and isinstance(given, float) and given.is_integer()


def places(value: Any, above: Keys = ()) -> Iterator[Keys]:
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from places(below, (*above, key))


def changed(data: Any) -> Iterator[tuple[str, Any]]:
    """The file with one value replaced, or one key misspelt."""
    for *above, last in places(data):
        for wrong in (*WRONG, "misspelt"):
            other = copy.deepcopy(data)
            at = other
            for key in above:
                at = at[key]
            if wrong != "misspelt":
                at[last] = wrong
            elif isinstance(at, dict):
                at[f"{last} x"] = at.pop(last)
            yield f"{[*above, last]}: {wrong!r}", other


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_every_shipped_and_documented_file_is_accepted(file: Path) -> None:
    data = yaml.safe_load(file.read_text())
    errors = [error.message for error in validator(kind_of(data)).iter_errors(json.loads(json.dumps(data)))]
    assert errors == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_one_of_draft_2020_12(kind: Kind) -> None:
    made = json_schema(kind)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema" and made == json.loads(json.dumps(made))


@pytest.mark.parametrize("name", ["tests/fuzz/recipe.yaml", "docs/examples/annotated-recipe.yaml", "docs/examples/prompts.yaml",
                                  "sweeps/recipes/combined.yaml", "docs/examples/concepts.yaml"])  # fmt: skip
def test_a_fault_in_one_key_is_refused_and_nothing_that_check_takes(name: str) -> None:
    """Both ways, at every place of a file: what the types refuse for one key, and what they accept."""
    data = yaml.safe_load((ROOT / name).read_text())
    missed, wrongly, faulty = [], [], 0
    for what, other in changed(data):
        any_fault, in_one_key = faults(other, "recipe")
        said = refused(other, "recipe")
        faulty += in_one_key
        missed += [what] if in_one_key and not said else []
        wrongly += [what] if said and not any_fault and what != "['dual', 'staleness']: True" else []  # Python's True is 1
    assert faulty > 200
    assert missed == [] and wrongly == []


def test_the_same_of_a_sweeps_own_keys() -> None:
    data = yaml.safe_load((ROOT / "docs/examples/annotated-sweep.yaml").read_text())
    base = yaml.safe_load((ROOT / "tests/fuzz/sweep.yaml").read_text())
    missed, wrongly, faulty = [], [], 0
    for what, other in [*changed({**base, **data}), *changed(data)]:
        if "'search'" in what or "'set'" in what or "'points'" in what or "'recipe'" in what:
            continue  # their keys are the recipe's: below
        any_fault, in_one_key = faults(other, "sweep")
        said = refused(other, "sweep")
        faulty += in_one_key
        missed += [what] if in_one_key and not said else []
        wrongly += [what] if said and not any_fault else []
    assert faulty > 100
    assert missed == [] and wrongly == []


SWEEP = {"name": "a", "recipe": "r.yaml", "trials": 2, "search": {"dual.step_size": {"log_uniform": [0.01, 0.1]}}}
IN_A_SWEEP: dict[str, dict[str, Any]] = {
    "an unknown key searched": {"search": {"dual.step_sise": {"uniform": [0.1, 0.2]}}},
    "a key that is not searched": {"search": {"resources.workers": {"int": [1, 2]}}},
    "an unknown kind of search": {"search": {"dual.step_size": {"unifrom": [0.1, 0.2]}}},
    "two kinds at once": {"search": {"dual.step_size": {"uniform": [0.1, 0.2], "choice": [1.0]}}},
    "a plain value": {"search": {"dual.step_size": 0.1}},
    "one end alone": {"search": {"dual.step_size": {"uniform": [0.1]}}},
    "ends that are words": {"search": {"dual.step_size": {"uniform": ["low", "high"]}}},
    "a logarithm of zero": {"search": {"dual.step_size": {"log_uniform": [0, 0.1]}}},
    "ends that the key can't have": {"search": {"dual.step_size": {"uniform": [-1.0, 0.1]}}},
    "a choice that the key can't have": {"search": {"train.lr_schedule": {"choice": ["wsd", "wds"]}}},
    "halves of a whole number": {"search": {"train.steps": {"int": [1.5, 8]}}},
    "no choice": {"search": {"train.steps": {"choice": []}}},
    "nothing searched": {"search": {}},
    "a constraint's unknown key": {"search": {"constraints.*.at_mots": {"uniform": [0.1, 0.2]}}},
    "an unknown key set": {"set": {"train.stesp": 3}},
    "a set value of another type": {"set": {"train.steps": "many"}},
    "a set value out of range": {"set": {"train.steps": 0}},
    "a set word that is none": {"set": {"dual.rule": "ascend"}},
    "a point's value of another type": {"points": [{"dual.step_size": "small"}]},
    "a fault of a recipe in place": {"recipe": {"train": {"steps": "many"}}},
    "a misspelt key of a recipe in place": {"recipe": {"tarin": {"steps": 3}}},
    "a recipe that is a number": {"recipe": 3},
    "a switch that is a word": {"continuation": "yes please"},
    "a sampler that is none": {"sampler": "tpee"},
    "no number of trials": {"trials": "many"},
}  # fmt: skip


@pytest.mark.parametrize("case", IN_A_SWEEP)
def test_a_fault_in_a_sweep_is_refused(case: str) -> None:
    assert not refused(SWEEP, "sweep")
    assert refused({**SWEEP, **IN_A_SWEEP[case]}, "sweep")


GOOD = [
    {"search": {"constraints.*.at_most": {"uniform": [-0.1, 0.2]}}},
    {"search": {"constraints.[*].at_most": {"uniform": [-0.1, 0.2]}}},
    {"search": {"constraints.four.at_most": {"choice": [0.1, 0]}}},
    {"search": {"dual.step_size.four": {"uniform": [0.1, 0.2]}}},
    {"search": {"model.unet.channels": {"choice": [[8, 16], [16]]}}},
    {"search": {"data.keep.4": {"uniform": [0.1, 0.2]}}},
    {"search": {"models.left.label": {"int": [0, 3]}}},
    {"set": {"dual": {"rule": "newton"}, "constraints.four.reward.jpeg_size.quality": 50, "evaluation.metrics": []}},
    {"set": {"constraints": [{"name": "a", "reward": "brightness", "at_least": 1}], "data.call": "m:f", "train.steps": 3}},
    {"sampler": "grid", "continuation": True, "amortised": False, "early_stopping": {"halving": True}},
    {"warm_start": ["runs/a", {"storage": "sqlite:///a.db", "study": "b"}], "points": [{"constraints.four.at_most": 1}]},
    {"recipe": {"name": "a", "formulation": "alignment", "model": {"load": "runs/b"}}},
]


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_what_a_sweep_may_say_is_accepted(good: dict[str, Any]) -> None:
    errors = [error.message for error in validator("sweep").iter_errors({**SWEEP, **good})]
    assert errors == []

"""docs/rewards.md: its tables are those of the schemas, its recipes are valid, its example runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
import yaml

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.rewards.checking import problems
from dualsweep.trainer.rewards.evaluate import checked
from dualsweep.trainer.rewards.registry import REWARDS, resolve
from tests.trainer.rewards.conftest import context_of, noise

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "rewards.md").read_text(encoding="utf-8")


def options() -> list[str]:
    """The rows of the table of options."""
    rows = []
    for word, spec in REWARDS.items():
        schema = spec.model_json_schema()
        for option, field in schema["properties"].items():
            value = field.get("default")
            shown = "none" if value is None else f"`{str(value).lower() if isinstance(value, bool) else value}`"
            default = "required" if option in schema.get("required", ()) else shown
            rows.append(f"| `{word}` | `{option}` | {default} | {field['description']} | `{field['examples'][0]}` |")
    return rows


def test_the_table_of_options_is_that_of_the_schemas() -> None:
    head = "| word | option | default | meaning | example |\n|---|---|---|---|---|\n"
    assert head + "\n".join(options()) + "\n\n" in TEXT


@pytest.mark.parametrize("word", REWARDS)
def test_every_reward_has_a_row_with_its_gradient_and_channels(word: str) -> None:
    spec = REWARDS[word]
    rows = re.findall(rf"^\| `{word}` \|.*\| ([^|]+) \| ([^|]+) \|$", TEXT, re.MULTILINE)
    gradient, channels = rows[0]
    assert channels == ("any samples" if spec.channels is None else " or ".join(map(str, spec.channels)))
    assert gradient in {True: ("yes",), False: ("no",), None: ("as the judge", "found out by trying")}[spec.differentiable]


def test_the_recipes_shown_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS / "examples")
    monkeypatch.setattr(sys, "path", list(sys.path))
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        assert list(problems(resolve(yaml.safe_load(block)["reward"]), (3, 8, 8), (4,), ())) == []


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DOCS / "examples")
    monkeypatch.setattr(sys, "path", list(sys.path))
    x = noise(2, 1, 8, 8).float()
    x[1] = x[1] + x[1].flip(-1)
    symmetry = checked(resolve({"call": "my_reward:symmetry"}), context_of(shape=(1, 8, 8)), gradient=True)(x)
    assert symmetry[0] < -0.1 and symmetry[1] == 0
    ring = -torch.ones(1, 1, 8, 8)
    ring[..., 2:5, 2:5] = 1
    ring[..., 3, 3] = -1
    holes = resolve({"call": "my_reward:holes"})
    assert checked(holes, context_of(shape=(1, 8, 8)))(torch.cat([ring, -ring, ring.roll(1, -1)])).tolist() == [1, 0, 1]
    with pytest.raises(TrainingError, match="needs a differentiable reward, but got `my_reward:holes`"):
        checked(holes, context_of(shape=(1, 8, 8)), gradient=True)(ring)

"""Dual rules, estimators and terms of a user's own, by import path: what is refused, by line, and what is not imported."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.trainer.checks.before_loading import check, is_conclusive
from dualsweep.trainer.checks.dry_run import dry_run
from dualsweep.trainer.checks.unused_keys import unused_keys
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe, flatten
from tests.trainer.conftest import WriteModule
from tests.trainer.data.conftest import HEAD, recipe_of

EXAMPLES = Path(__file__).resolve().parents[3] / "docs/examples"
DIGITS = "data: {source: digits}\nconstraints:\n  - {name: f, data: {classes: [4]}, at_most: 0.1}\n"
ALIGNED = "name: a\nformulation: alignment\nmodel: {unet: {}, shape: [1, 8, 8]}\ntrain: {steps: 5}\n"
TERM = "constraints:\n  - {{name: s, at_most: 0.1, term: {}}}\n"
MODULES = ("heavy_ball", "asymmetry", "bounded_advantage")


@pytest.fixture(autouse=True)
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The guides' parts beside the recipe."""
    for name in MODULES:
        shutil.copy(EXAMPLES / f"{name}.py", tmp_path)
    for name in (*MODULES, "small_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in (*MODULES, "small_model"):
        sys.modules.pop(name, None)


def told(text: str, head: str = HEAD) -> list[str]:
    try:
        return [str(each) for each in check(*recipe_of(text, head))]
    except InputError as error:
        return [str(each) for each in error.diagnostics]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("{call: 'heavy_ball:RULE', options: {momentum: 0.5}}", None),
        ("{call: 'heavy_ball:RULE'}", None),
        ("'heavy_ball:RULE'", "dual.rule: must be a known word, or a mapping of `call`, but got 'heavy_ball:RULE'; write {call:"),
        ("{call: 'heavy_ball:RUL'}", "dual.rule.call: must lead to a DualRule that can be imported, but got module `heavy_ball` "
         "without `RUL`; did you mean `RULE`?"),
        ("{call: 'heavy_ball:heavy_ball'}", "dual.rule.call: must lead to a DualRule that can be imported, but got a function"),
        ("{call: 'nowhere:RULE'}", "dual.rule.call: must lead to a DualRule that can be imported, but got no module named"),
        ("{call: 'heavy_ball:RULE', options: {momentum: 2.0}}", "dual.rule.options.momentum: must be less than 1, but got 2.0"),
        ("{call: 'heavy_ball:RULE', options: {momentum: true}}", "dual.rule.options.momentum: must be a valid number, but got"),
        ("{call: 'heavy_ball:RULE', options: {inertia: 0.5}}", "dual.rule.options.inertia: must be an option of the part"),
    ],
)  # fmt: skip
def test_a_dual_rule_by_path(rule: str, says: str | None) -> None:
    problems = told(f"{DIGITS}dual: {{rule: {rule}}}\n")
    assert problems == [] if says is None else [each.startswith(f"recipe.yaml:8: {says}") for each in problems] == [True], (
        problems
    )


def test_a_dual_rule_must_fit_the_formulation_and_its_call(module: WriteModule) -> None:
    module(
        "my_rules",
        "from dataclasses import replace\n"
        "from heavy_ball import RULE\n"
        "SIMPLEX = replace(RULE, on_simplex=True)\n"
        "HARD = replace(RULE, relaxes=False)\n"
        "SHORT = replace(RULE, move=lambda multipliers, slacks: None)\n",
    )
    (simplex,) = told(DIGITS + "dual: {rule: {call: 'my_rules:SIMPLEX'}}\n")
    assert "dual.rule: must be a rule not on the simplex with the formulation constrained_training" in simplex
    (hard,) = told(DIGITS + "dual: {rule: {call: 'my_rules:HARD'}, alpha: 2.0}\n")
    assert "dual.alpha: must go with a rule that relaxes" in hard
    assert told(DIGITS + "dual: {rule: {call: 'heavy_ball:RULE'}, alpha: 2.0}\n") == []
    (short,) = told(DIGITS + "dual: {rule: {call: 'my_rules:SHORT'}}\n")
    assert "dual.rule.call: must move by a function (multipliers, memory, slacks, gain, gains)" in short


@pytest.mark.parametrize(
    ("body", "says"), [("1 / 0", "must not fail, but got ZeroDivisionError"), ("Move(multipliers[:0], memory)", "must return")]
)
def test_a_dual_rule_that_moves_wrongly_is_told_by_a_dry_run(module: WriteModule, body: str, says: str) -> None:
    module(
        "my_wrong",
        "from dualsweep.trainer.dual.rule import DualRule, Move\n"
        f"RULE = DualRule(lambda multipliers, memory, slacks, gain, gains: {body})\n",
    )
    recipe, document = recipe_of(DIGITS + "dual: {rule: {call: 'my_wrong:RULE'}}\n")
    assert check(recipe, document) == [] and not is_conclusive(recipe)
    with pytest.raises(InputError, match=rf"recipe.yaml:8: dual.rule.call: the dual rule my_wrong:RULE {says}"):
        dry_run(recipe, document)


def test_the_options_of_a_rule_are_what_it_moves_by() -> None:
    """Against the heavy ball's update written out by hand."""
    recipe, _ = recipe_of(f"{DIGITS}dual: {{rule: {{call: 'heavy_ball:RULE', options: {{momentum: 0.5}}}}, step_size: 0.25}}\n")
    controller = Controller(problem_of(recipe), recipe.dual, 50)
    state, velocity, multiplier = controller.first(), 0.0, 0.0
    for step, value in enumerate(np.random.default_rng(0).normal(0.2, 0.1, 20)):
        state = controller.advance(
            state, [SlackReport(step, 0, np.ones(2), np.array([0.0, value]), np.array([0.0, value**2]))], 1
        )
        velocity = 0.5 * velocity - (0.1 - value)
        multiplier = max(0.0, multiplier + 0.25 * velocity)
        assert state.multipliers[0] == pytest.approx(multiplier, rel=1e-12)
    assert multiplier > 0.1


@pytest.mark.parametrize("word", ["ascent", "augmented_lagrangian"])
def test_a_rule_by_path_moves_as_the_same_rule_by_its_word(module: WriteModule, word: str) -> None:
    """To the bit, through the controller, projection, relaxation and what is applied ahead included."""
    module("my_copy", f"from dualsweep.trainer.dual.rules.{word} import RULE\n")
    states = []
    for rule in (word, "{call: 'my_copy:RULE'}"):
        recipe, _ = recipe_of(f"{DIGITS}dual: {{rule: {rule}, step_size: 0.3, alpha: 2.0}}\n")
        controller = Controller(problem_of(recipe), recipe.dual, 50)
        state, random = controller.first(), np.random.default_rng(0)
        for step in range(20):
            values = random.normal(0.2, 0.1, 2)
            report = SlackReport(step, 0, np.array([8.0, 8.0]), 8 * values, 8 * values**2)
            state = controller.advance(state, [report], 1)
        states.append(np.concatenate([state.multipliers, state.memory.ravel()]))
    assert states[0][0] > 0 and np.array_equal(states[0], states[1])


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("{call: 'asymmetry:TERM', options: {axis: vertical}}", None),
        ("{call: 'asymmetry:TERM', on: data}", "term.on: must be the term's own source, but got data; write on: rollout"),
        ("{call: 'asymmetry:TERM', options: {axis: up}}", "term.options.axis: must be 'vertical' or 'horizontal', but got 'up'"),
        ("{call: 'asymmetry:Asymmetry'}", "term.call: must lead to a TermSpec that can be imported, but got a type"),
        ("{call: 'nowhere:TERM'}", "term.call: must lead to a TermSpec that can be imported, but got no module named `nowhere`"),
    ],
)
def test_a_term_by_path(term: str, says: str | None) -> None:
    head = ALIGNED.replace("unet: {}, shape: [1, 8, 8]", "call: 'small_model:build', shape: [1, 8, 8]")
    Path("small_model.py").write_text("def build(): ...\n")
    problems = told(TERM.format(term), head)
    assert (
        problems == []
        if says is None
        else [each.startswith(f"recipe.yaml:6: constraints.0.{says}") for each in problems] == [True]
    )


def _stored(term: str = "{call: 'asymmetry:TERM', options: {axis: vertical}}") -> str:
    head = ALIGNED.replace("unet: {}, shape: [1, 8, 8]", "call: 'small_model:build', shape: [1, 8, 8]")
    text = (
        TERM.format(term)
        + "dual: {rule: {call: 'heavy_ball:RULE'}}\nrollout: {gradient: {call: 'bounded_advantage:Estimator'}}\n"
    )
    plain: dict[str, Any] = recipe_of(text, head)[0].model_dump(mode="json")
    return yaml_core.write(plain)


def test_reading_a_stored_recipe_imports_nothing_of_it() -> None:
    text = _stored()
    for name in MODULES:
        sys.modules.pop(name, None)
    recipe = Recipe.stored(text)
    assert not set(MODULES) & set(sys.modules)
    assert [each.term.source for each in recipe.terms] == ["rollout", "rollout"] and recipe.sampling.sampler == "rollout"
    assert flatten(recipe)["constraints.s.term.options.axis"] == "vertical"
    named = recipe.terms[1]
    with pytest.raises(TrainingError, match="code must be named by your own files, or by a checkpoint that you trust"):
        named.term.build(named.value, None)  # type: ignore[arg-type]  # it is refused before it looks
    assert not set(MODULES) & set(sys.modules)
    assert Recipe.stored(text, trusted=True).terms[1].value.axis == "vertical" and "asymmetry" in sys.modules


def test_the_module_as_it_is_now_is_what_a_recipe_is_read_with(examples: Path) -> None:
    text = _stored()
    file = examples / "asymmetry.py"
    file.write_text(
        file.read_text().replace('"vertical", "horizontal"', '"horizontal"').replace('Field("vertical"', 'Field("horizontal"')
    )
    sys.modules.pop("asymmetry")
    with pytest.raises(ValueError, match="must be 'horizontal', but got 'vertical'"):
        Recipe.model_validate(yaml_core.read(text))


def test_an_estimator_must_be_one() -> None:
    head = ALIGNED.replace("unet: {}, shape: [1, 8, 8]", "call: 'small_model:build', shape: [1, 8, 8]")
    Path("small_model.py").write_text("def build(): ...\n")
    rest = TERM.format("{call: 'asymmetry:TERM'}") + "rollout: {gradient: {call: '%s'}}\n"
    assert told(rest % "bounded_advantage:Estimator", head) == []
    (problem,) = told(rest % "heavy_ball:heavy_ball", head)
    assert problem.startswith(
        "recipe.yaml:7: rollout.gradient.call: must be a class (source, setting) with begin_step, companions"
    )
    (absent,) = told(rest % "bounded_advantage:Estimate", head)
    assert "did you mean `Estimator`?" in absent


def test_the_keys_of_other_rules_are_unused_beside_ones_own() -> None:
    recipe, _ = recipe_of(DIGITS + "dual: {rule: {call: 'heavy_ball:RULE'}}\n")
    assert {"dual.nu", "dual.trust"} <= unused_keys(recipe) and "dual.step_size" not in unused_keys(recipe)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("path.samples.flatten(1).mean(1)", None),
        ("path.samples.mean()", r"recipe.yaml:7: constraints.0.term.call: must give one value for each sample, \[4\], or for"),
        ("path.sample", r"recipe.yaml:7: constraints.0.term.call: must not fail, but got AttributeError: .*my_terms.py:6"),
    ],
)
def test_a_term_is_asked_by_a_dry_run(module: WriteModule, values: str, says: str | None) -> None:
    module(
        "my_terms",
        "from dualsweep.trainer.recipe.base import Section\n"
        "from dualsweep.trainer.recipe.term_spec import TermSpec\n"
        "class Options(Section): pass\n"
        "class Term:\n"
        "    def values(self, path):\n"
        f"        return {values}\n"
        "TERM = TermSpec('mine', Options, 'rollout', lambda value, setting: Term(), 'mine', '{}')\n",
    )
    text = "schedule: {timesteps: 20}\n" + TERM.format("{call: 'my_terms:TERM'}") + "rollout: {steps: 3}\n"
    head = ALIGNED.replace("unet: {}, shape: [1, 8, 8]", "call: 'small_model:build', shape: [1, 8, 8]")
    Path("small_model.py").write_text(
        "import torch\n"
        "class Small(torch.nn.Module):\n"
        "    def __init__(self): super().__init__(); self.scale = torch.nn.Parameter(torch.zeros(1))\n"
        "    def forward(self, x, t): return self.scale * x\n"
        "build = Small\n"
    )
    recipe, document = recipe_of(text, head)
    if says is None:
        assert dry_run(recipe, document).model
    else:
        with pytest.raises(InputError, match=says):
            dry_run(recipe, document)


def test_an_estimator_is_asked_by_a_dry_run(module: WriteModule) -> None:
    module(
        "my_estimators",
        "from dualsweep.trainer.sources.rollout import PlainEstimator, RolloutStep\n"
        "class Step(RolloutStep):\n"
        "    def loss(self, number, piece=0):\n"
        "        return self._rolled_out().sample\n"
        "class Estimator(PlainEstimator):\n"
        "    step = Step\n",
    )
    text = "schedule: {timesteps: 20}\n" + TERM.format("{call: 'asymmetry:TERM'}")
    text += "rollout: {steps: 3, gradient: {call: 'my_estimators:Estimator'}}\n"
    recipe, document = recipe_of(text, ALIGNED.replace("unet: {}, shape: [1, 8, 8]", "call: 'my_small:build', shape: [1, 8, 8]"))
    module("my_small", "import torch\nclass Small(torch.nn.Conv2d):\n    def __init__(self): super().__init__(1, 1, 1)\n"
           "    def forward(self, x, t): return super().forward(x)\nbuild = Small\n")  # fmt: skip
    with pytest.raises(
        InputError, match=r"recipe.yaml:8: rollout.gradient.call: must not fail, but got AttributeError: .*my_estimators.py:4"
    ):
        dry_run(recipe, document)

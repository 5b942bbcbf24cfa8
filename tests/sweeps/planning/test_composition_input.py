"""Bad input of composition without training: told by line, key, rule and way out, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dualsweep.sweeps.checking import checked_recipe
from dualsweep.sweeps.cli import app
from dualsweep.trainer.config.diagnostics import InputError
from tests.trainer.engine.test_loop import run

RECIPE = """\
name: composed
formulation: composition_and
model: {compose: {of: [oval_0, oval_2]}, shape: [2]}
models:
  oval_0: {call: "tests.known.models:oval_0"}
  oval_1: {call: "tests.known.models:oval_1"}
  oval_2: {call: "tests.known.models:oval_2"}
schedule: {timesteps: 100}
constraints:
  - {name: first, kl: {to: oval_0}}
  - {name: second, kl: {to: oval_2}}
dual: {rule: simplex}
train: {steps: 2}
rollout: {steps: 4}
product: {samples: 16, levels: 3, steps: 2}
evaluation: {samples: 4, loss_draws: 32}
"""
CONCEPTS = (
    RECIPE.replace("composition_and", "concept_composition").replace("kl:", "path_kl:")
    .replace("oval_2]", "oval_2], guidance: 2.0, base: oval_1")
)  # fmt: skip
#: What is changed (old, new), and what the message must name: line, key and words.
CASES = {
    "a model that is nowhere": (RECIPE, "oval_2]", "oval_3]", 3, "model.compose.of", "'oval_3'"),
    "one model twice": (RECIPE, "oval_2]", "oval_0]", 3, "model.compose.of", "once"),
    "one model alone": (RECIPE, "oval_0, oval_2]", "oval_0]", 3, "model.compose.of", "2"),
    "a part without constraint": (RECIPE, "oval_2]", "oval_2, oval_1]", 3, "model.compose.of", "oval_1 without"),
    "a constraint to another model": (RECIPE, "{to: oval_2}", "{to: oval_1}", 11, "constraints.1.kl", "one to oval_1"),
    "two constraints to one model": (RECIPE, "{to: oval_2}", "{to: oval_0}", 11, "constraints.1.kl", "a second one"),
    "a guided product": (CONCEPTS, "concept_composition", "composition_and", 3, "model.compose.guidance", "drop it"),
    "concepts without guidance": (CONCEPTS, ", guidance: 2.0, base: oval_1", "", 3, "model.compose", "guidance: 7.5"),
    "a base without guidance": (CONCEPTS, "guidance: 2.0, ", "", 3, "model.compose.base", "without"),
    "guidance without a base": (CONCEPTS, ", base: oval_1", "", 3, "model.compose", "compose.base` must be given"),
    "a base that is nowhere": (CONCEPTS, "base: oval_1", "base: oval_9", 3, "model.compose.base", "'oval_9'"),
    "concepts of a trained model": (
        CONCEPTS, "{compose: {of: [oval_0, oval_2], guidance: 2.0, base: oval_1}, shape: [2]}",
        '{call: "tests.known.models:plane", shape: [2]}', 3, "model", "composed",
    ),
    "another formulation": (RECIPE, "composition_and", "composition_or", 2, "formulation", "nothing to train"),
    "composed below models": (
        RECIPE, 'oval_1: {call: "tests.known.models:oval_1"}', "oval_1: {compose: {of: [oval_0, oval_2]}}", 6,
        "models.oval_1.compose", "load that",
    ),
    "a learning rate": (RECIPE, "steps: 2}\nrollout", "steps: 2, lr: 0.01}\nrollout", 13, "train.lr", "drop it"),
    "averaged weights": (RECIPE, "steps: 2}\nrollout", "steps: 2, ema: 0.5}\nrollout", 13, "train.ema", "drop it"),
    "an estimator": (CONCEPTS, "steps: 4}", "steps: 4, gradient: policy_gradient}", 14, "rollout.gradient", "drop it"),
    "concepts by Langevin steps": (
        CONCEPTS, "loss_draws: 32}", "loss_draws: 32, sampler: langevin}", 16, "evaluation.sampler", "no score",
    ),
    "no noise": (CONCEPTS, "steps: 4}", "steps: 4, eta: 0}", 14, "rollout.eta", "infinite"),
    "an objective": (RECIPE, "dual:", "objective: {kl: {to: oval_1}}\ndual:", 12, "objective", "left out"),
    "no shape": (RECIPE, ", shape: [2]", "", 3, "model", "shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_by_line(case: str, tmp_path: Path) -> None:
    text, old, new, line, key, words = CASES[case]
    assert text.count(old) >= 1
    file = tmp_path / "recipe.yaml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        checked_recipe(file, [], None, None, None)
    problem = next(each for each in raised.value.diagnostics if each.key == key)
    assert problem.line == line and words in str(problem)


@pytest.mark.parametrize("text", [RECIPE, CONCEPTS])
def test_a_good_recipe_is_found_good_trained_and_sampled_by_the_command(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    recipe = checked_recipe(file, [], None, None, None).recipe
    run(recipe, tmp_path / "run")
    for sampler in ([], ["--sampler", "langevin", "--steps", "2"], ["--sampler", "ddim", "--steps", "5"]):
        made = CliRunner().invoke(
            app, ["sample", str(tmp_path / "run"), "--count", "5", "--output", str(tmp_path / "made"), *sampler]
        )
        assert made.exit_code == 0, made.output
        assert np.isfinite(np.load(tmp_path / "made" / "samples.npy")).all()

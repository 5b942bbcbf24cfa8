"""The final evaluation's stages, and what held-out data have to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.evaluation.drawn import DrawnValues, JointDraws, drawn_values
from dualsweep.trainer.evaluation.draws_file import DRAWS, loaded
from dualsweep.trainer.feasibility.deciding import Deciding, Decision
from dualsweep.trainer.feasibility.held_out import HeldOut
from dualsweep.trainer.feasibility.standing import Standing
from dualsweep.trainer.feasibility.tolerance import Tolerance
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.result import ConstraintOutcome, Result, verdict
from dualsweep.trainer.verdicts.judge import verdicts
from tests.trainer.engine.test_loop import run
from tests.trainer.recipes import digits

PROBLEM = ConstrainedProblem(("c",), np.array([0.5]), np.array([False]), tolerances=(Tolerance(0.1),))


def drawn(value: float, error: float, images: int = 400, seed: int = 0) -> DrawnValues:
    """One value of `images` draws on as many images, with this mean and standard error."""
    noise = np.random.default_rng(seed).standard_normal(images)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    values = (value + error * np.sqrt(images) * noise)[:, None]
    return drawn_values(2, [JointDraws((1,), values, (images,), units=np.arange(images), pool="examples")])


NOTHING = drawn_values(2, [])


@pytest.mark.parametrize(
    "trained, held_out, standing, told",
    [
        ((0.5, 0.01), None, "met", None), ((0.5, 0.2), None, "undecided", None), ((0.7, 0.01), None, "violated", None),
        ((0.5, 0.01), (0.5, 0.01), "met", "met"), ((0.5, 0.01), (0.5, 0.2), "met", "undecided"),
        ((0.5, 0.01), (0.7, 0.01), "violated", "violated"), ((0.5, 0.2), (0.5, 0.01), "undecided", "met"),
    ],
)  # fmt: skip
def test_held_out_data_can_contradict_but_not_confirm(
    trained: tuple[float, float], held_out: tuple[float, float] | None, standing: Standing, told: Standing | None
) -> None:
    deciding = Deciding(PROBLEM, np.zeros(1), (400,), two=held_out is not None)
    decision = deciding.look(deciding.first(), 0, drawn(*trained), NOTHING if held_out is None else drawn(*held_out, seed=1))
    assert decision.standings == (standing,)
    assert (decision.held_out[0].standing if decision.held_out[0] else None) == told
    assert decision.final == (standing != "undecided")
    if held_out is not None and decision.held_out[0] is not None:
        assert decision.held_out[0].images == 400 and decision.held_out[0].error == pytest.approx(held_out[1], rel=0.01)


def test_on_held_out_data_these_alone_decide_where_there_are_some() -> None:
    deciding = Deciding(PROBLEM, np.zeros(1), (400,), on_held_out=True, two=True)
    assert deciding.look(deciding.first(), 0, drawn(0.7, 0.01), drawn(0.5, 0.01)).standings == ("met",)
    assert deciding.look(deciding.first(), 0, drawn(0.5, 0.01), drawn(0.5, 0.2)).standings == ("undecided",)
    assert deciding.look(deciding.first(), 0, drawn(0.7, 0.01), NOTHING).standings == ("violated",)


def test_met_stays_through_later_looks_unless_they_show_a_violation() -> None:
    deciding = Deciding(PROBLEM, np.zeros(1), (100, 400))
    met = Decision(("met",), (None,))
    assert deciding.look(met, 1, drawn(0.5, 0.2), NOTHING).standings == ("met",)
    assert deciding.look(met, 1, drawn(0.7, 0.01), NOTHING).standings == ("violated",)
    relaxed = replace(deciding, relaxations=np.array([0.2]))
    assert relaxed.look(met, 1, drawn(0.7, 0.01), NOTHING).standings == ("met",)


def test_a_run_draws_until_it_is_decided_and_tells_of_held_out_data(tmp_path: Path) -> None:
    """A budget that is far off is decided at the first look; an equality of no tolerance at its value never is, up to the cap."""
    far = digits(
        constraints=[{"name": "four", "data": {"classes": [4]}, "at_most": 9.0}], dual={"rule": "fixed"},
        data={"source": "digits", "holdout": 0.2}, evaluation={"samples": 0}, feasibility={"draws": 512},
    )  # fmt: skip
    result, *_ = run(far, tmp_path / "far")
    four = result.constraints["four"]
    assert (result.feasible, four.standing, four.tolerance) == ("met", "met", pytest.approx(0.18))
    assert four.held_out is not None and four.held_out.standing == "met" and 20 < four.held_out.images < 60
    assert result.metrics["standing/four"] == result.metrics["eval/standing/four"] == result.metrics["feasible"] == 1.0
    assert draws(tmp_path / "far") == 64 and Result.from_json(result.to_json()) == result
    at_it = far.constraints[0].model_copy(update={"at_most": None, "equals": four.value})
    unsure = far.feasibility.model_copy(update={"tolerance": 0.0, "confidence": 1 - 1e-12})
    result, *_ = run(far.model_copy(update={"constraints": [at_it], "feasibility": unsure}), tmp_path / "near")
    assert (result.feasible, result.metrics["feasible"]) == ("undecided", 0.0) and draws(tmp_path / "near") == 256


def draws(output: Path) -> int:
    """Of each value, in the final evaluation."""
    return int(loaded((output / DRAWS).read_bytes())[0].counts[1])


def test_explain_says_what_held_out_data_contradict_or_leave_open() -> None:
    def told(held_out: HeldOut, standing: Standing, multiplier: float = 0.0) -> tuple[str, str, str]:
        outcome = ConstraintOutcome(
            0.47, 0.5, 0.03, 0.001, multiplier, tolerance=0.001, decided=standing, held_out=held_out
        )  # fmt: skip
        ended = Result("converged", "", 1.0, 0.1, {"four": outcome}, standing, 100, 1.0, None)
        [found] = verdicts({}, ended, Dual(), digits().constraints[:1])
        return found.word, found.sentence, found.suggestion

    word, sentence, _ = told(HeldOut(-0.05, 0.01, 50, "violated"), "violated")
    assert word == "violated" and "held out: violated (50 images, -0.05 ± 0.01), 0.08 less room" in sentence
    word, sentence, advice = told(HeldOut(0.0, 0.02, 5, "undecided"), "met")
    assert word == "met" and "held out: undecided (5 images, +0 ± 0.02)" in sentence and "tightened" not in advice
    word, _, advice = told(HeldOut(0.02, 0.001, 500, "met"), "met")
    assert word == "inactive" and "tightened by 0.018" in advice


def test_converged_asks_that_nothing_be_violated() -> None:
    from tests.trainer.dual.test_simplex import settled

    outcome = ConstraintOutcome(0.5, 0.5, 0.0, 0.1, 0.3, decided="undecided")
    level = {"a": outcome, "b": replace(outcome, decided="met")}
    assert verdict(settled(2), level)[0] == "converged" and "undecided: `a`" in verdict(settled(2), level)[1]
    status, reason = verdict(settled(2), {**level, "b": replace(outcome, decided="violated", slack=-0.2)})
    assert status == "out_of_steps" and "`b` by 0.2 ± 0.1 (tolerance 0)" in reason

"""Whose budget is it: what may be on the attained front, against the rule spelled out for every trial."""

from __future__ import annotations

import csv
import itertools
import random
from dataclasses import replace

import pytest

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.figures.marks import MARKS, kinds
from dualsweep.analysis.front import find_front
from dualsweep.analysis.hypervolume import hypervolume_history, reference_point_of
from dualsweep.analysis.marking import marks_of
from dualsweep.analysis.preference import Limit, Preference
from dualsweep.analysis.recommendation.recommend import recommend
from dualsweep.analysis.requirements import read_required, required, required_of, write_required
from dualsweep.analysis.review import review
from dualsweep.analysis.trials import Budget, ConstraintRecord, Direction, SweepRecord, Trial
from dualsweep.trainer.feasibility.standing import Standing, overall
from dualsweep.trainer.recipe.bound import Kind
from tests.analysis.page import own, text_in
from tests.analysis.test_front import brute_force_front

BOTH: dict[str, Kind] = {"a": "at_most", "b": "at_most"}
THREE: dict[str, Direction] = {"objective": "minimize", "value/a": "minimize"}
BUDGET = Budget("constraints.a.at_most", ("a",), "at_most", 0, 9)
STANDINGS: tuple[Standing, ...] = ("met", "violated", "undecided")


@pytest.mark.parametrize(
    ("kinds_of", "searched", "objectives", "expected"),
    [
        (BOTH, {"a", "b"}, {"objective", "value/max"}, set()),
        (BOTH, {"a", "b"}, {"objective", "value/a", "value/b"}, set()),
        (BOTH, {"a"}, {"objective", "value/a"}, {"b"}),
        (BOTH, {"a", "b"}, {"objective", "value/a"}, None),  # b's value is on no axis
        (BOTH, {"a"}, {"objective", "value/max"}, None),  # the largest value may be that of b
        (BOTH, {"a"}, {"value/max", "value/a"}, {"b"}),
        (BOTH, set(), {"objective", "value/max"}, None),
        (BOTH, {"a"}, {"objective", "eval/frechet"}, None),
        ({"a": "at_least", "b": "at_least"}, {"a", "b"}, {"objective", "value/max"}, None),  # the largest is the easiest
        ({"a": "at_least", "b": "at_least"}, {"a", "b"}, {"objective", "value/a", "value/b"}, set()),
        ({"a": "equals", "b": "at_most"}, {"a"}, {"objective", "value/a"}, {"b"}),
    ],
)
def test_only_what_no_axis_shows_is_asked_for(
    kinds_of: dict[str, Kind], searched: set[str], objectives: set[str], expected: set[str] | None
) -> None:
    assert required(kinds_of, searched, objectives) == (None if expected is None else frozenset(expected))


def trial(
    number: int, objective: float, value: float, a: Standing | None, b: Standing | None, status: str = "converged",
    *, evaluated: bool = True,
) -> Trial:  # fmt: skip
    """A trial with these standings of its two constraints, of which `a` has a searched budget; without them nobody judged it."""
    metrics = {"objective": objective, "value/a": value, "value/max": value}
    metrics |= {"objective_error": 0.001} if evaluated else {}
    slacks = {"met": 0.1, "violated": -0.1, "undecided": 0.0}
    outcomes = tuple(
        ConstraintRecord(name, value, value + slacks[each], slacks[each], 0.01, 1.0, kind="at_most", standing=each)
        for name, each in (("a", a), ("b", b))
        if each is not None
    )
    found = {each.standing for each in outcomes}
    own = next((each for each in ("violated", "undecided", "met") if each in found), None)
    return Trial(f"{number:04d}", f"{number:032x}", status, "", {}, metrics, outcomes, own)


def record(*trials: Trial, decide: frozenset[str] | None = frozenset("b")) -> SweepRecord:
    return SweepRecord("1", "s", "p", THREE, None, trials, (BUDGET,), required=decide)


def test_a_missed_knob_is_a_mark_and_a_missed_requirement_decides() -> None:
    missed = trial(0, 5.0, 0.1, "violated", "met")  # the lowest value of all, though it was asked for a lower one
    others = trial(1, 1.0, 1.0, "met", "met"), trial(2, 0.5, 0.5, "met", "violated"), trial(3, 0.4, 0.4, "met", "undecided")
    sweep = record(missed, *others)
    front = find_front(sweep)
    assert set(front.ids) == {"0000", "0001"} and front.ranks == {"0000": 1, "0001": 1, "0003": 2, "0002": 3}
    assert kinds(sweep, front) == ["front_missed", "front", "infeasible", "undecided"]
    assert front.note.startswith("2 of 4 trials are on the front; 2 keep the budgets that are fixed; 1 on it missed the budget")
    before = replace(sweep, required=None)
    assert find_front(before).ids == ("0001",) and kinds(before, find_front(before))[0] == "infeasible"


@pytest.mark.parametrize("seed", range(4))
def test_the_attained_front_is_the_brute_force_one(seed: int) -> None:
    """Every combination of standings and ends, at random places."""
    ends = ("converged", "out_of_steps", "infeasible")
    draw, sorts = random.Random(seed), list(itertools.product(STANDINGS, STANDINGS, ends))
    draw.shuffle(sorts)
    trials = [trial(i, draw.random(), draw.random(), a, b, status) for i, (a, b, status) in enumerate(sorts)]
    trials += [trial(90, 0.0, 0.0, "met", "met", "infeasible", evaluated=False), trial(91, 0.0, 0.0, None, None, "stopped")]
    sweep = record(*trials)
    candidates = [each for each, (_, b, _) in zip(trials, sorts, strict=False) if b == "met"]
    best = brute_force_front([list(sweep.point(each)) for each in candidates], ["minimize", "minimize"])
    expected = {each.trial_id for each, ok in zip(candidates, best, strict=True) if ok}
    front = find_front(sweep)
    assert set(front.ids) == expected
    assert all(front.ranks[name] is None for name in ("0090", "0091")), "no final evaluation, no place"
    assert reference_point_of(sweep) is not None and hypervolume_history(sweep)[-1] > 0
    by_kind = dict(zip((each.trial_id for each in trials), kinds(sweep, front), strict=True))
    for sweep_trial in trials:
        asked = next((outcome.standing for outcome in sweep_trial.constraints if outcome.name == "a"), None)
        if sweep_trial.trial_id in expected:
            own = "violated" if asked == "violated" else asked
            assert (
                by_kind[sweep_trial.trial_id]
                == {"violated": "front_missed", "undecided": "front_undecided", "met": "front"}[str(own)]
            )


def test_a_dominated_trial_is_drawn_with_what_is_known_of_its_own_budget() -> None:
    best, *beaten = (trial(i, float(i), float(i), standing, "met") for i, standing in enumerate(("met", *STANDINGS)))
    sweep = record(best, *beaten)
    drawn = dict(zip(STANDINGS, kinds(sweep, find_front(sweep))[1:], strict=True))
    assert drawn == {"met": "feasible", "undecided": "unsure", "violated": "missed"}
    assert len({(mark.marker, mark.colour) for mark in MARKS.values()}) == len(MARKS)


def test_undecided_trials_stand_between_and_never_on_the_front(tmp_path_factory: pytest.TempPathFactory) -> None:
    sweep = record(
        trial(0, 1.0, 1.0, "met", "met"),
        trial(1, 0.1, 0.1, "met", "undecided"),
        trial(2, 0.2, 0.2, "met", "violated"),
        decide=None,
    )
    made = review(sweep, tmp_path_factory.mktemp("out"))
    assert made.front_ids == ("0000",) and made.front.ranks == {"0000": 1, "0001": 2, "0002": 3}
    assert "1 feasible; 1 undecided" in made.front.note
    assert [marks_of(each, made)["feasible"] for each in sweep.trials] == ["met", "undecided", "violated"]
    assert [marks_of(each, made)["missed"] for each in sweep.trials] == ["none", "none", "b"]
    page, rows = text_in(made.front_html.read_text()), list(csv.DictReader(made.trials_csv.open(newline="")))
    assert own(made.front_html.read_text(), "kind")[1] == "undecided" and MARKS["undecided"].name in page
    assert [row["feasible"] for row in rows] == ["met", "undecided", "violated"]


@pytest.mark.parametrize("decide", [None, frozenset("b")])
def test_where_all_is_undecided_nothing_is_recommended_nor_a_knee(decide: frozenset[str] | None) -> None:
    sweep = record(trial(0, 0.1, 0.3, "met", "undecided"), decide=decide)
    front = find_front(sweep)
    found = recommend(sweep, front)
    assert front.ids == () and found.knee is None and found.trial is None
    assert found.nearest is not None and found.nearest.trial_id == "0000", "who asks is told which comes nearest"


def test_without_a_feasible_trial_the_nearest_of_the_undecided_is_named() -> None:
    nothing = find_front(record(trial(1, 0.1, 0.1, "met", "undecided"), trial(2, 0.2, 0.2, "met", "violated"), decide=None))
    assert nothing.least_violating is not None and nothing.least_violating.trial_id == "0001"
    assert "Trial 0001 is the nearest of the undecided: more draws (feasibility.draws)" in nothing.note


def missing(name: str, slack: float, standing: Standing, relaxation: float = 0.0) -> ConstraintRecord:
    """A constraint with a budget of 0.1 and this slack."""
    return ConstraintRecord(
        name, 0.1 - slack, 0.1, slack, 0.01, 1.0, kind="at_most", relaxation=relaxation, standing=standing
    )  # fmt: skip


@pytest.mark.parametrize(
    ("decide", "a", "b", "said"),
    [
        (
            frozenset("b"),
            (-0.05, "violated", 0.0),
            (0.0, "undecided", 0.0),
            "Nothing is known to be feasible; trial 0003 comes nearest.",
        ),
        (
            frozenset("b"),
            (-0.05, "violated", 0.0),
            (-0.01, "undecided", 0.0),
            "Nothing is known to be feasible; trial 0003 comes nearest: `b` misses its budget 0.1 by 0.01.",
        ),
        (
            None,
            (-0.05, "violated", 0.0),
            (0.0, "undecided", 0.0),
            "Nothing is feasible; trial 0003 comes nearest: `a` misses its budget 0.1 by 0.05.",
        ),
        (
            None,
            (-0.05, "met", 0.06),
            (-0.05, "violated", 0.02),
            "Nothing is feasible; trial 0003 comes nearest: `b` misses its budget 0.1 (relaxed by 0.02) by 0.03.",
        ),
        (
            None,
            (-0.001, "met", 0.0),
            (-0.05, "violated", 0.0),
            "Nothing is feasible; trial 0003 comes nearest: `b` misses its budget 0.1 by 0.05.",
        ),
    ],
)
def test_where_nothing_is_feasible_what_is_said_to_lack_is_what_decides(
    decide: frozenset[str] | None, a: tuple[float, Standing, float], b: tuple[float, Standing, float], said: str
) -> None:
    outcomes = missing("a", a[0], a[1], a[2]), missing("b", b[0], b[1], b[2])
    own = overall(each.standing for each in outcomes)
    metrics = {"objective": 1.0, "value/a": 0.2, "objective_error": 0.001}
    sweep = record(Trial("0003", "0" * 32, "converged", "", {}, metrics, outcomes, own), decide=decide)
    assert recommend(sweep, find_front(sweep)).reasons == (said,)


def test_what_is_preferred_is_met_first_and_says_so() -> None:
    wish = Preference(meets=(Limit("value/a", "at_most", 0.5),), best="objective")
    met, unsure = trial(0, 3.0, 0.4, "met", "met"), trial(1, 1.0, 0.3, "met", "undecided")
    both = recommend(replace(record(met, unsure, decide=None), prefer=wish), find_front(record(met, unsure, decide=None)))
    assert both.preferred is not None and both.preferred.trial_id == "0000"
    far = trial(0, 3.0, 0.9, "met", "met")
    sweep = replace(record(far, unsure, decide=None), prefer=wish)
    only = recommend(sweep, find_front(sweep))
    assert only.preferred is not None and only.preferred.trial_id == "0001"
    assert "the only undecided trial with" in only.preferred_reason and "feasibility.draws" in only.preferred_reason
    attained = replace(record(trial(0, 3.0, 0.4, "violated", "met"), trial(1, 1.0, 0.9, "met", "met")), prefer=wish)
    said = recommend(attained, find_front(attained)).preferred_reason
    assert said.endswith("It missed the budget it was given (`a`): it counts by what it attained.")


def test_what_decides_is_recorded_and_else_derived() -> None:
    for names in (None, frozenset[str](), frozenset({"b", 'quo"ted'})):
        assert read_required(write_required(names), "r") == names
    for text in ("", "[1]", '"b"', "{}"):
        with pytest.raises(ReviewError, match="must be a JSON list of constraints' names, or null"):
            read_required(text, "r")
    trials = (trial(0, 1.0, 1.0, "met", "met"),)
    assert required_of(trials, (BUDGET,), THREE) == frozenset("b") and required_of(trials, (), THREE) is None
    assert required_of(trials, (BUDGET,), {"objective": 0}) is None

"""Which bounds fit which dual rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.bound import KEYS, Bound
from dualsweep.trainer.recipe.dual import Dual, may_relax


def check_bounds(bounds: Mapping[str, Bound], dual: Dual, simplex: bool) -> None:
    """Refuses bounds that do not fit the dual rule or the formulation, and settings by name that do not name every constraint.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    for position, bound in enumerate(bounds.values()):
        _fits(f"constraints.{position}", bound, dual, simplex)
    for key in ("start", "step_size"):
        _names_all(key, getattr(dual, key), list(bounds))
    _fits_as_a_whole(list(bounds.values()), dual, simplex)
    for name, bound in bounds.items():
        first = dual.start[name] if isinstance(dual.start, dict) else dual.start
        if first < 0 and bound.kind != "equals":
            raise RuleError(
                "dual.start", "must be >= 0", f"{first} for {name}", "only the multiplier of `equals` may be negative"
            )


def _fits(place: str, bound: Bound, dual: Dual, simplex: bool) -> None:
    if not simplex:
        if bound.kind == "minimax":
            raise RuleError(
                place,
                "must hold one of at_most, at_least and equals",
                "none of them",
                "write one, or use a formulation that minimises the largest value",
            )
        if bound.alpha is not None and not may_relax(dual.rule):
            raise RuleError(f"{place}.alpha", "must go with a rule that relaxes", f"rule {dual.rule}", "drop alpha")
        return
    for key in (*KEYS, "relative_to", "alpha"):
        if getattr(bound, key) is not None:
            raise RuleError(
                f"{place}.{key}",
                "must be left out where the largest value is minimised",
                f"{getattr(bound, key)}",
                "that has no budget: drop it, or choose another formulation",
            )


def _names_all(key: str, value: float | dict[str, float], names: list[str]) -> None:
    if isinstance(value, dict) and set(value) != set(names):
        raise RuleError(
            f"dual.{key}", "must name every constraint", f"{sorted(value)}", f"write one number, or one for each of {names}"
        )


def _fits_as_a_whole(bounds: Sequence[Bound], dual: Dual, simplex: bool) -> None:
    if dual.alpha is not None and not may_relax(dual.rule):
        raise RuleError("dual.alpha", "must go with a rule that relaxes", f"rule {dual.rule}", "drop alpha")
    if dual.rule == "resilient" and dual.alpha is None and not any(bound.alpha for bound in bounds):
        raise RuleError("dual.rule", "must have an alpha to be resilient", "none", "write dual.alpha, or use ascent")
    if not simplex:
        return
    if not bounds:
        raise RuleError("dual.rule", f"{dual.rule} must have constraints to weigh", "none", "write some, or use ascent")
    if isinstance(dual.start, dict) and abs(sum(dual.start.values()) - 1.0) > 1e-6:
        raise RuleError(
            "dual.start",
            f"must sum to 1 with rule {dual.rule}",
            f"{sum(dual.start.values()):.6g}",
            "leave it out to start from equal weights",
        )
    if not isinstance(dual.start, dict) and dual.start:
        raise RuleError("dual.start", f"must be a weight for each constraint with rule {dual.rule}", dual.start, "drop it")

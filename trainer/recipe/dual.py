"""How the multipliers move."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, ValidationError, ValidationInfo, create_model, model_validator

from dualsweep.trainer.config.diagnostics import RuleError, RulesError
from dualsweep.trainer.config.import_path import CannotImportError
from dualsweep.trainer.dual.registry import RULES, own_values, rule_of
from dualsweep.trainer.recipe.base import Count, Name, Positive, Section
from dualsweep.trainer.recipe.own_part import OwnPart, is_withheld, option_faults, shipped_word

if TYPE_CHECKING:
    RuleWord = str
else:
    RuleWord = Literal[tuple(RULES)]

#: Rules whose multipliers are weights that sum to 1, of problems that minimise their largest value.
ON_SIMPLEX = tuple(word for word, rule in RULES.items() if rule.on_simplex)
#: Rules under which a budget may relax itself at a cost (`alpha`).
RELAXABLE = tuple(word for word, rule in RULES.items() if rule.relaxes)


class OwnRule(OwnPart):
    """A dual rule of the user's own, which is imported where it is written, and not where a run has stored it."""

    @model_validator(mode="after")
    def _is_there(self, info: ValidationInfo) -> Self:
        if is_withheld(info):
            return self
        try:
            own_values(rule_of(self), self.options)
        except CannotImportError as error:
            raise RulesError([error.diagnostic.at(("call",))]) from None
        except ValidationError as error:
            raise RulesError([*option_faults(error, ("options",))]) from None
        return self


def may_relax(rule: str | OwnPart) -> bool:
    """Whether a budget may relax itself under the rule; what a user's own says of it is known once it is imported."""
    return not isinstance(rule, str) or rule in RELAXABLE


def _each(what: str, fits: Callable[[float], bool]) -> BeforeValidator:
    """One check, and one message, for a number or a mapping of numbers."""

    def check(value: Any) -> Any:
        for given in value.values() if isinstance(value, dict) else [value]:
            number = isinstance(given, int | float) and not isinstance(given, bool)
            if not (number and math.isfinite(given) and fits(given)):
                rule = f"must be {what} (without quotes), or one for each constraint"
                raise RuleError("", rule, f"{given!r}", "write a number, or `{NAME: number, …}`")
        return value

    return BeforeValidator(check)


class _Step(Section):
    """The rule, and how far it goes."""

    rule: Annotated[RuleWord | OwnRule, BeforeValidator(shipped_word)] = Field(
        "ascent", description="the dual rule: a word, or your own by {call: module:RULE, options: {…}} (docs/your-own.md)",
        examples=["ascent"],
    )  # fmt: skip
    step_size: Annotated[Positive | dict[Name, Positive], _each("a finite number > 0", lambda value: value > 0)] = Field(
        0.03, description="the dual step size, one number or one for each constraint: eta of ascent, kappa_i of nu_pi, rho of "
        "augmented_lagrangian, of newton and secant the steps of ascent where nothing better is known", examples=["0.03"],
    )  # fmt: skip


_Rules: type[_Step] = create_model(
    "_Rules", __base__=_Step, **{key: own for rule in RULES.values() for key, own in rule.keys.items()}
)  # type: ignore[call-overload]  # the keys are known only when the rules have been found


class Dual(_Rules):
    """How the multipliers move (docs/method.md, "Dual rules")."""

    alpha: Positive | None = Field(
        None, description="the cost of relaxing budgets (those without their own `alpha`): by u it costs alpha u^2 / 2; none for "
        "hard budgets", examples=["2.0"],
    )  # fmt: skip
    trust: Positive = Field(
        1.0, description="the largest change of a multiplier in one step of newton or secant", examples=["0.5"]
    )
    gain_warmup: Annotated[int, Field(ge=0)] = Field(
        0, description="dual steps over which the gains grow linearly from zero", examples=["100"]
    )
    decay: Literal["none", "linear", "cosine"] = Field(
        "none", description="how the step size falls to zero over the run", examples=["cosine"]
    )
    start: Annotated[FiniteFloat | dict[Name, FiniteFloat], _each("a finite number", lambda _: True)] = Field(
        0.0, description="the first multipliers: one number, or one for each constraint; on the simplex equal weights",
        examples=["0.1"],
    )  # fmt: skip
    every: Count = Field(1, description="primal steps for each dual step", examples=["5"])
    warmup: Annotated[int, Field(ge=0)] = Field(0, description="primal steps during which the multipliers stay", examples=["300"])
    cap: Positive = Field(10.0, description="the largest multiplier; there, with its constraint violated, a run is infeasible",
                          examples=["10.0"])  # fmt: skip
    average: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="the coefficient of the exponential average over slacks; 0 for none", examples=["0.9"]
    )
    staleness: Annotated[int, Field(ge=0, le=1)] = Field(
        1, description="primal steps by which the multipliers in use lag: 0 waits, 1 overlaps the dual step", examples=["1"]
    )
    patience: Count = Field(
        50, description="dual steps at the cap, still violated, after which a run ends as infeasible", examples=["50"]
    )

"""The PI rule (Sohrabi et al. 2024, arXiv 2406.04558, [nuPI])."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, FiniteFloat

from dualsweep.trainer.dual.rule import DualRule, Gains, Move
from dualsweep.trainer.recipe.base import NotNegative

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector


def nu_pi(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """xi_t = nu xi_{t-1} + (1 - nu) e_t;  lambda <- [lambda + kappa_i e_t + kappa_p (xi_t - xi_{t-1})]_+  with e = -s.

    [nuPI] Alg. 1. xi_{-1} = 0, so the first step moves by kappa_i e_0 + kappa_p xi_0. kappa_p = 0 is plain ascent;
    nu = 0 is PI control on the errors themselves.
    """
    errors = -slacks
    nu, kappa_p = gains.own["nu"], gains.own["kappa_p"]
    smoothed = nu * memory + (1.0 - nu) * errors
    change = gain * (gains.step_size * errors + kappa_p * (smoothed - memory))
    return Move(multipliers + change, smoothed)


RULE = DualRule(
    nu_pi,
    keys={
        "kappa_p": (NotNegative, Field(0.0, description="the proportional gain of nu_pi", examples=["1.0"])),
        "nu": (
            Annotated[FiniteFloat, Field(ge=0, lt=1)],
            Field(0.0, description="the averaging coefficient of nu_pi", examples=["0.9"]),
        ),
    },
    relaxes=True,
    proportional=True,
)

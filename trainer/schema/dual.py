"""How the multipliers move."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from trainer.schema.base import Count, Name, NotNegative, Positive, Section


class Dual(Section):
    """How the multipliers move (method.md §3)."""

    rule: Literal["ascent", "nu_pi", "fixed"] = Field("ascent", description="the dual rule", examples=["ascent"])
    step_size: Positive = Field(0.03, description="the dual step size: eta of ascent, kappa_i of nu_pi", examples=["0.03"])
    kappa_p: NotNegative = Field(0.0, description="the proportional gain of nu_pi", examples=["1.0"])
    nu: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(0.0, description="the averaging coefficient of nu_pi", examples=["0.9"])
    gain_warmup: Annotated[int, Field(ge=0)] = Field(
        0, description="dual steps over which the gains grow linearly from zero", examples=["100"]
    )
    decay: Literal["none", "linear", "cosine"] = Field(
        "none", description="how the step size falls to zero over the run", examples=["cosine"]
    )
    start: NotNegative | dict[Name, NotNegative] = Field(
        0.0, description="the first multipliers: one number, or one for each constraint", examples=["0.1"]
    )
    every: Count = Field(1, description="primal steps for each dual step", examples=["5"])
    warmup: Annotated[int, Field(ge=0)] = Field(0, description="primal steps during which the multipliers stay", examples=["300"])
    cap: Positive = Field(10.0, description="the largest multiplier; there, with its constraint violated, a run is infeasible",
                          examples=["10.0"])  # fmt: skip
    average: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="the coefficient of the exponential average over slacks; 0 for none", examples=["0.9"]
    )
    staleness: Literal[0, 1] = Field(
        1, description="primal steps by which the multipliers in use lag: 0 waits, 1 overlaps the dual step", examples=["1"]
    )
    patience: Count = Field(
        50, description="dual steps at the cap, still violated, after which a run ends as infeasible", examples=["50"]
    )

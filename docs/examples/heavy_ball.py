"""Ascent with momentum, the heavy ball (Polyak 1964, USSR Computational Mathematics and Mathematical Physics 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, FiniteFloat

from dualsweep.trainer.dual.rule import DualRule, Gains, Move

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector


def heavy_ball(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """v <- beta v - s;  lambda <- [lambda + eta v]_+. The memory [m] is v, at first 0; beta = 0 is ascent."""
    velocity = gains.own["momentum"] * memory - slacks
    return Move(multipliers + gain * gains.step_size * velocity, velocity)


RULE = DualRule(
    heavy_ball,
    keys={
        "momentum": (
            Annotated[FiniteFloat, Field(ge=0, lt=1)],
            Field(0.9, description="the share of heavy_ball's velocity that a step keeps", examples=["0.9"]),
        )
    },
    relaxes=True,
)

"""Dual rules: pure functions from (multipliers, memory, slacks) to the next, before projection (method.md §3).

A step ascends the dual function, whose gradient in lambda_i is -s_i: a violated constraint (s_i < 0) becomes dearer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from trainer.problem import Vector
from trainer.recipe import Dual


@dataclass(frozen=True)
class Move:
    """The unprojected multipliers [m] and the rule's memory [m] after one dual step."""

    multipliers: Vector
    memory: Vector


Rule = Callable[[Vector, Vector, Vector, float, Dual], Move]


def ascent(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, dual: Dual) -> Move:
    """lambda <- [lambda - eta s]_+   (projected gradient ascent, [CDM] Alg. 1)."""
    return Move(multipliers - gain * dual.step_size * slacks, memory)


def nu_pi(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, dual: Dual) -> Move:
    """xi_t = nu xi_{t-1} + (1 - nu) e_t;  lambda <- [lambda + kappa_i e_t + kappa_p (xi_t - xi_{t-1})]_+  with e = -s.

    [nuPI] Alg. 1. xi_{-1} = 0, so the first step moves by kappa_i e_0 + kappa_p xi_0. kappa_p = 0 is plain ascent;
    nu = 0 is PI control on the errors themselves.
    """
    errors = -slacks
    smoothed = dual.nu * memory + (1.0 - dual.nu) * errors
    change = gain * (dual.step_size * errors + dual.kappa_p * (smoothed - memory))
    return Move(multipliers + change, smoothed)


def fixed(multipliers: Vector, memory: Vector, *_: object) -> Move:
    """lambda <- lambda: fixed weights, the usual baseline; at 0, unconstrained training whose constraints are watched."""
    return Move(multipliers, memory)


RULES: dict[str, Rule] = {"ascent": ascent, "nu_pi": nu_pi, "fixed": fixed}


def gain(dual: Dual, step: int, total: int) -> float:
    """The factor on the gains at dual step `step` of `total`: linear warm-up, then the recipe's decay to zero."""
    rising = min(1.0, (step + 1) / dual.gain_warmup) if dual.gain_warmup else 1.0
    progress = min(1.0, step / max(1, total))
    falling = {"none": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}[dual.decay]
    return rising * falling

"""First-order dual rules: pure functions from (multipliers, memory, slacks) to the next, before projection (docs/method.md).

A step ascends the dual function, whose gradient in lambda_i is -s_i: a violated constraint (s_i < 0) becomes dearer. With
resilience the slacks given here are the relaxed ones, s + lambda / alpha ([RCL]), so every rule serves both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.recipe.dual import Dual


@dataclass(frozen=True)
class Gains:
    """What a rule is set by. `step_size` is one number, or one for each constraint [m]."""

    step_size: float | Vector
    kappa_p: float = 0.0
    nu: float = 0.0
    trust: float = 1.0

    @classmethod
    def of(cls, dual: Dual, names: Sequence[str], softness: Vector) -> Gains:
        """The recipe's gains, those by name in the order of the constraints."""
        given = dual.step_size
        size: float | Vector = np.array([given[name] for name in names]) if isinstance(given, dict) else given
        if dual.rule == "augmented_lagrangian" and softness.any():
            size = size / (1.0 + size * softness)
        return cls(size, dual.kappa_p, dual.nu, dual.trust)


@dataclass(frozen=True)
class Move:
    """The unprojected multipliers [m] and the rule's memory [m] or [k, m] after one dual step.

    `target` [m] is where the dual function has its maximum as far as one step tells; None of a rule that has no view of that.
    """

    multipliers: Vector
    memory: Vector
    target: Vector | None = None


Rule = Callable[[Vector, Vector, Vector, float, Gains], Move]


def ascent(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """lambda <- [lambda - eta s]_+   (projected gradient ascent, [CDM] Alg. 1).

    Projected onto the simplex instead it is the Euclidean rule ([CCA] Alg. 2), with relaxed slacks the resilient one, and
    with eta = rho the multiplier step of the augmented Lagrangian, whose primal applies `ahead`.
    """
    return Move(multipliers - gain * gains.step_size * slacks, memory)


def ahead(multipliers: Vector, slacks: Vector, gain: float, gains: Gains) -> Vector:
    """[lambda - rho s]_+: the price at which the augmented Lagrangian's primal gradient weighs a constraint.

    That gradient is grad f + sum_i [lambda_i - rho s_i]_+ grad g_i (Nocedal & Wright 2006, eq. 17.65). With resilience the
    proximal step on the relaxed dual is lambda' = [lambda - rho (s + lambda' / alpha)]_+, which is this with rho / (1 + rho /
    alpha) for rho on the relaxed slacks (`Gains.of`); it is stable for any rho.
    """
    result: Vector = multipliers - gain * gains.step_size * slacks
    return result


def nu_pi(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """xi_t = nu xi_{t-1} + (1 - nu) e_t;  lambda <- [lambda + kappa_i e_t + kappa_p (xi_t - xi_{t-1})]_+  with e = -s.

    [nuPI] Alg. 1. xi_{-1} = 0, so the first step moves by kappa_i e_0 + kappa_p xi_0. kappa_p = 0 is plain ascent;
    nu = 0 is PI control on the errors themselves.
    """
    errors = -slacks
    smoothed = gains.nu * memory + (1.0 - gains.nu) * errors
    change = gain * (gains.step_size * errors + gains.kappa_p * (smoothed - memory))
    return Move(multipliers + change, smoothed)


def fixed(multipliers: Vector, memory: Vector, *_: object) -> Move:
    """lambda <- lambda: fixed weights, the usual baseline; at 0, unconstrained training whose constraints are watched."""
    return Move(multipliers, memory)


def mirror(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """lambda_i <- lambda_i exp(-eta s_i) / sum_j lambda_j exp(-eta s_j): exponentiated gradient on the simplex.

    Kivinen & Warmuth 1997. The step depends on differences of slacks only. Weights start from at least `LEAST_WEIGHT`: one
    that had underflowed to 0 could never return.
    """
    exponents = np.log(np.maximum(multipliers, LEAST_WEIGHT)) - gain * gains.step_size * slacks
    weights = np.exp(exponents - exponents.max())
    return Move(weights / weights.sum(), memory)


LEAST_WEIGHT = 1e-12
RULES: dict[str, Rule] = {
    "ascent": ascent, "resilient": ascent, "augmented_lagrangian": ascent, "nu_pi": nu_pi, "fixed": fixed,
    "simplex": ascent, "mirror": mirror,
}  # fmt: skip


def gain(dual: Dual, step: int, total: int) -> float:
    """The factor on the gains at dual step `step` of `total`: linear warm-up, then the recipe's decay to zero."""
    rising = min(1.0, (step + 1) / dual.gain_warmup) if dual.gain_warmup else 1.0
    progress = min(1.0, step / max(1, total))
    falling = {"none": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}[dual.decay]
    return rising * falling

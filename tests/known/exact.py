"""The exact answers of method.md §4, from the discretised sampler where that matters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, minimize

from dualsweep.trainer.samplers.chain import Steps
from tests.known.models import Gaussian

Array = NDArray[np.float64]
#: The slope [d, d] and the shift [d] of the mean of each step of a chain.
Moves = list[tuple[Array, Array]]


def affine(model: Callable[..., torch.Tensor], steps: Steps, d: int) -> Moves:
    """The slope [d, d] and the shift [d] of each step's mean, for a model whose predictions are affine in x."""
    x, moves = torch.cat([torch.zeros(1, d), torch.eye(d)]), []
    for number, timestep in enumerate(steps.timesteps):
        with torch.no_grad():
            moved = steps.mean(number, x, model(x, torch.full((d + 1,), timestep))).double().numpy()
        moves.append(((moved[1:] - moved[0]).T, moved[0]))
    return moves


def propagated(moves: Moves, steps: Steps, start: Array) -> list[tuple[Array, Array]]:
    """Mean [d] and covariance [d, d] of each state of a chain that starts at N(0, start), and of the sample, in closed form."""
    states = [(np.zeros(len(start)), start)]
    for (slope, shift), sigma in zip(moves, (*steps.sigma, 0.0), strict=True):
        mean, covariance = states[-1]
        states.append((slope @ mean + shift, slope @ covariance @ slope.T + sigma**2 * np.eye(len(start))))
    return states


def sampler_moments(model: Gaussian, steps: Steps) -> tuple[Array, Array]:
    """Mean [d] and the covariance [d, d] of what a chain makes of the model, the start's part left out.

    A path-wise KL can shift only what the steps' own noise made, so this is the covariance that rewards are traded against.
    """
    d = model.offset.shape[1]
    return propagated(affine(model, steps, d), steps, np.zeros((d, d)))[-1]


def path_kl(moves: Moves, others: Moves, steps: Steps) -> float:
    """The path-wise KL in nats of one chain of affine means to another: E |A x + b|^2 = |A mean + b|^2 + tr A cov A^T."""
    total, states = 0.0, propagated(moves, steps, np.eye(len(moves[0][1])))
    deviations = (*steps.sigma, steps.resolution)
    for (slope, shift), (other, away), (mean, covariance), sigma in zip(moves, others, states[:-1], deviations, strict=True):
        apart = slope - other
        total += (np.sum((apart @ mean + shift - away) ** 2) + np.trace(apart @ covariance @ apart.T)) / (2 * sigma**2)
    return float(total)


def alignment(mean: Array, covariance: Array, rewards: Array, thresholds: Array, alpha: float = np.inf) -> tuple[Array, float]:
    """λ [m] and the KL for E[A x] >= c: argmin over λ >= 0 of ½ λᵀ(AΣAᵀ + I/alpha)λ - λᵀ(c - A mean), by active sets."""
    hessian = rewards @ covariance @ rewards.T
    priced, wanted = hessian + np.eye(len(thresholds)) / alpha, thresholds - rewards @ mean
    best: Array = np.zeros(len(wanted))
    least = 0.0
    for active in product([False, True], repeat=len(wanted)):
        which = np.array(active)
        if not which.any():
            continue
        if np.linalg.matrix_rank(priced[np.ix_(which, which)]) < which.sum():
            continue  # rewards that depend on each other: some of them alone do as well
        candidate = np.zeros(len(wanted))
        candidate[which] = np.linalg.solve(priced[np.ix_(which, which)], wanted[which])
        value = float(0.5 * candidate @ priced @ candidate - candidate @ wanted)
        if (candidate >= 0).all() and value < least:
            best, least = candidate, value
    return best, float(0.5 * best @ hessian @ best)


def product_of_gaussians(means: Array, covariances: Array, weights: Array) -> tuple[Array, Array]:
    """Mean [d] and covariance [d, d] of Π N(m_i, S_i)^w_i, normalised."""
    precisions = np.linalg.inv(covariances)
    covariance = np.linalg.inv(np.einsum("i,ijk->jk", weights, precisions))
    return covariance @ np.einsum("i,ijk,ik->j", weights, precisions, means), covariance


def gaussian_kl(mean: Array, covariance: Array, other: Array, others: Array) -> float:
    """KL(N(mean, covariance) || N(other, others)) in nats."""
    inverse, away = np.linalg.inv(others), other - mean
    ratio = np.linalg.slogdet(others)[1] - np.linalg.slogdet(covariance)[1]
    return float(0.5 * (np.trace(inverse @ covariance) + away @ inverse @ away - len(mean) + ratio))


def log_normaliser(weights: Array, means: Array, covariances: Array) -> float:
    """log Z(λ), Z the integral of Π N(m_i, S_i)^λ_i over x in R^d."""
    mean, covariance = product_of_gaussians(means, covariances, weights)
    moments = [each @ np.linalg.solve(own, each) for each, own in zip(means, covariances, strict=True)]
    own = weights @ (np.linalg.slogdet(covariances)[1] + np.array(moments))
    joint = np.linalg.slogdet(covariance)[1] + mean @ np.linalg.solve(covariance, mean)
    return float(0.5 * (joint - own + len(mean) * (1 - weights.sum()) * np.log(2 * np.pi)))


def composition_and(means: Array, covariances: Array) -> tuple[Array, Array]:
    """λ [m] and the KLs [m] of min max_i KL(p || q_i): the maximum of the concave dual -log Z(λ) on the simplex.

    Its derivative in λ_i is -E_p log q_i = KL(p || q_i) + H(p) under the product p, by sequential quadratic programming.
    """

    def values(weights: Array) -> Array:
        p = product_of_gaussians(means, covariances, weights)
        return np.array([gaussian_kl(*p, mean, covariance) for mean, covariance in zip(means, covariances, strict=True)])

    def descent(weights: Array) -> tuple[float, Array]:
        _, covariance = product_of_gaussians(means, covariances, weights)
        entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
        return log_normaliser(weights, means, covariances), -values(weights) - entropy

    size = len(means)
    simplex = LinearConstraint(np.ones(size), 1, 1)
    start, ends = np.full(size, 1 / size), [(0, 1)] * size
    found = minimize(descent, start, jac=True, method="SLSQP", bounds=ends, constraints=simplex, options={"ftol": 1e-14})
    return found.x, values(found.x)


def concept_composition(
    concepts: list[Gaussian], base: Gaussian, guidance: float, weights: Array, steps: Steps
) -> tuple[Array, Array, Array]:
    """The path-wise KLs [m] of the guided sampler to each concept's own, and the mean [d] and covariance of its samples.

    All is affine, so the chain's states are Gaussian.
    """

    def led(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        start: torch.Tensor = base(x, t)
        own = torch.stack([weight * each(x, t) for weight, each in zip(weights, concepts, strict=True)])
        return start + guidance * (own.sum(0) - start)

    d = base.offset.shape[1]
    moves, others = affine(led, steps, d), [affine(each, steps, d) for each in concepts]
    kls = np.array([path_kl(moves, each, steps) for each in others])
    mean, covariance = propagated(moves, steps, np.eye(d))[-1]
    return kls, mean, covariance


def minority(counts: tuple[int, ...], minorities: tuple[int, ...], budget: float) -> tuple[Array, Array]:
    """Class weights [K] and multipliers [m] for KL(q_c || p) <= budget, all of them active (method.md §4)."""
    shares = np.array(counts) / sum(counts)
    rest = np.delete(shares, minorities).sum()
    total = rest / (1 - len(minorities) * np.exp(-budget))
    weights = shares / total
    weights[list(minorities)] = np.exp(-budget)
    return weights, total * np.exp(-budget) - shares[list(minorities)]


def sampled_by_balance(mean: Array, precision: Array, steps: Steps, last: tuple[Array, Array]) -> tuple[Array, Array]:
    """Mean [d] and covariance [d, d] of what a chain makes of R = N(mean, precision^-1) at the least KL to R times noising.

    R is that of the sample, into which the last step, `last`, makes a state: the slope [d, d] and the shift [d] of its mean.
    Minimising the KL of the chain, whose step has the sampler's own variance, to R prod q(x_k | x_{k+1}) over its other means
    is a linear-quadratic control problem: with cost-to-go x^T P x / 2 + p^T x and q = N(c x', v I), x' has the curvature
    H = (c^2 / v) I + P', the best mean is H^-1 (c x / v - p'), and P = I / v - (c / v)^2 H^-1, p = (c / v) H^-1 p'. The means
    are those of the exact reversal of the noising of R; only the variance is the sampler's.
    """
    d = len(mean)
    identity = np.eye(d)
    curvature, slope = last[0].T @ precision @ last[0], last[0].T @ precision @ (last[1] - mean)
    moves = []
    for before, after in reversed(list(pairwise(steps.signal))):
        ratio = before / after
        pull, inverse = ratio**0.5 / (1 - ratio), np.linalg.inv(ratio / (1 - ratio) * identity + curvature)
        moves.append((pull * inverse, -inverse @ slope))
        curvature, slope = identity / (1 - ratio) - pull**2 * inverse, pull * inverse @ slope
    centre, covariance = np.zeros(d), identity
    for (matrix, shift), sigma in zip(reversed(moves), steps.sigma, strict=True):
        centre, covariance = matrix @ centre + shift, matrix @ covariance @ matrix.T + sigma**2 * identity
    return last[0] @ centre + last[1], last[0] @ covariance @ last[0].T

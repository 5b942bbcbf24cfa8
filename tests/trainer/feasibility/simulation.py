"""Final evaluations without a network: slacks with a known truth, by the product's own estimators and tests.

Values have a steep trend over the timesteps, as losses do, and noise whose skewness and tails are chosen. They are drawn in
stages, each stratified by timestep, so an evaluation is a row of slack estimates, one for each look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.evaluation.drawn import JointDraws, drawn_values
from dualsweep.trainer.feasibility.deciding import Deciding
from dualsweep.trainer.feasibility.spending import looks
from dualsweep.trainer.feasibility.standing import Criticals, Slack, Standing, fixed_criticals, judged

Codes = NDArray[np.int8]
Draw = Callable[[np.random.Generator, tuple[int, int]], Vector]
#: Noise of mean 0 and variance 1 by its name. A slack b - g has the skewness of -g.
NOISES: Mapping[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "exponential": lambda rng, shape: rng.standard_exponential(shape) - 1.0,
    "minus exponential": lambda rng, shape: 1.0 - rng.standard_exponential(shape),
    "t5": lambda rng, shape: rng.standard_t(5, shape) / math.sqrt(5.0 / 3.0),
}
#: The trend over the share u of the timesteps is 1 / (SOFT + u).
SOFT = 0.05
TREND = math.log((1.0 + SOFT) / SOFT)
CODES: Mapping[Standing, int] = {"violated": -1, "undecided": 0, "met": 1}
LONGEST = 64  # evaluations at a time


def evaluations(noise: str, ends: tuple[int, ...], count: int, rng: np.random.Generator) -> list[list[Slack]]:
    """`count` independent slacks whose truth is 0, each at every look."""
    slacks: list[list[Slack]] = []
    for start in range(0, count, LONGEST):
        slacks += _some(noise, ends, min(LONGEST, count - start), rng)
    return slacks


def _some(noise: str, ends: tuple[int, ...], size: int, rng: np.random.Generator) -> list[list[Slack]]:
    problem = ConstrainedProblem(tuple(map(str, range(size))), np.full(size, TREND), np.zeros(size, dtype=np.bool_))
    deciding = Deciding(problem, np.zeros(size), ends)
    drawn, slacks = None, []
    for length in np.diff(ends, prepend=0):
        timesteps = (np.arange(length)[:, None] + rng.random((int(length), size))) / length
        values = 1.0 / (SOFT + timesteps) + NOISES[noise](rng, (int(length), size))
        stage = drawn_values(1 + size, [JointDraws(tuple(range(1, 1 + size)), values, (int(length),), stratified=True)])
        drawn = stage if drawn is None else drawn.joined(stage)
        slacks.append(deciding.slacks(drawn))
    return [list(each) for each in zip(*slacks, strict=True)]


def judgements(evaluated: list[list[Slack]], truths: Vector, criticals: Sequence[Criticals]) -> Codes:
    """The product's judgement [looks, count] of each slack at each look, its truth shifted by `truths` [count]."""
    codes = [
        [CODES[judged(slack._replace(value=slack.value + truth), "at_most", 0.0, beyond)] for slack, beyond in pairs]
        for pairs, truth in zip((zip(at, criticals, strict=True) for at in evaluated), truths.tolist(), strict=True)
    ]
    return np.array(codes, dtype=np.int8).T


def trials(codes: Codes, ends: tuple[int, ...]) -> tuple[Codes, Vector]:
    """How trials stand of whose m constraints these are the judgements [looks, runs, m], and on how many draws: [runs] each.

    As `dualsweep.trainer.feasibility.deciding.after` and `standing.overall` have it, of all runs at once.
    """
    state = np.zeros(codes.shape[1:], np.int8)
    standing, used = np.zeros(len(state), np.int8), np.full(len(state), float(ends[-1]))
    for now, end in zip(codes, ends, strict=True):
        state = np.where((state == 0) | (now < 0), now, state)
        whole = np.where((state < 0).any(1), -1, (state > 0).all(1))
        used = np.where((standing == 0) & (whole != 0), end, used)
        standing = np.where(standing == 0, whole, standing)
    return standing, used


def _criticals(m: int, ends: tuple[int, ...]) -> list[Criticals]:
    return looks(0.95, m, "at_most", tuple(end / ends[-1] for end in ends))


def _first_error(evaluated: list[list[Slack]]) -> float:
    return float(np.median([each[0].error for each in evaluated[:100]]))


def wrong(noise: str, m: int, ends: tuple[int, ...], runs: int, seed: int) -> dict[str, float]:
    """How often a trial of m constraints is wrongly met and wrongly violated, where one constraint or all are at the edge."""
    evaluated = evaluations(noise, ends, runs * m, np.random.default_rng(seed))
    error, criticals, shape = _first_error(evaluated), _criticals(m, ends), (len(ends), runs, m)

    def at(truth: float) -> Codes:
        return judgements(evaluated, np.full(runs * m, truth), criticals).reshape(shape)

    far, rates = at(50.0 * error), dict[str, float]()
    for word, side in (("met", -1), ("violated", 1)):
        edge = at(side * 1e-6 * error)
        one = np.concatenate([edge[:, :, :1], far[:, :, 1:]], axis=2)
        for which, judgement in (("one", one), ("all", edge)):
            rates[f"wrongly {word}, {which}"] = float((trials(judgement, ends)[0] == -side).mean())
    return rates


def decided(noise: str, m: int, ends: tuple[int, ...], runs: int, seed: int) -> tuple[float, float, float]:
    """The share of trials decided, their mean draws, and the share decided by one fixed test on as many (Bonferroni).

    Slacks are uniform within 6 errors of the first stage.
    """
    rng = np.random.default_rng(seed)
    evaluated = evaluations(noise, ends, runs * m, rng)
    truths = rng.uniform(-6.0, 6.0, runs * m) * _first_error(evaluated)
    ours, used = trials(judgements(evaluated, truths, _criticals(m, ends)).reshape(len(ends), runs, m), ends)
    once = (round(float(used.mean())),)
    bonferroni = fixed_criticals(0.95, m, "at_most").violated
    alone = judgements(evaluations(noise, once, runs * m, rng), truths, [Criticals(bonferroni, bonferroni)])
    theirs, _ = trials(alone.reshape(1, runs, m), once)
    return float((ours != 0).mean()), float(used.mean()), float((theirs != 0).mean())

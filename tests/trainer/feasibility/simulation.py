"""Final evaluations without a network: slacks with a known truth, by the product's own estimators and tests.

Values have a steep trend over the timesteps, as losses do, and noise whose skewness and tails are chosen. They are drawn in
stages, each stratified by timestep, so an evaluation is a row of slack estimates, one for each look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from trainer.evaluation.drawn import JointDraws, drawn_values
from trainer.feasibility.deciding import Deciding, after
from trainer.feasibility.standing import Criticals, Slack, Standing, fixed_criticals, judged, overall
from trainer.problem import Problem, Vector

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
LONGEST = 250  # evaluations at a time


def evaluations(noise: str, ends: tuple[int, ...], count: int, rng: np.random.Generator) -> list[list[Slack]]:
    """`count` independent slacks whose truth is 0, each at every look."""
    found: list[list[Slack]] = []
    for start in range(0, count, LONGEST):
        found += _some(noise, ends, min(LONGEST, count - start), rng)
    return found


def _some(noise: str, ends: tuple[int, ...], size: int, rng: np.random.Generator) -> list[list[Slack]]:
    problem = Problem(tuple(map(str, range(size))), np.full(size, TREND), np.zeros(size, dtype=np.bool_))
    deciding = Deciding(problem, np.zeros(size), ends)
    drawn, looks = None, []
    for length in np.diff(ends, prepend=0):
        timesteps = (np.arange(length) + rng.random(length)) / length
        values = 1.0 / (SOFT + timesteps)[:, None] + NOISES[noise](rng, (int(length), size))
        stage = drawn_values(1 + size, [JointDraws(tuple(range(1, 1 + size)), values, (int(length),), stratified=True)])
        drawn = stage if drawn is None else drawn.joined(stage)
        looks.append(deciding.slacks(drawn))
    return [list(each) for each in zip(*looks, strict=True)]


def trial(
    evaluated: list[list[Slack]], truths: list[float], ends: tuple[int, ...], fixed: Criticals | None = None
) -> tuple[Standing, int]:
    """How a trial stands whose slacks have these true distances from the edge, and on how many draws; at one look for `fixed`."""
    names = tuple(map(str, range(len(truths))))
    deciding = Deciding(Problem(names, np.zeros(len(names)), np.zeros(len(names), dtype=np.bool_)), np.zeros(len(names)), ends)
    criticals = deciding.criticals(0) if fixed is None else [fixed]
    standings: list[Standing] = ["undecided"] * len(truths)
    used = 0
    for number, used in enumerate(ends):  # noqa: B007  # how far it came is told
        for i, (looks, truth) in enumerate(zip(evaluated, truths, strict=True)):
            slack = looks[number]
            now = judged(slack._replace(value=slack.value + truth), "at_most", 0.0, criticals[number])
            standings[i] = after(standings[i], now)
        if overall(standings) != "undecided":
            break
    return overall(standings), used


def wrong(noise: str, m: int, ends: tuple[int, ...], runs: int, seed: int) -> dict[str, float]:
    """How often a trial of m constraints is wrongly met and wrongly violated, where one constraint or all are at the edge."""
    rng = np.random.default_rng(seed)
    all_of_them = evaluations(noise, ends, runs * m, rng)
    first_error = float(np.median([each[0].error for each in all_of_them[:100]]))
    counts = {f"wrongly {word}, {which}": 0 for word in ("met", "violated") for which in ("one", "all")}
    for run in range(runs):
        evaluated = all_of_them[run * m : (run + 1) * m]
        for word, side in (("met", -1.0), ("violated", 1.0)):
            edge = side * 1e-6 * first_error
            for which, rest in (("one", 50.0 * first_error), ("all", edge)):
                counts[f"wrongly {word}, {which}"] += trial(evaluated, [edge, *[rest] * (m - 1)], ends)[0] == word
    return {name: count / runs for name, count in counts.items()}


def decided(noise: str, m: int, ends: tuple[int, ...], runs: int, seed: int) -> tuple[float, float, float]:
    """The share of trials decided, their mean draws, and the share decided by one fixed test on as many (Bonferroni).

    Slacks are uniform within 6 errors of the first stage.
    """
    rng = np.random.default_rng(seed)
    all_of_them = evaluations(noise, ends, runs * m, rng)
    scale = 6.0 * float(np.median([each[0].error for each in all_of_them[:100]]))
    truths = rng.uniform(-scale, scale, (runs, m)).tolist()
    ours = [trial(all_of_them[run * m : (run + 1) * m], truths[run], ends) for run in range(runs)]
    draws = float(np.mean([used for _, used in ours]))
    once = (round(draws),)
    alone = evaluations(noise, once, runs * m, rng)
    criticals = fixed_criticals(0.95, m, "at_most")
    both = Criticals(criticals.violated, criticals.violated)
    theirs = [trial(alone[run * m : (run + 1) * m], truths[run], once, both)[0] for run in range(runs)]
    shares = [float(np.mean([each != "undecided" for each in found])) for found in ([each for each, _ in ours], theirs)]
    return shares[0], draws, shares[1]

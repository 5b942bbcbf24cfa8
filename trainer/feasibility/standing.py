"""Met, violated or undecided: what the estimate of a slack says of a requirement, with confidence.

A requirement asks that its slack be at least minus its tolerance (an equality: that it be no further from 0). Both answers are
one-sided tests against that edge, so a slack whose interval holds the edge is undecided:

met        the hypothesis "slack < -tolerance" is rejected. To call a trial met, each of its constraints is tested at the full
           level: all of them must be met, and if one is not, it alone is wrongly met that often (Berger 1982, Technometrics 24).
violated   "slack >= -tolerance" is rejected; one such constraint is enough, so the level is divided among them (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist
from typing import Literal, NamedTuple

from dualsweep.trainer.recipe.bound import Kind

Standing = Literal["met", "violated", "undecided"]
CONFIDENCE = 0.95


class Slack(NamedTuple):
    """The estimate of a slack, net of what a resilient budget has given way by.

    value, error   the estimate and its standard error, in the constraint's unit
    skewness       of the estimate's distribution: its third central moment over error^3, which falls as 1 / sqrt(draws)
    degrees        of freedom of the error (`dualsweep.trainer.evaluation.spread`)
    units          how many independent draws it rests on
    """

    value: float
    error: float
    skewness: float = 0.0
    degrees: float = math.inf
    units: int = 0


class Criticals(NamedTuple):
    """The standard normal scores beyond which a constraint counts as met and as violated."""

    met: float
    violated: float


def fixed_criticals(confidence: float, among: int, kind: Kind) -> Criticals:
    """Critical values of one look at a fixed number of draws, for one constraint `among` so many."""
    sides = 2 if kind == "equals" else 1
    quantile = NormalDist().inv_cdf
    return Criticals(quantile(confidence), -quantile((1.0 - confidence) / (sides * max(1, among))))


def score(distance: float, slack: Slack) -> float:
    """The standard normal score of an estimate that stands `distance` above a hypothesis' edge.

    The studentised mean of skewed values is skewed the other way; Hall's monotone cubic of it is normal up to 1 / draws
    (Hall 1992, J. R. Statist. Soc. B 54, eq. 2.3; its first terms are Johnson's 1978, J. Am. Statist. Assoc. 73). Wallace's
    approximation takes Student's t to a normal score (Wallace 1959, Ann. Math. Statist. 30).
    """
    if not slack.error:
        return math.inf if distance >= 0 else -math.inf
    t, a = distance / slack.error, slack.skewness
    t = t + a * t * t / 3.0 + a * a * t**3 / 27.0 + a / 6.0
    if math.isinf(slack.degrees) or math.isinf(t):
        return t
    v = slack.degrees
    return math.copysign((8 * v + 1) / (8 * v + 3) * math.sqrt(v * math.log1p(t * t / v)), t)


def judged(slack: Slack, kind: Kind, tolerance: float, criticals: Criticals) -> Standing:
    """What an estimate says of one constraint; undecided where it is not finite. Minimax requires nothing."""
    if kind == "minimax":
        return "met"
    if not (math.isfinite(slack.value) and math.isfinite(slack.error)):
        return "undecided"
    scores = [score(slack.value + tolerance, slack)]
    if kind == "equals":
        scores.append(score(tolerance - slack.value, slack._replace(skewness=-slack.skewness)))
    if min(scores) >= criticals.met:
        return "met"
    return "violated" if min(scores) <= -criticals.violated else "undecided"


def standing_of(
    slack: Slack, kind: Kind, tolerance: float, confidence: float = CONFIDENCE, among: int = 1
) -> Standing:  # fmt: skip
    """What one look at a fixed number of draws says of a constraint `among` so many."""
    return judged(slack, kind, tolerance, fixed_criticals(confidence, among, kind))


def overall(standings: Iterable[Standing]) -> Standing:
    """The standing of a whole trial: met where every constraint is, violated where one is."""
    found = set(standings)
    return "violated" if "violated" in found else "undecided" if "undecided" in found else "met"

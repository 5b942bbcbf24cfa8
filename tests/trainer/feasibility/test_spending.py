"""Critical values of several looks against simulated walks, and against the fixed test that they extend."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from dualsweep.trainer.feasibility.spending import boundaries, looks
from dualsweep.trainer.feasibility.standing import fixed_criticals


@pytest.mark.parametrize("level", [0.05, 0.005])
@pytest.mark.parametrize("ends", [(1, 2, 4, 8), (1, 3), (1, 1.9, 5.0, 5.5, 20.0)])
def test_each_look_rejects_as_often_as_was_spent_on_it(level: float, ends: tuple[float, ...]) -> None:
    shares = tuple(end / ends[-1] for end in ends)
    rng, runs = np.random.default_rng(0), 400_000
    walk = np.cumsum(rng.standard_normal((runs, len(ends))) * np.sqrt(np.diff(ends, prepend=0.0)), axis=1)
    crossed = walk / np.sqrt(ends) >= boundaries(level, shares)
    for number, share in enumerate(shares):
        spent = level * share**2
        assert abs(float(crossed[:, : number + 1].any(1).mean()) - spent) < 5 * np.sqrt(spent / runs)


def test_one_look_is_the_fixed_test_and_a_violation_divides_the_level_among_constraints_and_sides() -> None:
    assert boundaries(0.05, (1.0,)) == pytest.approx((NormalDist().inv_cdf(0.95),))
    assert looks(0.95, 3, "at_most", (1.0,)) == [fixed_criticals(0.95, 3, "at_most")]
    shares = (0.25, 1.0)
    for kind, sides in (("at_most", 1), ("equals", 2)):
        found = looks(0.95, 3, kind, shares)  # type: ignore[arg-type]  # the kinds above
        assert [each.met for each in found] == list(boundaries(1.0 - 0.95, shares))
        assert [each.violated for each in found] == list(boundaries((1.0 - 0.95) / (3 * sides), shares))

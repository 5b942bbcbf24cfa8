"""How many of a class remain when a share of it is kept. Plain Python: the checks use it before numpy is imported."""

from __future__ import annotations

import math


def portion(count: int, share: float) -> int:
    """floor(share * count), but at least 1 where both are positive.

    Down, as the reference counts have it: 10 % of 179 are 17. A share of a class never empties it; only 0 does.
    """
    if count == 0 or share == 0:
        return 0
    return max(1, math.floor(share * count + 1e-9))  # 0.29 * 100 is 28.999999999999996


def stays(count: int, holdout: float) -> int:
    """How many of `count` are trained on; the rest is held out. A class is never held out as a whole."""
    return portion(count, 1 - holdout)

"""The whole search over budgets, as pure functions of the trials so far: what to ask next, and whether to stop.

1. The base model, where its outcome is known, is a trial for free.
2. The tightest corner of the box comes first: it closes the band everywhere. Where it proves infeasible the box shrinks to
   what was attained there; where two trials fail there without an outcome, halfway to the loose end. With equalities, whose
   budgets have no tight end, the corners at both of their ends come first.
3. Then `placing.place`, at least `SPACING` of the box away from every other trial (nearer, noise would be bisected) and never
   at budgets all at least as tight as some that proved infeasible (for an equality: at the same value).
4. The end is reached where no trial could narrow the band by more than the tolerance; of many trials it is judged after some
   of them only (`judged_at`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from dualsweep.analysis.certified.axes import Box
from dualsweep.analysis.certified.band import Band, band
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.sweeps.dual_informed.placing import apart, candidates, place

#: The least distance of two trials, in units of the box; training lands about this near its budgets.
SPACING = 0.03
#: A trial that misses its budgets by more than this, in units of the box and beyond its errors, was infeasible.
MISSED = 0.1
_TRIES, _HALVINGS = 2, 6
#: Up to so many ended trials the end is judged after each; of more after each 2^k of them, a 16th to a 32nd of their number.
JUDGED_EACH_UP_TO, _PARTS = 128, 16


def judged_at(ended: int) -> int:
    """After how many trials, of those that have ended, the end was judged last.

    A verdict takes about the square of their number. At steps that grow with it a search asks for a 16th of its trials too many,
    at most, and the verdict's share of a suggestion stays well below a second.
    """
    step = 1 if ended <= JUDGED_EACH_UP_TO else 2 ** ((ended // _PARTS).bit_length() - 1)
    return ended - ended % step


@dataclass(frozen=True)
class StopDecision:
    """Whether the search is over, and why, in words.

    `gap` is the band's greatest width and `floor` the most that trials' errors make of it, as parts of the front's range; NaN
    before they are known.
    """

    stop: bool
    reason: str
    gap: float = np.nan
    floor: float = np.nan


@dataclass(frozen=True)
class History:
    """What happened: trials with outcomes, the first `free` of them models that were there before; budgets failed and pending."""

    trials: Observations
    failed: Vector
    pending: Vector
    free: int = 0

    @property
    def paid(self) -> int:
        """The number of trials that were asked for."""
        return len(self.taken) - self.free

    @property
    def taken(self) -> Vector:
        """All budgets [N, m] that were asked for."""
        return np.concatenate([self.trials.asked, self.failed, self.pending])


@dataclass(frozen=True)
class Search:
    """The search over a box; `z` standard errors of margin, `tolerance` as a part of the front's range, `ideal` <= any f."""

    box: Box
    z: float = 2.0
    tolerance: float = 0.05
    ideal: float = -np.inf
    seed: int = 0

    def ask(self, history: History) -> Vector:
        """The budgets [m] of the next trial."""
        tight = self._tight(history)
        for corner in self._corners(tight):
            if not self._reached(history, corner):
                return corner
        everything = candidates(self.box, self.seed)
        at = self._allowed(history, everything, tight)
        if not len(at) or not len(history.trials):  # all is taken, or nothing has come back: the loneliest place
            return np.asarray(everything[int(np.argmax(apart(self.box, everything, history.taken)))])
        widest = (history.paid + (history.free == 0)) % 2 == 0  # at once where nothing is known of the loose end
        return place(history.trials, history.pending, self.box, at, self.z, self.ideal, widest)

    def verdict(self, history: History) -> StopDecision:
        """Whether another trial could narrow the band by more than the tolerance; one that is still running has not yet."""
        history = replace(history, pending=history.pending[:0])
        tight = self._tight(history)
        if not len(history.trials) or not all(self._reached(history, each) for each in self._corners(tight)):
            return StopDecision(False, "the band is open: the tightest budgets were not reached yet")
        everything = candidates(self.box, self.seed)
        sides = band(history.trials, everything, self.z, self.ideal)
        known = np.isfinite(sides.gap)
        if not known.any():
            return StopDecision(False, "the band is open: nothing was attained within the box yet")
        span = max(float(sides.upper[known].max() - sides.lower[known].min()), 1e-300)
        gap, floor = float(sides.gap[known].max()) / span, float(sides.floor[known].max()) / span
        within = f"{gap:.3g} of the front's range at its widest" + _if_converged(sides)
        if gap <= self.tolerance:
            return StopDecision(
                True, f"the band is narrower than the tolerance: {within}, tolerance {self.tolerance:g}", gap, floor
            )
        if float(sides.reducible.max()) / span <= self.tolerance:
            reason = f"the band is at its noise floor: {within}, where trials' own errors leave up to {floor:.3g}"
            reason += "; trials measured better would narrow it, more of them hardly"
            return StopDecision(True, reason, gap, floor)
        if not len(self._allowed(history, everything, tight)):
            return StopDecision(
                True, f"no budgets are left {SPACING:g} of the box from every trial; the band is {within}", gap, floor
            )
        return StopDecision(False, f"the band is {within}, tolerance {self.tolerance:g}", gap, floor)

    def _corners(self, tight: Vector) -> list[Vector]:
        ends = [(0.0, 1.0) if axis.sense == "equals" else (low,) for axis, low in zip(self.box.axes, tight, strict=True)]
        return list(self.box.to_budgets(np.array(list(itertools.product(*ends)))))

    def _reached(self, history: History, corner: Vector) -> bool:
        """Whether a trial attained it, was asked for it with an outcome, or is on its way."""
        trials, near = history.trials, self.box.to_units(corner[None]) + SPACING
        attained = self.box.to_units(trials.attained)
        within = np.where(self.box.signed, np.abs(attained - near + SPACING) <= SPACING, attained <= near).all(axis=1)
        asked = np.concatenate([trials.asked, history.pending])
        return bool(within.any() or (len(asked) and apart(self.box, corner[None], asked)[0] < SPACING))

    def _missed(self, trials: Observations) -> np.ndarray:
        """By how much more than error and landing each trial [n, m] misses its budgets, in units; 0 where it does not."""
        beyond = self.box.to_units(trials.attained - self.z * trials.attained_errors) - self.box.to_units(trials.asked)
        return np.where(self.box.signed | (beyond <= MISSED), 0.0, beyond)

    def _tight(self, history: History) -> Vector:
        """The tight corner in units [m]: 0, or looser where that proved infeasible.

        At one value of an equality that proves nothing of the others, so beside equalities no outcome moves it.
        """
        tight, trials = np.zeros(len(self.box.axes)), history.trials
        missed, attained = self._missed(trials), self.box.to_units(trials.attained)
        for _ in range(_HALVINGS):
            corner = self.box.to_budgets(tight[None])
            there = np.flatnonzero((apart(self.box, trials.asked, corner) < SPACING) & missed.any(axis=1))
            if len(there) and not self.box.signed.any():
                best = there[int(np.argmin(missed[there].max(axis=1)))]
                moved = np.where(missed[best] > 0, np.clip(attained[best], tight, 1.0), tight)
            elif (apart(self.box, history.failed, corner) < SPACING).sum() >= _TRIES:
                moved = np.where(self.box.signed, 0.0, tight + 0.5 * (1.0 - tight))
            else:
                break
            tight = moved
        return tight

    def _allowed(self, history: History, at: Vector, tight: Vector) -> Vector:
        """Which budgets `at` keep their distance, lie in the shrunk box and are not known to be infeasible."""
        trials = history.trials
        infeasible = trials.asked[self._missed(trials).any(axis=1)]
        beyond = at[:, None, :] - infeasible[None, :, :]
        as_tight = np.where(self.box.signed, np.abs(beyond), beyond) <= 1e-12  # of an equality at the same value only
        hopeless = np.any(np.all(as_tight, axis=2), axis=1)
        inside = np.all(self.box.to_units(at) >= tight - 1e-9, axis=1)
        return np.asarray(at[inside & ~hopeless & (apart(self.box, at, history.taken) >= SPACING)])


def _if_converged(sides: Band) -> str:
    """What contradicts the certificate, in words; empty where nothing does."""
    if sides.agreed is None or not sides.agreed.contradictions:
        return ""
    count = len(sides.agreed.contradictions)
    return f" if the trainings converged, which {count} of their planes {'contradicts' if count == 1 else 'contradict'}"

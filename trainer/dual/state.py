"""What the dual side remembers: one frozen record, checked on construction, stored inside every checkpoint."""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.dual.memory import blank
from dualsweep.trainer.dual.problem import Booleans, ConstrainedProblem, Estimate, Vector
from dualsweep.trainer.recipe.dual import Dual

Integers = NDArray[np.int64]
#: Blocks of a fifth of the run, from whose means the error of the settled multipliers is told.
BLOCKS = 4
#: A target so near to 0 is there: it is a sum of a multiplier and a step.
_AT_BOUND = 1e-12
#: Fifths of the run whose sums are kept: in the first the primal is still learning.
FIFTHS = 4


@dataclass(frozen=True)
class SlackReport:
    """One worker's sums over the primal steps of one dual step: per-sample losses of objective and constraints.

    `count`, `total` and `squares` have shape [1 + m] (objective first). Sums, not means: shards are unequal. `products`
    [1 + m, 1 + m] are the sums over samples of x_i x_j, for expectations measured on the same samples; NaN for other
    pairs, None where there are none. `neighbours` [2, 1 + m] are the numbers and sums of squared differences of neighbours,
    of draws that are one of each stratum. Of a batch that several workers share, where neighbours are others', `draws` [4, n] has
    each draw's step, position in the batch, expectation and value instead.
    """

    step: int
    rank: int
    count: Vector
    total: Vector
    squares: Vector
    products: Vector | None = None
    neighbours: Vector | None = None
    draws: Vector | None = None


@dataclass(frozen=True)
class Tail:
    """Sums over the dual steps of one fifth of a run, for the verdict whether it settled.

    `counts` [BLOCKS] and `blocks` [BLOCKS, m] are the steps and the multipliers' sums of its successive blocks; `targets` those
    of `Move.target`, 0 where the rule has none and NaN of a warm-up; `zeros` [m] counts the steps at which each multiplier or
    its target was 0.
    """

    steps: int
    objective: float
    slacks: Vector
    slack_squares: Vector
    multipliers: Vector
    counts: Integers
    blocks: Vector
    zeros: Integers
    targets: Vector

    @classmethod
    def empty(cls, constraints: int) -> Self:
        zeros, none = np.zeros(constraints), np.zeros(constraints, dtype=np.int64)
        blocks = np.zeros((BLOCKS, constraints))
        return cls(0, 0.0, zeros, zeros, zeros, np.zeros(BLOCKS, dtype=np.int64), blocks, none, blocks)

    def add(self, objective: float, slacks: Vector, multipliers: Vector, share: float, target: Vector | None = None) -> Tail:
        """The tail with one more dual step, at `share` in [0, 1] of the fifth."""
        here = np.arange(BLOCKS) == min(BLOCKS - 1, int(share * BLOCKS))
        at_bound = False if target is None else np.abs(target) <= _AT_BOUND
        aim = np.zeros(len(multipliers)) if target is None else target
        return Tail(
            self.steps + 1,
            self.objective + objective,
            self.slacks + slacks,
            self.slack_squares + slacks**2,
            self.multipliers + multipliers,
            self.counts + here,
            self.blocks + np.where(here[:, None], multipliers, 0.0),
            self.zeros + ((multipliers == 0) | at_bound),
            self.targets + np.where(here[:, None], aim, 0.0),
        )

    @property
    def whole(self) -> bool:
        """Whether every block has steps, and no step of before there were blocks."""
        return bool(self.counts.all()) and int(self.counts.sum()) == self.steps

    @classmethod
    def from_json(cls, plain: dict[str, Any], size: int) -> Self:
        """One of before there were blocks or targets has none; of twice as many blocks as now, two make one."""
        empty = vars(cls.empty(size)) | {"targets": np.full((BLOCKS, size), np.nan)}
        unwritten = {name: empty[name] for name in ("counts", "blocks", "zeros", "targets")}
        values = {**unwritten, **{key: unpack(plain[key]) for key in plain}}
        for name in ("counts", "blocks"):
            written = values[name]
            values[name] = written.reshape(BLOCKS, len(written) // BLOCKS, *written.shape[1:]).sum(axis=1)
        return cls(**values)


@dataclass(frozen=True)
class DualState:
    """Everything that a dual step reads and writes; m is the number of constraints.

    version        dual steps taken; the multipliers in use at a primal step are those of a known version (`version_at`)
    multipliers    lambda [m] of this version, inside their domain
    applied        what primal steps of this version use [m]: lambda, but for the augmented Lagrangian [lambda - rho s]_+
    previous       what those of the version before use [m]
    signed         which multipliers may be negative [m]: those of equalities
    memory         the rule's memory [m] or [k, m]
    average        exponential average of the slacks [m]; NaN before the first report
    means, errors  the last reduced means [1 + m] and the standard errors of the slacks [m]
    at_cap         dual steps in a row that each multiplier was at its limit with its constraint violated [m]
    skipped        dual steps, in all, that left each multiplier alone because its value was missing or not finite [m]
    skipped_in_a_row
    tails          the sums of the last `FIFTHS` fifths of the run
    """

    version: int
    multipliers: Vector
    applied: Vector
    previous: Vector
    signed: Booleans
    memory: Vector
    average: Vector
    means: Vector
    errors: Vector
    at_cap: Integers
    skipped: Integers
    skipped_in_a_row: int
    tails: tuple[Tail, ...]

    def __post_init__(self) -> None:
        for name in ("multipliers", "applied", "previous"):
            value = getattr(self, name)
            if not (np.isfinite(value).all() and ((value >= 0) | self.signed).all()):
                raise ValueError(f"`{name}` must be finite and >= 0, but got {value}; the last checkpoint holds good ones")

    @classmethod
    def first(cls, problem: ConstrainedProblem, dual: Dual) -> Self:
        """The state before the first dual step of a rule: at its starting multipliers, projected, with a blank memory."""
        size = len(problem.names)
        start = [dual.start[name] for name in problem.names] if isinstance(dual.start, dict) else [dual.start] * size
        multipliers = problem.project(np.array(start, dtype=np.float64), dual.cap)
        return cls.beginning(problem, multipliers, blank(dual.rule, size))

    @classmethod
    def beginning(cls, problem: ConstrainedProblem, multipliers: Vector, memory: Vector) -> Self:
        """The state before the first dual step, at these multipliers [m]."""
        size = len(problem.names)
        unknown, none = np.full(size, np.nan), np.zeros(size, dtype=np.int64)
        empty = Tail.empty(size)
        return cls(
            version=0, multipliers=multipliers, applied=multipliers, previous=multipliers, signed=problem.signed,
            memory=memory, average=unknown, means=np.full(1 + size, np.nan), errors=unknown, at_cap=none,
            skipped=none, skipped_in_a_row=0, tails=(empty,) * FIFTHS,
        )  # fmt: skip

    def skipping(self) -> Self:
        """After a dual step without a usable value: every multiplier stays exactly as it is."""
        return replace(
            self.with_multipliers(self.multipliers, self.applied),
            version=self.version + 1,
            skipped=self.skipped + 1,
            skipped_in_a_row=self.skipped_in_a_row + 1,
        )

    def measuring(self, problem: ConstrainedProblem, estimate: Estimate) -> Self:
        """After a dual step that measured this."""
        return replace(
            self,
            version=self.version + 1,
            means=estimate.mean,
            errors=problem.slack_errors(estimate),
            skipped=self.skipped + ~np.isfinite(problem.slacks(estimate.mean)),
            skipped_in_a_row=0,
        )

    def tails_with(
        self, total: int, objective: float, slacks: Vector, multipliers: Vector, target: Vector | None = None
    ) -> tuple[Tail, ...]:  # fmt: skip
        """The sums with the present dual step of `total`; a step without finite values adds nothing."""
        tails = list(self.tails)
        place = 5 * self.version / max(1, total)
        fifth = min(4, int(place))
        if fifth >= 5 - FIFTHS and np.isfinite(objective) and np.isfinite(slacks).all():
            tails[fifth - 5] = tails[fifth - 5].add(objective, slacks, multipliers, place - fifth, target)
        return tuple(tails)

    def to_json(self) -> dict[str, Any]:
        """Plain data from which `from_json` restores every bit."""
        plain = {each.name: pack(getattr(self, each.name)) for each in fields(self) if each.name != "tails"}
        return {**plain, "tails": [{each.name: pack(getattr(tail, each.name)) for each in fields(tail)} for tail in self.tails]}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """Restores it; a checkpoint of before kept the last two fifths only."""
        values = {key: unpack(value) for key, value in plain.items() if key != "tails"}
        size = len(values["multipliers"])
        tails = [Tail.from_json(tail, size) for tail in plain["tails"]]
        return cls(**values, tails=(*[Tail.empty(size)] * (FIFTHS - len(tails)), *tails))

    def with_multipliers(self, multipliers: Vector, applied: Vector | None = None) -> Self:
        """The state with the next version's multipliers, which primal steps apply as they are unless `applied` is given."""
        used = multipliers if applied is None else applied
        return replace(self, multipliers=multipliers, applied=used, previous=self.applied)


def version_at(step: int, every: int, staleness: int) -> int:
    """The dual version whose multipliers are used at primal step `step` (counted from 0).

    Dual step j is taken on the reports of primal steps (j - 1) every .. j every - 1, and its multipliers are first used
    at primal step j every + staleness: 0 waits for the coordinator, 1 lets it work during one primal step.
    """
    return max(0, step - staleness) // every


def pack(value: Any) -> Any:
    """A number or array as plain JSON data that keeps every bit."""
    if isinstance(value, np.ndarray):
        data = base64.b64encode(value.tobytes()).decode()
        return {"dtype": str(value.dtype), "shape": list(value.shape), "data": data, "reads": value.tolist()}
    return value.hex() if isinstance(value, float) else value


def unpack(value: Any) -> Any:
    """What `pack` packed."""
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["data"]), dtype=value["dtype"]).reshape(value["shape"]).copy()
    return float.fromhex(value) if isinstance(value, str) else value

"""What a run starts from in place of new weights and multipliers: another run of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field, FiniteFloat, create_model

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Name, Section

if TYPE_CHECKING:
    from dualsweep.trainer.recipe.bound import Bound
    from dualsweep.trainer.recipe.dual import Dual

# `from` is a word of Python's, so the field is made by its name.
_From: type[Section] = create_model(
    "_From",
    __base__=Section,
    **{
        "from": (
            str,
            Field(
                min_length=1, examples=["runs/digits-minority"],
                description="a run's output or a checkpoint of ours, a folder or URI; its weights, averaged weights and the "
                "optimiser's moments are taken over, its steps are not",
            ),
        )
    },
)  # type: ignore[call-overload]  # fmt: skip


class Start(_From):
    """A finished run or a checkpoint to start from, at step 0 of this recipe's own schedule."""

    multipliers: dict[Name, FiniteFloat] = Field(
        {}, description="the first multipliers by constraint; those that are left out are the ones at which that run settled",
        examples=["{four: 0.31}"],
    )  # fmt: skip

    @property
    def place(self) -> str:
        """The run's output or checkpoint."""
        found: str = getattr(self, "from")
        return found


def check_start(start: Start, bounds: Mapping[str, Bound], dual: Dual, simplex: bool) -> None:
    """Refuses first multipliers that the recipe's constraints or its dual rule cannot have.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    given = start.multipliers
    if not given:
        return
    if dual.rule == "fixed":
        raise RuleError(
            "start.multipliers",
            "must be left out with rule fixed, whose multipliers are dual.start",
            given,
            "write dual.start",
        )
    for name, multiplier in given.items():
        if name not in bounds:
            raise RuleError("start.multipliers", "must name constraints", name, f"write a number for some of {list(bounds)}")
        if multiplier < 0 and bounds[name].kind != "equals":
            raise RuleError(
                f"start.multipliers.{name}", "must be >= 0", multiplier, "only the multiplier of `equals` may be negative"
            )
    if simplex and (set(given) != set(bounds) or abs(sum(given.values()) - 1.0) > 1e-6):
        raise RuleError(
            "start.multipliers",
            "must be a weight for each constraint, with sum 1, where the largest value is minimised",
            given,
            "leave them out to go on from that run's own",
        )

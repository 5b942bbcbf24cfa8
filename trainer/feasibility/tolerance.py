"""How far a constraint may miss its budget and still count as met.

At an optimum a budget that binds has slack 0, so without a tolerance a perfect model could never be shown to meet it.
"""

from __future__ import annotations

from typing import NamedTuple

#: The default tolerance: of the searched range, else of the budget's absolute value.
SHARE = 0.02
#: Of a budget of 0 relative to the objective: this share of the objective.
OF_OBJECTIVE = 0.01
#: Of a normalised reward, in standard deviations under the pretrained model.
NORMALISED = 0.05


class Tolerance(NamedTuple):
    """`amount` in the constraint's unit, or with `of_objective` a share of the objective's absolute value."""

    amount: float
    of_objective: bool = False

    def at(self, objective: float) -> float:
        """The tolerance in the constraint's unit where the objective has this value."""
        return self.amount * abs(objective) if self.of_objective else self.amount

    def __str__(self) -> str:
        return f"{100 * self.amount:g} % of the objective" if self.of_objective else f"{self.amount:.3g}"

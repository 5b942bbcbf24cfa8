"""The final evaluation: values on more and more draws, until they are enough or the recipe's cap is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.evaluation.drawn import DrawnValues
from dualsweep.trainer.evaluation.values import expectations
from dualsweep.trainer.feasibility.deciding import Deciding, Decision
from dualsweep.trainer.sources.base import Source


@dataclass(frozen=True)
class Final:
    """All that was drawn, on the data trained on and on held-out data, and what it decided."""

    trained: DrawnValues
    held_out: DrawnValues
    decision: Decision

    @property
    def enough(self) -> bool:
        """Whether more draws are of no use: it is decided, and each share among some prompts has had a draw of one of them."""
        return self.decision.final and all(draws.counts.all() for draws in self.trained.sets)


def final_values(sources: Sequence[Source], coefficients: Vector, host: Host, deciding: Deciding) -> Final | None:
    """The final values of the present model, from all workers; on rank 0 only, whose decision all workers follow.

    Held-out data are as many images as there are: where these do not decide, they are drawn once.
    """
    final, start = None, 0
    for number, end in enumerate(deciding.ends):
        draws, again = range(start, end), deciding.on_held_out or not number
        trained = expectations(sources, coefficients, host, draws)
        held_out = expectations(sources, coefficients, host, draws, held_out=True) if again else None
        if trained is not None:
            final = _joined(final, trained, held_out, deciding, number)
        start = end
        if host.agree(int(final is not None and final.enough)):
            break
    return final


def _joined(
    before: Final | None, trained: DrawnValues, held_out: DrawnValues | None, deciding: Deciding, number: int
) -> Final:  # fmt: skip
    if before is None:
        assert held_out is not None  # the first stage draws both
        before = Final(trained, held_out, deciding.first())
    else:
        held_out = before.held_out if held_out is None else before.held_out.joined(held_out)
        before = replace(before, trained=before.trained.joined(trained), held_out=held_out)
    return replace(before, decision=deciding.look(before.decision, number, before.trained, before.held_out))

"""What held-out data say of a constraint beside the data that were trained on."""

from __future__ import annotations

from dataclasses import dataclass

from dualsweep.trainer.feasibility.standing import Standing


@dataclass(frozen=True)
class HeldOut:
    """The slack on held-out data, its standard error over images, their number, and what this alone says of the constraint."""

    slack: float
    error: float
    images: int
    standing: Standing

    def __str__(self) -> str:
        return f"held out: {self.standing} ({self.images} images, {self.slack:+.2g} ± {self.error:.1g})"

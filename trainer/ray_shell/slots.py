"""The slots that one trial's process has, one after another."""

from __future__ import annotations

from dualsweep.trainer.ray_shell.slot import FRESH, Renewal, Slot
from dualsweep.trainer.recipe.run import Resources


class Slots:
    """The slot that one trial after another is trained on, renewed where that is due: at most one is there at a time."""

    def __init__(self, renewal: Renewal = FRESH) -> None:
        self._renewal = renewal
        self._slot: Slot | None = None

    def taking(self, resources: Resources) -> Slot | None:
        """The slot that is there, for another training of these resources; None where a new one is needed, and its place free."""
        if self._slot is not None and not self._slot.takes(resources):
            self.end()
        return self._slot

    def start(self, resources: Resources, workers: int, storage: str) -> Slot:
        """A new slot of so many workers, where none is there."""
        self._slot = Slot(resources, workers, storage, self._renewal)
        return self._slot

    def end(self) -> None:
        """Ends the slot that is there."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.end()

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.kill()

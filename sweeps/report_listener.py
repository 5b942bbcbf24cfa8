"""Who asked, from Python, to hear of every report of a sweep's trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dualsweep.trainer.metric_point import Payload

#: What a training reports; Ray Tune adds keys of its own.
_KEYS = ("step", "steps", "seconds", "phase", "phase_share", "points", "result")
OnReport = Callable[[Payload], None]


def nobody(payload: Payload) -> None:
    """Hears of nothing."""


class ReportListener:
    """Passes reports on, each with the name of its training; `raised` is what the listener raised, which ends the sweep."""

    def __init__(self, on_report: OnReport) -> None:
        self._on_report = on_report
        self.raised: BaseException | None = None

    def hear(self, name: str, payload: Mapping[str, Any]) -> None:
        """Passes on a report of the training `name`: 0003, 0003-seed-1 of one of several, or amortised."""
        try:
            self._on_report({"trial": name} | {key: payload[key] for key in _KEYS if key in payload})
        except BaseException as error:
            self.raised = error
            if isinstance(error, Exception):
                raise
            # Tune ends in order for an error alone: what ends a process would leave the trainings' processes behind.
            raise RuntimeError(f"the listener raised {type(error).__name__}") from error

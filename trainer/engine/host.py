"""What the worker loop is handed by whoever started it. The loop knows nothing else of where it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import Coordinator
from dualsweep.trainer.metric_point import Payload


class Host(Protocol):
    """Rank and world, where to compute, whom to report to, where checkpoints lie.

    `report` must be called by all workers the same number of times. It returns how many of the points `made` so far are
    acknowledged, kept where no kill reaches them; None where all are, or the worker's payload does not count. `gather` brings
    the bytes that every rank passes to rank 0 (None elsewhere); `agree` gives every rank the number that rank 0 passed; `total`
    the sum over ranks of a tensor. `observed` takes figures of how the loop runs, the newest of each name
    (`trainer/ray_shell/live_metrics.py`).
    """

    rank: int
    world: int
    device: torch.device
    coordinator: Coordinator
    checkpoints: CheckpointFolder
    observed: dict[str, float]

    def report(self, payload: Payload) -> int | None: ...

    def gather(self, own: bytes) -> list[bytes] | None: ...

    def agree(self, number: int) -> int: ...

    def total(self, tensor: Tensor) -> Tensor: ...


@dataclass
class LocalHost:
    """One worker in this very process: for tests, benchmarks and notebooks."""

    coordinator: Coordinator
    checkpoints: CheckpointFolder
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1
    reports: list[Payload] = field(default_factory=list)
    observed: dict[str, float] = field(default_factory=dict)

    def report(self, payload: Payload) -> int | None:
        self.reports.append(payload)
        return None

    def gather(self, own: bytes) -> list[bytes] | None:
        return [own]

    def agree(self, number: int) -> int:
        return number

    def total(self, tensor: Tensor) -> Tensor:
        return tensor

"""Receipts: a report says where to answer that its points are kept. Until then its workers keep them, and their checkpoints."""

from __future__ import annotations

import contextlib

import ray
from ray.exceptions import RayError

from dualsweep.trainer.metric_point import Payload

_RECEIPT = "receipt"


def with_receipt(payload: Payload, actor: str, training: int) -> Payload:
    """A report with what `acknowledge` needs: the name of the slot's actor, the training there, and the points made so far."""
    return {**payload, _RECEIPT: (actor, training, payload["made"])}


def acknowledge(payload: Payload) -> None:
    """The points of a report, and all before them, are where no kill reaches them; to be called in any process of the job.

    Waits for nothing. Where the slot has ended nobody needs to know, and the points come again from its last checkpoint.
    """
    if _RECEIPT in payload:
        actor, training, made = payload[_RECEIPT]
        with contextlib.suppress(ValueError, RayError):
            ray.get_actor(actor).acknowledge.remote(training, made)

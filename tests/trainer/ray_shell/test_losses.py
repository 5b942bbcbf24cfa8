"""The death of a process, as Ray, Train and torch tell of it, is told apart from an error of the code."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, GetTimeoutError, LocalRayletDiedError, RayTaskError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from dualsweep.trainer.ray_shell.slot import SlotLostError
from dualsweep.trainer.ray_shell.training_handle import is_loss

OWN = ValueError("this model takes zeros only")
GLOO = RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711")


def task(cause: Exception) -> RayTaskError:
    return RayTaskError("exchange", f"Traceback\n{cause}", cause)


@pytest.mark.parametrize(
    ("error", "loss"),
    [
        (ActorDiedError(), True),
        (GetTimeoutError("60 s"), True),
        (LocalRayletDiedError(), True),
        (SlotLostError("nothing was heard"), True),
        (task(ActorDiedError()), True),
        (task(OWN), False),
        (WorkerGroupError("", {0: OWN}), False),
        (WorkerGroupError("", {0: GLOO}), True),
        (WorkerGroupError("", {0: OWN, 1: WorkerHealthCheckFailedError("", ActorDiedError())}), True),
        (WorkerGroupError("", {0: task(OWN)}), False),
        (ControllerError(ActorDiedError()), True),
        (ControllerError(OWN), False),
        (TrainingFailedError("no reason"), True),
        (OWN, False),
        (None, False),
    ],
    ids=str,
)
def test_losses(error: Exception | None, loss: bool) -> None:
    assert is_loss(error) is loss

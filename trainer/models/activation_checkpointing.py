"""Activations computed again in the backward pass instead of kept (Chen et al. 2016, arXiv 1604.06174)."""

from __future__ import annotations

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.predictor import Predictor


def checkpoint_activations(predictor: Predictor) -> None:
    """From now on the network keeps only what each of its blocks is given.

    Raises:
        TrainingError: the network cannot be divided into blocks from outside.
    """
    network = predictor.inner
    enable = getattr(network, "enable_gradient_checkpointing", None)
    try:
        if enable is None:
            raise ValueError("it has no method enable_gradient_checkpointing()")
        enable()
    except ValueError as error:
        raise TrainingError(
            "train.checkpointing must go with a network that checkpoints its own blocks, as those of diffusers do (one that is "
            f"checkpointed as a whole saves nothing), but got a {type(network).__name__} ({error}); give it that method, or drop "
            "checkpointing and write train.accumulate"
        ) from error

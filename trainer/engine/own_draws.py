"""What a user's own parts draw by themselves, by the generators that the process has for everyone."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from dualsweep.trainer.rng import Stream, generator

#: When they draw: data and models as they are built, judges and metrics at the end.
Phase = Literal["preparation", "evaluation"]


@contextlib.contextmanager
def own_draws(seed: int, phase: Phase) -> Iterator[None]:
    """Within it torch's, numpy's and Python's draws follow `seed` alone: not what this process has trained before, nor its rank.

    Their states on the CPU come back afterwards, as the process may be the user's.
    """
    drawn = generator(seed, Stream.OWN_PARTS, int(phase == "evaluation"))
    ours, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(drawn.integers(2**63)))
        np.random.seed(int(drawn.integers(2**32)))
        random.seed(int(drawn.integers(2**63)))
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(numpys)

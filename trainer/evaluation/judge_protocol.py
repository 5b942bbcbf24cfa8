"""What classifies and embeds samples, as metrics ask it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.errors import BadPartError
from dualsweep.trainer.evaluation.images import CHUNK, Rows
from dualsweep.trainer.memory import ran_out


class Judge(Protocol):
    """What metrics ask; a user's own judge has these two methods."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The embedding [B, F] of images x [B, *shape] in [-1, 1]."""
        ...

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """The class probabilities [B, K] of images x [B, *shape] in [-1, 1], in the order of the data's classes."""
        ...


def embed(judge: Judge, images: Rows) -> NDArray[np.float64]:
    """The judge's features [N, F], float64.

    Raises:
        TrainingError: the judge fails, or returns something other than finite [B, F].
    """
    return _asked(judge, "features", images)


def classify(judge: Judge, images: Rows) -> NDArray[np.float64]:
    """The judge's class probabilities [N, K], float64.

    Raises:
        TrainingError: the judge fails, or returns something other than finite [B, K].
    """
    return _asked(judge, "probabilities", images)


@torch.no_grad()
def _asked(judge: Judge, method: str, images: Rows) -> NDArray[np.float64]:
    answers = []
    for chunk in images.chunks(CHUNK):
        try:
            answer = getattr(judge, method)(chunk)
        except Exception as error:
            if ran_out(error):
                raise
            rule, remedy = f"the judge's {method}(x) must not fail", f"fix {type(judge).__name__}.{method}"
            raise BadPartError(rule, f"{type(error).__name__}: {error}", remedy) from error
        if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or len(answer) != len(chunk):
            received = f"shape {list(answer.shape)}" if isinstance(answer, torch.Tensor) else f"a {type(answer).__name__}"
            rule = f"the judge's {method}(x) must be a tensor [{len(chunk)}, any] for x of {list(chunk.shape)}"
            raise BadPartError(rule, received, f"fix {type(judge).__name__}.{method}")
        answers.append(answer.double().cpu().numpy())
    result = np.concatenate(answers)
    if not np.isfinite(result).all():
        wrong = int((~np.isfinite(result)).any(axis=1).sum())
        received, remedy = f"NaN or infinity for {wrong} of {len(result)} images", f"fix {type(judge).__name__}.{method}"
        raise BadPartError(f"the judge's {method}(x) must be finite", received, remedy)
    return result

"""What a metric is given, and how it says that it cannot be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.evaluation.images import Integers, Rows
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.evaluation.variants import ALONE, Variants


@dataclass(frozen=True)
class Evidence:
    """The samples of a trained model, and what they are compared with.

    samples      [N, *shape] in [-1, 1]
    training     the images the model was trained on
    everything   all the data, before any thinning: the reference of the Fréchet distance
    held_out     images never trained on, of each class the share that training keeps of it; or None
    judge        what classifies and embeds, or None for data without labels
    class_names  of the judge's K classes, in order; empty for data without labels
    asked        [N] the number of the class that each sample was asked for; None of a model that is given none
    variants     what each training image may be trained on as: mirrored, shifted
    """

    samples: torch.Tensor
    training: Rows
    everything: Rows
    held_out: Rows | None
    judge: Judge | None
    class_names: tuple[int | str, ...]
    asked: Integers | None = None
    variants: Variants = ALONE

    @classmethod
    def of(
        cls, samples: torch.Tensor, data: Assembled, judge: Judge | None, variants: Variants, asked: Integers | None = None
    ) -> Evidence:  # fmt: skip
        """Of samples [N, *shape] of a model that is trained on `data`."""
        everything, held_out = data.split.examples, data.split.held_out_objective
        return cls(
            samples, Rows(data.examples, np.unique(np.concatenate(data.rows))), Rows(everything, np.arange(len(everything))),
            Rows(everything, held_out) if len(held_out) else None, judge, everything.class_names, asked, variants,
        )  # fmt: skip


Metric = Callable[[Evidence], dict[str, float]]


class NotMeasured(Exception):  # noqa: N818  # an outcome, not an error
    """Raised by a metric that this evidence does not allow; its text is the reason, and the run goes on without it."""


def needed_judge(evidence: Evidence) -> Judge:
    """The judge.

    Raises:
        NotMeasured: there is none.
    """
    if evidence.judge is None:
        raise NotMeasured(
            "it needs a judge, and the data have no labels of two classes or more to train one on; give the data labels, or "
            "bring your own judge with evaluation.judge.call"
        )
    return evidence.judge

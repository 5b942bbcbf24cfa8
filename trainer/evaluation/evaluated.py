"""What is evaluated of a training: its model and its terms, and what they are measured with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from diffusers import DDPMScheduler

from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.engine.primal import Primal
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.evaluation.variants import Variants
from dualsweep.trainer.feasibility.deciding import Deciding
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.evaluation import Evaluation
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.sources.base import Source


@dataclass(frozen=True)
class Evaluated:
    """One worker's part of what is evaluated.

    problem     which values are constrained, and how
    primal      the model, of which the averaged weights are measured
    sources     the terms, with the draws of their own
    host        the worker
    seed, evaluation, sampling   of the recipe
    deciding    the tests of the constraints, none of whose budgets has given way yet
    schedule, shape, space   of the diffusion; `shape` is in its `space`
    data        None of a recipe without data
    variants    what an image of the data may be trained on as
    judge       the judge of the samples, trained when first asked for; None for data without two classes
    """

    problem: ConstrainedProblem
    primal: Primal
    sources: Sequence[Source]
    host: Host
    seed: int
    evaluation: Evaluation
    sampling: Sampling
    deciding: Deciding
    schedule: DDPMScheduler
    shape: tuple[int, ...]
    space: Space
    data: Assembled | None
    variants: Variants
    judge: Callable[[], Judge | None] = field(repr=False)

"""What a term and its source may use when they are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.evaluation.calibrated_judge import CalibratedJudge
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.models.predictor import OfExamples, Predictor
from dualsweep.trainer.models.spaces import Pixels, Space
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.evaluation import Evaluation
from dualsweep.trainer.recipe.product import Product
from dualsweep.trainer.recipe.rollout import Rollout
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.rng import Stream, in_turn, normals
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.rollout import Predict, roll_out
from dualsweep.trainer.sources.step_multipliers import StepMultipliers


@dataclass(frozen=True)
class TermContext:
    """seed, train, rollout, product, evaluation: of the recipe. normalization_samples: how many give the scales of rewards.

    shape: of the diffusion, in its `space`.

    predict: the trained model with its present weights, (x [B, *shape], t [B]) -> [B, *shape].

    prompts: the texts of which each trajectory has one; none for models without. of_examples: these are classes or captions, and
    each example is given its own; has_unconditional: the model also predicts without.

    multipliers: which ones the samples of a step have.

    anchor: the column of the KL whose optimum is the tilted reference, and the frozen model that it is to; None without one.

    together: all workers must ask each model equally often, in the same order, as each of them has a part of its weights.

    frozen: models by name, in evaluation mode, without gradients to their weights. judge: trained when first asked for, as are
    those of shares.
    """

    seed: int
    train: Train
    rollout: Rollout
    product: Product
    evaluation: Evaluation
    normalization_samples: int
    shape: tuple[int, ...]
    schedule: DDPMScheduler
    host: Host
    multipliers: StepMultipliers
    predict: Predict
    frozen: Mapping[str, Predictor]
    judge: Callable[[], Judge | None] = field(repr=False)
    judge_of_shares: Callable[[Share], CalibratedJudge] = field(repr=False)
    class_names: tuple[ClassName, ...] = ()
    guided: Predict | None = None
    space: Space = field(default_factory=Pixels)
    prompts: tuple[str, ...] = ()
    anchor: tuple[int, str] | None = None
    of_examples: OfExamples = ""
    has_unconditional: bool = False
    together: bool = False

    @property
    def sampling(self) -> Predict:
        """What trajectories ask: the trained model's guided prediction, where it has guidance."""
        return self.guided or self.predict

    @cached_property
    def pretrained_samples(self) -> Tensor:
        """Samples [N, *decoded shape] of the pretrained model by the sampler of rollouts: what rewards are normalised by.

        The prompts have their turns as in final values.
        """
        spec, count = self.rollout, self.normalization_samples
        steps = steps_of(self.schedule, spec.steps, spec.eta)
        samples, model = [], self.frozen["pretrained"]
        with torch.no_grad():
            for start in range(0, count, self.evaluation.batch_size):
                positions = range(start, min(start + self.evaluation.batch_size, count))
                noise = normals(self.seed, Stream.NORMALIZATION, 0, positions, (len(steps), *self.shape))
                prompts = in_turn(len(self.prompts), positions)
                samples.append(self.space.decode(roll_out(model.guided, steps, noise.to(self.host.device), prompts).samples))
        return torch.cat(samples)

"""A reward of the trained model's samples ([CCA] §3), on the scale that it has under the pretrained model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualsweep.trainer.recipe.term_spec import Seen, TermSpec
from dualsweep.trainer.rewards.checking import problems
from dualsweep.trainer.rewards.registry import Reward, RewardField

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.config.diagnostics import Diagnostic
    from dualsweep.trainer.models.spaces import Space
    from dualsweep.trainer.rewards.evaluate import Checked, Normalised
    from dualsweep.trainer.samplers.rollout import Path
    from dualsweep.trainer.terms.context import TermContext

PRETRAINED = "pretrained"


@dataclass(frozen=True, eq=False)
class RewardTerm:
    """r(x) on decoded samples, or (r(x) - mean) / std with the mean and standard deviation of the pretrained model's samples.

    `standardised` [N] are these samples' own values on that scale.
    """

    reward: Checked
    scale: Normalised | None
    space: Space
    standardised: Tensor | None = None

    def values(self, path: Path) -> Tensor:
        """Per-sample values [B]; that they are finite is for whoever asks the reward for what is `unread`."""
        values = self.reward.later(path.decoded(self.space), path.prompts)
        return self.scale(values) if self.scale else values

    def facts(self) -> dict[str, float]:
        return self.scale.to_json() if self.scale else {}


def _build(value: Reward, setting: TermContext) -> RewardTerm:
    import torch

    from dualsweep.trainer.evaluation.spread import evened
    from dualsweep.trainer.rewards.evaluate import Normalised, checked
    from dualsweep.trainer.rewards.spec import RewardContext
    from dualsweep.trainer.rng import in_turn

    rollout = setting.rollout
    shape = setting.space.decoded(setting.shape)
    context = RewardContext(shape, setting.host.device, setting.judge, setting.class_names, setting.prompts)
    reward = checked(value, context, gradient=rollout.gradient == "backpropagation")
    if not rollout.normalize:
        return RewardTerm(reward, None, setting.space)
    samples, size = setting.pretrained_samples, setting.evaluation.batch_size
    prompts = in_turn(len(setting.prompts), range(len(samples)))
    with torch.no_grad():
        values = torch.cat(
            [
                reward(samples[at : at + size], prompts[at : at + size] if prompts is not None else None)
                for at in range(0, len(samples), size)
            ]
        )
    scale = Normalised.of(values, reward.name, evened(prompts.numpy() if prompts is not None else None))
    return RewardTerm(reward, scale, setting.space, scale(values.double().cpu()))


def _faults(value: Reward, seen: Seen) -> Iterator[Diagnostic]:
    return problems(value, seen.shape, seen.class_names, seen.keys, seen.gradient == "backpropagation", seen.prompted)


TERM = TermSpec(
    word="reward",
    value=RewardField,
    source="rollout",
    build=_build,
    description="the reward of samples, by its word or import path",
    example="{call: my_rewards:symmetry}",
    models=lambda value: (PRETRAINED,),
    faults=_faults,
    tilts=True,
    normalised=True,
    between=lambda value: value.spec.bounds,
)

"""How beautiful people found images like this one: a head of linear layers on CLIP embeddings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dualsweep.trainer.rewards.scorer import ClipScorer
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction


class Aesthetic(ClipScorer):
    """The LAION aesthetic score, about 1 to 10: a head of linear layers on the CLIP embedding of length 1."""

    word: ClassVar[str] = "aesthetic"

    head: str = Field(
        description="a file with the head's weights, here or on the hub: linear layers, without activations between them",
        examples=["sac+logos+ava1-l14-linearMSE.pth"],
    )

    def build(self, context: RewardContext) -> RewardFunction:
        from dualsweep.trainer.rewards.head import Head
        from dualsweep.trainer.rewards.weights import read_weights

        clip = self.clip(context)
        head = Head.of(read_weights(self.head, "head"), clip.model.config.projection_dim, context.device, self.head)
        return lambda x: head(clip.images(x))

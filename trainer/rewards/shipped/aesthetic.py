"""How beautiful people found images like this one: a head of linear layers on CLIP embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from trainer.rewards.scorer import ClipScorer
from trainer.rewards.spec import RewardContext, RewardFunction

if TYPE_CHECKING:
    from torch import Tensor


class Aesthetic(ClipScorer):
    """The LAION aesthetic score, about 1 to 10: a head of linear layers on the CLIP embedding of length 1."""

    word: ClassVar[str] = "aesthetic"

    head: str = Field(
        description="a file with the head's weights, .safetensors or .pth: linear layers, without activations between them",
        examples=["sac+logos+ava1-l14-linearMSE.pth"],
    )

    def build(self, context: RewardContext) -> RewardFunction:
        from trainer.rewards.head import load_head

        clip = self.clip(context)
        layers = load_head(self.head, clip.model.config.projection_dim, context.device)

        def score(x: Tensor) -> Tensor:
            value = clip.images(x.to(context.device))
            for layer in layers:
                value = layer(value)
            return value[:, 0]

        return score

"""PickScore: a CLIP tuned on which of two images people picked for a text."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from trainer.rewards.scorer import TextScorer
from trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction


class PickScore(TextScorer):
    """The cosine between image and text, times the model's own logit scale (Kirstain et al., "Pick-a-Pic", 2023)."""

    word: ClassVar[str] = "pick_score"

    model: str = Field(
        "yuvalkirstain/PickScore_v1",
        description="a local directory or hub id of a transformers CLIPModel",
        examples=["yuvalkirstain/PickScore_v1"],
    )
    processor: str | None = Field(
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        description="the same of its image processor and tokenizer; null where they are beside the model",
        examples=["laion/CLIP-ViT-H-14-laion2B-s32B-b79K"],
    )

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        clip = self.clip(context)
        return self.against_texts(clip, clip.scale, context)

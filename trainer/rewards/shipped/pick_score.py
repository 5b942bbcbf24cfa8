"""PickScore: a CLIP tuned on which of two images people picked for a text."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dualsweep.trainer.rewards.scorer import ClipScorer, TextScorer
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction


class PickScore(TextScorer, ClipScorer):
    """The cosine between image and text, times the model's own logit scale (Kirstain et al., "Pick-a-Pic", 2023)."""

    word: ClassVar[str] = "pick_score"

    model: str = Field(
        "yuvalkirstain/PickScore_v1",
        description="a local directory or hub id of a transformers CLIPModel, or the file of an open_clip checkpoint",
        examples=["yuvalkirstain/PickScore_v1"],
    )
    processor: str | None = Field(
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        description="the directory or hub id of its image processor and tokenizer; null where they are beside the model",
        examples=["laion/CLIP-ViT-H-14-laion2B-s32B-b79K"],
    )

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        clip = self.clip(context)
        scale = clip.scale
        return self.against_text(clip.texts, lambda x, texts: scale * clip.cosines(x, texts), context.prompts)

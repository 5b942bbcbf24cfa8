"""HPS v2: a CLIP tuned on which of several images people preferred for a text."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dualsweep.trainer.rewards.scorer import ClipScorer, TextScorer
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction


class HPS(TextScorer, ClipScorer):
    """100 times the cosine between image and text, from -100 to 100 (Wu et al., "Human Preference Score v2", 2023).

    Images are resized by their longer side, with black around what is not square, as the authors' code does.
    """

    word: ClassVar[str] = "hps"

    model: str = Field(
        "xswu/HPSv2/HPS_v2.1_compressed.pt",
        description="the authors' checkpoint, a file or `owner/repository/file` of the hub; or as for `clip_score`",
        examples=["xswu/HPSv2/HPS_v2_compressed.pt"],
    )
    processor: str | None = Field(
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        description="the directory or hub id of its configuration, image processor and tokenizer; null where beside the model",
        examples=["laion/CLIP-ViT-H-14-laion2B-s32B-b79K"],
    )

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        clip = self.clip(context).whole()
        return self.against_text(clip.texts, lambda x, texts: 100 * clip.cosines(x, texts), context.prompts)

"""How well an image fits a text, by CLIP."""

from __future__ import annotations

from typing import ClassVar

from dualsweep.trainer.rewards.scorer import ClipScorer, TextScorer
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction


class ClipScore(TextScorer, ClipScorer):
    """100 times the cosine between the CLIP embeddings of image and text, from -100 to 100.

    The cosine of Hessel et al., "CLIPScore", 2021, without its cut at zero, which would end the gradient there.
    """

    word: ClassVar[str] = "clip_score"

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        clip = self.clip(context)
        return self.against_text(clip.texts, lambda x, texts: 100 * clip.cosines(x, texts), context.prompts)

"""ImageReward: a BLIP tuned on which of several images people ranked higher for a text."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from dualsweep.trainer.rewards.scorer import TextScorer
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction

MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of the head's values on the authors' data; those of github.com/THUDM/ImageReward."""


class ImageReward(TextScorer):
    """How well an image fits a text and how good it looks, in standard deviations, about -2 to 2 (Xu et al. 2023)."""

    word: ClassVar[str] = "image_reward"

    model: str = Field(
        "THUDM/ImageReward/ImageReward.pt",
        description="the authors' checkpoint: a file, or `owner/repository/file` of the hub",
        examples=["ImageReward.pt"],
    )
    tokenizer: str = Field(
        "google-bert/bert-base-uncased",
        description="the directory or hub id of the tokenizer",
        examples=["google-bert/bert-base-uncased"],
    )

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        from dualsweep.trainer.rewards.blip import Blip

        blip = Blip.load(self.model, self.tokenizer, context.device)
        return self.against_text(blip.tokens, lambda x, tokens: (blip.values(x, tokens) - MEAN) / STD, context.prompts)

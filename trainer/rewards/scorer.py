"""What rewards by a pretrained scorer share in a recipe. The networks are imported, and loaded, only when one is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.rewards.clip import Clip


class Scorer(RewardSpec):
    """A reward by a network that transformers builds."""

    differentiable: ClassVar[bool | None] = True
    certain: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    extra: ClassVar[str | None] = "scorers"


class TextScorer(Scorer):
    """One that holds an image against a text."""

    prompt: str | None = Field(
        None, min_length=1, description="the text; each sample's own prompt unless given", examples=["a photo of a cat"]
    )

    @property
    def needs_prompt(self) -> bool:
        return self.prompt is None

    def against_text(
        self, encode: Callable[[Sequence[str]], Tensor], score: Callable[[Tensor, Tensor], Tensor], prompts: Sequence[str]
    ) -> RewardFunction | ByPrompt:
        """The values [B] of samples, by what `score` says of samples [B, *shape] and the encoded text of each [B, N].

        `encode` is asked once, for N numbers to each text: the reward's own, or the `prompts` of samples.
        """
        if self.prompt is None:
            table = encode(prompts)
            return ByPrompt(lambda x, which: score(x, table[which]))
        text = encode([self.prompt])
        return lambda x: score(x, text.expand(len(x), -1))


class ClipScorer(Scorer):
    """A reward by a CLIP."""

    model: str = Field(
        description="a local directory or hub id of a transformers CLIPModel, or the file of an open_clip checkpoint",
        examples=["openai/clip-vit-large-patch14"],
    )
    processor: str | None = Field(
        None,
        description="the directory or hub id of its image processor and tokenizer, and for a checkpoint its configuration, where "
        "they are not beside the model",
        examples=["laion/CLIP-ViT-H-14-laion2B-s32B-b79K"],
    )

    def clip(self, context: RewardContext) -> Clip:
        """The model, on the device of `context`, with gradients to its images alone.

        Raises:
            TrainingError: the model cannot be loaded.
        """
        from dualsweep.trainer.rewards.clip import Clip

        return Clip.load(self.model, self.processor or self.model, context.device)

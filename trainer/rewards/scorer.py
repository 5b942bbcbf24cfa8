"""What rewards by a pretrained CLIP share in a recipe. `trainer.rewards.clip` loads it, and is imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from trainer.errors import TrainingError
from trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from trainer.rewards.clip import Clip


class ClipScorer(RewardSpec):
    """A reward by a CLIP of the form that transformers reads."""

    differentiable: ClassVar[bool | None] = True
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    extra: ClassVar[str | None] = "scorers"

    model: str = Field(
        description="a local directory or hub id of a transformers CLIPModel", examples=["openai/clip-vit-large-patch14"]
    )
    processor: str | None = Field(
        None, description="the same of its image processor and tokenizer, where they are not beside the model",
        examples=["laion/CLIP-ViT-H-14-laion2B-s32B-b79K"],
    )  # fmt: skip

    def clip(self, context: RewardContext) -> Clip:
        """The model, on the device of `context`, with gradients to its images alone.

        Raises:
            TrainingError: transformers is not installed, or the model cannot be loaded.
        """
        if missing := self.missing_packages():
            raise TrainingError(
                f"the reward {self.word} must have its packages installed, but got no {', '.join(missing)}; "
                f"run pip install 'dualsweep[{self.extra}]'"
            )
        from trainer.rewards.clip import Clip

        return Clip.load(self.model, self.processor or self.model, context.device)


class TextScorer(ClipScorer):
    """One that holds an image against a text."""

    prompt: str | None = Field(
        None, min_length=1, description="the text; each sample's own prompt unless given", examples=["a photo of a cat"]
    )

    @property
    def needs_prompt(self) -> bool:
        return self.prompt is None

    def against_texts(self, clip: Clip, scale: float, context: RewardContext) -> RewardFunction | ByPrompt:
        """`scale` times the cosine between the embeddings of image and text."""
        import torch

        texts = [self.prompt] if self.prompt is not None else context.prompts
        table = scale * torch.stack([clip.text(each) for each in texts])
        if self.prompt is not None:
            return lambda x: clip.images(x.to(context.device)) @ table[0]
        return ByPrompt(lambda x, prompts: (clip.images(x.to(context.device)) * table[prompts]).sum(1))

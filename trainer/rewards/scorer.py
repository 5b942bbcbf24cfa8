"""What rewards by a pretrained scorer share in a recipe. The networks are imported, and loaded, only when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from trainer.errors import TrainingError
from trainer.rewards.spec import RewardContext, RewardSpec

if TYPE_CHECKING:
    from trainer.rewards.clip import Clip

Prompt = Annotated[str, Field(min_length=1, description="the text", examples=["a photo of a cat"])]
"""The text that an image is held against."""


class Scorer(RewardSpec):
    """A reward by a network that transformers builds."""

    differentiable: ClassVar[bool | None] = True
    packages: ClassVar[tuple[str, ...]] = ("transformers",)
    extra: ClassVar[str | None] = "scorers"

    def need_packages(self) -> None:
        """Nothing, where they are installed.

        Raises:
            TrainingError: one of them is not.
        """
        if missing := self.missing_packages():
            raise TrainingError(
                f"the reward {self.word} must have its packages installed, but got no {', '.join(missing)}; "
                f"run pip install 'dualsweep[{self.extra}]'"
            )


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
            TrainingError: transformers is not installed, or the model cannot be loaded.
        """
        self.need_packages()
        from trainer.rewards.clip import Clip

        return Clip.load(self.model, self.processor or self.model, context.device)

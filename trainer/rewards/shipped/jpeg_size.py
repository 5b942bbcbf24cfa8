"""The size of the image as a JPEG file: black-box, since files have whole numbers of bytes."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from dualsweep.trainer.rewards.images import unit
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor


class JpegSize(RewardSpec):
    """The size of the image as a JPEG file in kilobytes of 1,000 bytes; bound it from above for compressible images."""

    word: ClassVar[str] = "jpeg_size"
    differentiable: ClassVar[bool | None] = False

    quality: Annotated[int, Field(ge=1, le=95)] = Field(95, description="the JPEG quality", examples=["80"])

    def build(self, context: RewardContext) -> RewardFunction:
        return partial(jpeg_size, quality=self.quality)


def jpeg_size(x: Tensor, quality: int) -> Tensor:
    """Kilobytes [B] of the JPEG files of images x [B, 1 or 3, H, W] (Black et al., DDPO, 2024, §5.1, in magnitude)."""
    from PIL import Image

    shades = unit(x.detach())
    pixels = (shades * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    sizes = []
    for image in pixels:
        file = BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, format="JPEG", quality=quality)
        sizes.append(file.tell() / 1000)
    return shades.new_tensor(sizes)

"""A pretrained CLIP (Radford et al. 2021) as rewards ask it: embeddings that gradients flow through, down to the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from trainer.errors import TrainingError
from trainer.rewards.images import unit


@dataclass(frozen=True)
class Preprocessing:
    """What an image processor does, in torch: bicubic resize with antialiasing, centre crop, normalise.

    `resize` is the shorter side after the resize, or (height, width); None for none of it.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, processor: Any) -> Self:
        """That of a transformers image processor for CLIP."""
        size, crop = processor.size, processor.crop_size
        resize = size["shortest_edge"] or (size["height"], size["width"])
        return cls(
            resize if processor.do_resize else None,
            (crop["height"], crop["width"]) if processor.do_center_crop else None,
            tuple(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0),
            tuple(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Pixels [B, 3, h, w] as the model takes them, of images x [B, 1 or 3, H, W] in [-1, 1]."""
        pixels = unit(x).expand(-1, 3, -1, -1)
        if self.resize is not None:
            size = self._resized(*pixels.shape[2:])
            pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        if self.crop is not None:
            pixels = _centre(pixels, *self.crop)
        mean, std = pixels.new_tensor(self.mean), pixels.new_tensor(self.std)
        return (pixels - mean[:, None, None]) / std[:, None, None]

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.resize, int):
            assert self.resize is not None
            return self.resize
        short, long = sorted((height, width))
        longer = int(self.resize * long / short)
        return (self.resize, longer) if height <= width else (longer, self.resize)


def _centre(pixels: Tensor, height: int, width: int) -> Tensor:
    """The centre [B, 3, height, width], with zeros around images that are smaller."""
    below, right = max(0, height - pixels.shape[2]), max(0, width - pixels.shape[3])
    pixels = F.pad(pixels, (-(-right // 2), right // 2, -(-below // 2), below // 2))
    top, left = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
    return pixels[:, :, top : top + height, left : left + width]


@dataclass(frozen=True)
class Clip:
    """A CLIP in evaluation mode and float32, whose own parameters take no gradient."""

    model: CLIPModel
    preprocessing: Preprocessing
    tokenizer: Any

    @classmethod
    def load(cls, model: str, processor: str, device: torch.device) -> Self:
        """From local directories or hub ids.

        Raises:
            TrainingError: one of them cannot be loaded.
        """
        try:
            found = CLIPModel.from_pretrained(model, dtype=torch.float32)
            pixels, tokenizer = AutoImageProcessor.from_pretrained(processor), AutoTokenizer.from_pretrained(processor)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            reason = str(error).partition("\n")[0]
            raise TrainingError(
                f"a scorer's `model` must be a transformers CLIPModel, and `processor` hold its image processor and tokenizer, "
                f"but got {model!r} and {processor!r} ({reason}); give a directory with its files, or a "
                "hub id that this machine can reach"
            ) from error
        return cls(found.eval().requires_grad_(False).to(device), Preprocessing.of(pixels), tokenizer)

    def images(self, x: Tensor) -> Tensor:
        """The embeddings [B, D], of length 1, of images x [B, 1 or 3, H, W] in [-1, 1]."""
        pooled = self.model.vision_model(pixel_values=self.preprocessing(x)).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text(self, prompt: str) -> Tensor:
        """The embedding [D], of length 1, of a text, cut to as many tokens as the model takes."""
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(prompt, truncation=True, max_length=longest, return_tensors="pt").to(self.model.device)
        pooled = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)[0]

    @property
    def scale(self) -> float:
        """The factor, exp of `logit_scale`, with which the model was trained to turn cosines into logits."""
        return float(self.model.logit_scale.exp())

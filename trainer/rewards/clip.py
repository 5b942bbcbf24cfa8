"""A pretrained CLIP (Radford et al. 2021) as rewards ask it: embeddings that gradients flow through, down to the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPModel

from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.rewards.open_clip import from_open_clip
from dualsweep.trainer.rewards.preprocessing import Preprocessing
from dualsweep.trainer.rewards.weights import names_file, pretrained, read_weights


@dataclass(frozen=True)
class Clip:
    """A CLIP in evaluation mode and float32, whose own parameters take no gradient."""

    model: CLIPModel
    preprocessing: Preprocessing
    tokenizer: Any

    @classmethod
    def load(cls, model: str, processor: str, device: torch.device) -> Self:
        """From local directories or hub ids; `model` may also be the file of an open_clip checkpoint, here or on the hub.

        A checkpoint does not say how the model is built: that is read from `processor`.

        Raises:
            TrainingError: one of them cannot be loaded.
        """
        try:
            if names_file(model):
                config, weights = CLIPConfig.from_pretrained(processor), from_open_clip(read_weights(model, "model"))
                network = pretrained(CLIPModel, None, config=config, state_dict=weights)
            else:
                network = pretrained(CLIPModel, model)
            pixels, tokenizer = AutoImageProcessor.from_pretrained(processor), AutoTokenizer.from_pretrained(processor)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
            if ran_out(error):
                raise
            reason = first_line(error)
            raise TrainingError(
                "a scorer's `model` must be a transformers CLIPModel or an open_clip checkpoint, and `processor` hold its image "
                "processor and tokenizer, for a checkpoint also its configuration, "
                f"but got {model!r} and {processor!r} ({reason}); give a directory with its files, or a "
                "hub id that this machine can reach"
            ) from error
        return cls(network.to(device), Preprocessing.of(pixels), tokenizer)

    def whole(self) -> Self:
        """The scorer with whole images: none is cut, black around it makes it square."""
        return replace(self, preprocessing=replace(self.preprocessing, whole=True))

    def images(self, x: Tensor) -> Tensor:
        """The embeddings [B, D], of length 1, of images x [B, 1 or 3, H, W] in [-1, 1]."""
        pixels = self.preprocessing(x.to(self.model.device))
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """The embeddings [P, D], of length 1, of P texts, each cut to as many tokens as the model takes."""
        return torch.stack([self._text(prompt) for prompt in prompts])

    def cosines(self, x: Tensor, texts: Tensor) -> Tensor:
        """The cosine [B] between each image of x [B, 1 or 3, H, W] and its text's embedding [B, D]."""
        return (self.images(x) * texts).sum(dim=1)

    @torch.no_grad()
    def _text(self, prompt: str) -> Tensor:
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(prompt, truncation=True, max_length=longest, return_tensors="pt").to(self.model.device)
        pooled = self.model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled), dim=-1)[0]

    @property
    def scale(self) -> float:
        """The factor, exp of `logit_scale`, with which the model was trained to turn cosines into logits."""
        return float(self.model.logit_scale.exp())

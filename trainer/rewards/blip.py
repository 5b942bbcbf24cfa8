"""ImageReward's network (Xu et al. 2023, arXiv 2304.05977): a BLIP (Li et al. 2022), which reads a text looking at an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoTokenizer, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.rewards.head import Head
from dualsweep.trainer.rewards.preprocessing import Preprocessing
from dualsweep.trainer.rewards.weights import pretrained, read_weights, renamed

VISION, TEXT, HEAD = "blip.visual_encoder.", "blip.text_encoder.", "mlp."
"""The three networks of a checkpoint; what else it holds, BLIP's own projections, ImageReward does not use."""
WORDS = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("blocks.", "encoder.layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.", ".self_attn."),
    (".proj.", ".projection."),
    ("norm.", "post_layernorm."),
)
"""The image encoder's names, and transformers'; those of the text encoder are the same in both."""
HEAD_WIDTH = 64
"""The numbers in each head of attention, in all BLIPs; a state dict does not tell."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LONGEST = 35
"""Tokens of a text, with the first and the last; ImageReward cuts what is longer."""


@dataclass(frozen=True)
class Blip:
    """Image encoder, text encoder with attention to the image, and head; in evaluation mode, float32 and without gradients."""

    vision: BlipVisionModel
    text: BlipTextModel
    head: Head
    preprocessing: Preprocessing
    tokenizer: Any

    @classmethod
    def load(cls, model: str, tokenizer: str, device: torch.device) -> Self:
        """From a checkpoint of ImageReward, here or on the hub, and a BERT tokenizer's directory or hub id.

        Raises:
            TrainingError: one of them cannot be loaded.
        """
        weights = read_weights(model, "model")
        vision, text, head = (_below(prefix, weights) for prefix in (VISION, TEXT, HEAD))
        try:
            image_encoder = _image_encoder({renamed(name, WORDS): tensor for name, tensor in vision.items()})
            text_encoder = _text_encoder(text, image_encoder.config.hidden_size)
            words = AutoTokenizer.from_pretrained(tokenizer)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            if ran_out(error):
                raise
            reason = first_line(error)
            raise TrainingError(
                "`model` must be a checkpoint of ImageReward, and `tokenizer` that of an uncased BERT, "
                f"but got {model!r} and {tokenizer!r} ({type(error).__name__}: {reason}); give "
                "`THUDM/ImageReward/ImageReward.pt` or its file, and a directory or hub id that this machine can reach"
            ) from error
        side = image_encoder.config.image_size
        return cls(
            image_encoder.to(device), text_encoder.to(device), Head.of(head, text_encoder.config.hidden_size, device, model),
            Preprocessing(side, (side, side), MEAN, STD), words,
        )  # fmt: skip

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """The numbers [P, L] of the tokens of P texts, at most `LONGEST`, with padding after shorter ones."""
        found = self.tokenizer(list(prompts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        tokens: Tensor = found.input_ids
        return tokens.to(self.text.device)

    def values(self, x: Tensor, tokens: Tensor) -> Tensor:
        """The head's values [B] for images x [B, 1 or 3, H, W] in [-1, 1], each under its text's tokens [B, L]."""
        patches = self.vision(pixel_values=self.preprocessing(x.to(self.vision.device))).last_hidden_state
        seen = tokens != self.tokenizer.pad_token_id
        read = self.text(input_ids=tokens, attention_mask=seen.long(), encoder_hidden_states=patches).last_hidden_state
        return self.head(read[:, 0])


def _below(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _layers(weights: dict[str, Tensor], block: str) -> int:
    """How many layers there are: names are as `{block}3.…`."""
    return 1 + max(int(name.removeprefix(block).partition(".")[0]) for name in weights if name.startswith(block))


def _image_encoder(weights: dict[str, Tensor]) -> BlipVisionModel:
    _, positions, width = weights["embeddings.position_embedding"].shape
    patch = weights["embeddings.patch_embedding.weight"].shape[-1]
    config = BlipVisionConfig(
        hidden_size=width, num_attention_heads=width // HEAD_WIDTH, num_hidden_layers=_layers(weights, "encoder.layers."),
        intermediate_size=len(weights["encoder.layers.0.mlp.fc1.bias"]), patch_size=patch,
        image_size=patch * math.isqrt(positions - 1), layer_norm_eps=1e-6,
    )  # fmt: skip
    return pretrained(BlipVisionModel, None, config=config, state_dict=weights)


def _text_encoder(weights: dict[str, Tensor], image_width: int) -> BlipTextModel:
    words, width = weights["embeddings.word_embeddings.weight"].shape
    config = BlipTextConfig(
        vocab_size=words, hidden_size=width, num_attention_heads=width // HEAD_WIDTH, encoder_hidden_size=image_width,
        num_hidden_layers=_layers(weights, "encoder.layer."),
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
    )  # fmt: skip
    return pretrained(BlipTextModel, None, config=config, state_dict=weights, add_pooling_layer=False)

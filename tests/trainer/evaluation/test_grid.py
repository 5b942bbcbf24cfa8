from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dualsweep.trainer.evaluation.grid import GAP, GAP_GREY, sample_grid, save_png


def _opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_images_lie_row_by_row_enlarged_without_blur() -> None:
    samples = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 8, 8).clone()
    samples[1, 0, 0, 0] = 1.0
    pixels = _opened(sample_grid(samples, columns=2))
    side = 48 + GAP
    assert pixels.shape == (2 * side + GAP, 2 * side + GAP)
    tiles = [pixels[top + GAP : top + side, left + GAP : left + side] for top in (0, side) for left in (0, side)]
    assert (tiles[0] == 0).all()
    assert (tiles[1][:6, :6] == 255).all()
    assert set(np.unique(tiles[1])) == {128, 255}
    assert (tiles[2] == 255).all()
    assert (tiles[3] == GAP_GREY).all()  # nothing there
    assert (pixels[:GAP] == GAP_GREY).all()


@pytest.mark.parametrize(("count", "across"), [(1, 1), (4, 2), (5, 3), (64, 8)])
def test_columns_are_near_the_root(count: int, across: int) -> None:
    assert _opened(sample_grid(torch.zeros(count, 1, 48, 48))).shape[1] == across * (48 + GAP) + GAP


def test_few_images_make_no_wide_grid() -> None:
    assert _opened(sample_grid(torch.zeros(2, 1, 48, 48), columns=10)).shape[1] == 2 * (48 + GAP) + GAP


def test_large_images_keep_their_size() -> None:
    assert _opened(sample_grid(torch.zeros(1, 3, 64, 100))).shape == (64 + 2 * GAP, 100 + 2 * GAP, 3)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (5, "RGB")])
def test_channels(channels: int, mode: str) -> None:
    image = torch.linspace(-1.0, 1.0, channels).reshape(1, channels, 1, 1).expand(1, channels, 8, 8)
    picture = Image.open(io.BytesIO(sample_grid(image)))
    assert picture.mode == mode
    expected = torch.linspace(0.0, 255.0, channels).round()[: 3 if channels >= 3 else 1].tolist()
    middle = picture.getpixel((20, 20))
    assert (list(middle) if isinstance(middle, tuple) else [middle]) == expected


def test_values_beyond_the_range(tmp_path: Path) -> None:
    image = torch.tensor([[[-3.0, 3.0], [torch.nan, torch.inf]]])
    save_png(image, tmp_path / "0.png")
    assert np.asarray(Image.open(tmp_path / "0.png")).tolist() == [[0, 255], [0, 255]]


def test_saved_pixel_by_pixel(tmp_path: Path) -> None:
    expected = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    save_png(expected.float() / 127.5 - 1.0, tmp_path / "sample.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sample.png")), expected.permute(1, 2, 0).numpy())


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[N, C, H, W\], but got shape \[5, 2\]"):
        sample_grid(torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"at least one image.*\[0, 1, 8, 8\]"):
        sample_grid(torch.zeros(0, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\[C, H, W\], but got shape \[4\]"):
        save_png(torch.zeros(4), tmp_path / "x.png")

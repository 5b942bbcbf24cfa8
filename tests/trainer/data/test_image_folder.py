from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dualsweep.trainer.data import examples as examples_module
from dualsweep.trainer.data.examples import OnDemand
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.load import inspect, load
from tests.trainer.data.conftest import data_of
from tests.trainer.data.tensors import from_array, from_image


def save(path: Path, value: int = 0, size: tuple[int, int] = (8, 8), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(path)


def values(folder: Path, **options: Any) -> list[float]:
    """The constant value of each image, 0..255 again."""
    found = load(data_of(folder=str(folder), **options))
    batch = found.fetch(np.arange(len(found)))
    assert torch.equal(batch, batch[:, :1, :1, :1].expand_as(batch))
    return [round(float(each), 3) for each in (batch[:, 0, 0, 0] + 1) * 127.5]


def test_classes_files_and_values_in_order(tmp_path: Path) -> None:
    for place, value in (("dog/b.png", 3), ("dog/a.PNG", 2), ("cat/deep/x.bmp", 1), ("cat/.hidden.png", 9), (".git/x.png", 9)):
        save(tmp_path / place, value)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    examples = load(data_of(folder=str(tmp_path)))
    assert examples.class_names == ("cat", "dog") and examples.labels is not None and examples.labels.tolist() == [0, 1, 1]
    assert examples.shape == (3, 8, 8)
    assert values(tmp_path, grey=True) == [1, 2, 3]


def test_numbered_folders_are_numbers_in_order(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / str(number) / "x.png", number)
    found = load(data_of(folder=str(tmp_path)))
    assert found.class_names == (1, 9, 10) and values(tmp_path, grey=True) == [1, 9, 10]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "x.png", 0)
    save(tmp_path / "y.png", 255)
    examples = load(data_of(folder=str(tmp_path), grey=True))
    assert examples.labels is None and examples.class_names == ()
    assert examples.fetch(np.array([0, 1]))[:, 0, 0, 0].tolist() == [-1, 1]


def test_images_are_read_on_demand_where_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        save(tmp_path / f"{number:02}.png", number)
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    assert isinstance(load(data_of(folder=str(tmp_path), grey=True)), OnDemand)
    assert values(tmp_path, grey=True) == list(range(20))


def test_size_resizes_the_shorter_side_and_crops_the_centre() -> None:
    pixels = np.zeros((8, 24), dtype=np.uint8)
    pixels[:, 8:16] = 255
    found = from_image(Image.fromarray(pixels), 8, True)
    assert found.shape == (1, 8, 8) and bool((found == 1).all())
    halved = from_image(Image.fromarray(np.repeat(np.eye(2, dtype=np.uint8) * 200, 8, 0).repeat(8, 1)), 4, False)
    assert halved.shape == (3, 4, 4) and float(halved[0, 0, 0]) > 0.5 > -0.9 > float(halved[2, 0, 3])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("grey", [True, False])
def test_every_mode_becomes_grey_or_rgb(mode: str, grey: bool) -> None:
    white = Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode)
    found = from_image(white, None, grey)
    assert found.shape == (1 if grey else 3, 4, 4) and bool((found == 1).all()) and found.is_contiguous()


def test_sixteen_bits_are_scaled_and_unknown_ranges_refused() -> None:
    image = Image.fromarray(np.array([[0, 65535], [32896, 257]], dtype=np.uint16))
    assert torch.equal(from_image(image, None, True) * 127.5 + 127.5, torch.tensor([[[0.0, 255.0], [128.0, 1.0]]]))
    with pytest.raises(ValueError, match="an image of mode F, whose range of values is not known"):
        from_image(Image.new("F", (4, 4)), None, True)


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), dtype=np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    found = load(data_of(folder=str(tmp_path), grey=True)).fetch(np.array([0]))[0, 0]
    assert bool((found[:, :8] == -1).all()) and bool((found[:, 8:] == 1).all())


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (1, 4, 4), (4, 4, 3), (3, 4, 4), (4, 4, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_arrays_of_any_layout(shape: tuple[int, ...], dtype: type) -> None:
    array: NDArray[Any] = np.ones(shape, dtype=dtype)
    if shape == (4, 4, 4) and np.issubdtype(dtype, np.integer):
        array[:, :, 3] = 255  # opaque
    image = from_array(array, None, False)
    expected = 1.0 if np.issubdtype(dtype, np.floating) else 1 / 127.5 - 1
    channels = 1 if len(shape) == 2 or 1 in shape else 4 if np.issubdtype(dtype, np.floating) and shape == (4, 4, 4) else 3
    assert image.shape == (channels, 4, 4) and image.dtype == torch.float32
    assert torch.allclose(image, torch.full_like(image, expected))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4), 256), "whole numbers from 256 to 256; pixels are 0..255"),
        (np.zeros(4), "an array of shape .4.; images are"),
        (np.zeros((4, 4), dtype=bool), "an array of bool"),
        (np.zeros((4, 4)), "floating-point numbers of shape .4, 4, 1., which `size`"),
    ],
)
def test_arrays_that_are_no_images(array: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_array(array, 8, False)


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "cat" / "a.png")
    bad = tmp_path / "cat" / "b.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(8, 8), dtype=np.uint8)).save(bad)
    bad.write_bytes({"text": b"no image", "truncated": bad.read_bytes()[:60], "empty": b""}[damage])
    with pytest.raises(BadDataError, match=f"data.folder: must hold readable images, but got .* in file {bad}; fix or remove"):
        load(data_of(folder=str(tmp_path)))


def test_images_of_several_sizes_need_size(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png", size=(8, 9))
    with pytest.raises(BadDataError, match=r"one shape, but got 3x9x8 after 3x8x8 in file .*b.png; make them alike; .*data.size"):
        load(data_of(folder=str(tmp_path)))
    assert load(data_of(folder=str(tmp_path), size=4)).shape == (3, 4, 4)


def test_bad_data_crosses_process_borders_whole(tmp_path: Path) -> None:
    with pytest.raises(BadDataError) as raised:
        load(data_of(folder=str(tmp_path)))
    again = pickle.loads(pickle.dumps(raised.value))
    assert again.diagnostics == raised.value.diagnostics and str(again) == str(raised.value)


@pytest.mark.parametrize("turned", [1, 6])
def test_a_tiff_is_known_by_its_sides_as_they_are_trained_on(tmp_path: Path, turned: int) -> None:
    """Its tags say how it is turned, before and after Pillow turns it."""
    (tmp_path / "tiffs").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "tiffs" / f"{number}.tif", tiffinfo={274: turned})
    data = data_of(folder=str(tmp_path / "tiffs"))
    shape = inspect(data).shape
    assert shape == ((3, 16, 32) if turned == 1 else (3, 32, 16)) == load(data).shape


def test_a_large_image_is_read_without_a_warning_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)).save(tmp_path / "large" / "a.png")
    data = data_of(folder=str(tmp_path / "large"), size=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert inspect(data).shape == (3, 8, 8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        BadDataError, match=r"got more pixels than Pillow reads in file .*a.png; make it smaller, or leave it out"
    ):
        inspect(data)

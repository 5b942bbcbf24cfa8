"""Data counted and read as what it is: links, transparency of every kind, ranges of numbers, Unicode's two forms of a name."""

from __future__ import annotations

import io
import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dualsweep.trainer.data import examples as module
from dualsweep.trainer.data.division import split
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.image_listing import list_images
from dualsweep.trainer.data.load import inspect, load
from dualsweep.trainer.data.subsets import subset
from dualsweep.trainer.data.user_dataset import to_examples
from dualsweep.trainer.recipe.data import Subset
from tests.trainer.data.conftest import data_of
from tests.trainer.data.tensors import from_array, from_image

NFC, NFD = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


def images(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (2, 2), i).save(root / name / f"{i:03d}.png")
    return root


def counted(root: Path) -> dict[Any, int]:
    found = list_images(str(root))
    assert found.labels is not None and len(set(found.files)) == len(found.files)
    return {name: found.labels.count(label) for label, name in enumerate(found.class_names)}


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a/a", "."), ("a/up", ".."), ("a/higher", "../.."), ("a/root", "/"), ("a/itself", "../a"), ("self", "."),
        ("a/s/t", ".."), ("a/x", "s"), ("a/s/loop", "../s"),
    ],
)  # fmt: skip
def test_a_link_that_leads_back_adds_nothing(tmp_path: Path, link: str, target: str) -> None:
    root = images(tmp_path / "images", **{"a": 3, "a/s": 1, "b": 2})
    (root / link).symlink_to(target)
    assert counted(root) == {"a": 4, "b": 2}


@pytest.mark.parametrize("below", ["a", ""])
def test_an_image_counts_once_in_its_class_whatever_links_lead_to_it(tmp_path: Path, below: str) -> None:
    root = images(tmp_path / "images", **({"a": 3, "a/s": 1, "b": 2} if below else {"": 4}))
    elsewhere = images(tmp_path, elsewhere=1) / "elsewhere" / "000.png"
    for name, target in {"0": "001.png", "x": "001.png", "y": "x.png", "p": str(elsewhere), "q": str(elsewhere)}.items():
        (root / below / f"{name}.png").symlink_to(target)
    found = list_images(str(root)).files
    assert len(found) == (7 if below else 5)
    assert {path.name for path in found} == {"000.png", "001.png", "002.png", "p.png"} | ({"003.png"} if not below else set())
    if below:  # an image may be of two classes
        (root / "b" / "too.png").symlink_to("../a/000.png")
        assert counted(root) == {"a": 5, "b": 3}


@pytest.mark.parametrize(("link", "target"), [("a/x", "../b"), ("c", "a"), ("c", "a/s"), ("a/s/y", "../../b")])
def test_a_folder_in_two_classes_is_refused_by_name(tmp_path: Path, link: str, target: str) -> None:
    root = images(tmp_path / "images", **{"a": 3, "a/s": 1, "b": 2})
    (root / link).symlink_to(target)
    with pytest.raises(BadDataError, match="must have every folder in one class") as caught:
        list_images(str(root))
    assert str(root / link) in str(caught.value)


def test_links_to_other_places_are_followed_once(tmp_path: Path) -> None:
    elsewhere, root = images(tmp_path / "elsewhere", c=5), images(tmp_path / "images", a=3)
    (root / "b").symlink_to(elsewhere / "c")
    (root / "a" / "more").symlink_to(elsewhere)
    with pytest.raises(BadDataError, match="a link to what is of the class `a`"):
        list_images(str(root))
    (root / "a" / "more").unlink()
    assert counted(root) == {"a": 3, "b": 5}
    (tmp_path / "link").symlink_to(root)
    assert counted(tmp_path / "link") == {"a": 3, "b": 5}


@pytest.mark.parametrize("target", ["/nowhere/at-all.png", "z.png"])
def test_an_image_that_is_a_link_to_nothing_is_refused_by_name(tmp_path: Path, target: str) -> None:
    root = images(tmp_path / "images", a=3)
    (root / "a" / "z.png").symlink_to(target)
    with pytest.raises(BadDataError, match=r"z\.png`, a link that leads nowhere"):
        list_images(str(root))


@pytest.mark.parametrize(("on_disk", "written"), [(NFD, NFC), (NFC, NFD), (NFC, NFC)])
def test_a_class_is_found_in_either_form_of_its_name(tmp_path: Path, on_disk: str, written: str) -> None:
    root = images(tmp_path / f"folder {on_disk}", **{on_disk: 3, "b": 2})
    data = data_of(folder=str(tmp_path / f"folder {written}"), keep={written: 0.5})
    assert inspect(data).class_names == ("b", NFC) and root.is_dir()
    parts = split(load(data), data, 0)
    assert len(parts.train) == 3 and len(subset(Subset(classes=[written]), parts, ("constraints", 0)).train) == 1


def test_labels_in_both_forms_are_one_class() -> None:
    found = to_examples((torch.zeros(4, 2), [NFC, NFD, "b", NFC]), "m:f", ("data", "call"))
    assert found.class_names == ("b", NFC) and found.labels is not None and found.labels.tolist() == [1, 1, 0, 1]


def clear(mode: str) -> Image.Image:
    """An image whose left half is red (or black) and opaque, and whose right half is transparent over another colour."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:, :2] = (255, 0, 0, 255)
    pixels[:, 2:] = (10, 200, 30, 0)
    image = Image.fromarray(pixels)
    steps = {"La": ["LA", "La"], "PA": ["P", "PA"], "P": []}.get(mode, [mode])
    if mode == "P":
        return through("PNG", image.quantize(8))
    for step in steps:
        image = image.convert(step)
    if mode == "PA":
        image.putalpha(Image.fromarray(pixels[:, :, 3]))
    return image


def through(kind: str, image: Image.Image, **options: Any) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    reopened = Image.open(io.BytesIO(stream.getvalue()))
    reopened.load()
    return reopened


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA", "P"])
def test_transparent_pixels_are_white_whatever_their_own_colour(mode: str, grey: bool) -> None:
    found = from_image(clear(mode), None, grey)
    assert bool((found[:, :, 2:] == 1).all()) and not bool((found[:, :, :2] == 1).all())


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_transparency_is_seen_in_files_of_every_kind(kind: str) -> None:
    assert bool((from_image(through(kind, clear("RGBA")), None, False)[:, :, 2:] == 1).all())


@pytest.mark.parametrize(
    ("array", "transparency"),
    [
        (np.full((2, 2), 7, np.uint8), 7), (np.full((2, 2, 3), 7, np.uint8), (7, 7, 7)), (np.full((2, 2), 700, np.uint16), 700),
        (np.full((2, 2), True), 1),
    ],
)  # fmt: skip
def test_a_transparent_colour_is_white_too(array: Any, transparency: Any) -> None:
    found = through("PNG", Image.fromarray(array), transparency=transparency)
    assert bool((from_image(found, None, False) == 1).all()) and bool((from_image(found, None, True) == 1).all())


def test_half_transparent_pixels_are_mixed_with_white_in_arrays_too() -> None:
    pixels = np.zeros((5, 5, 4), np.uint8)
    pixels[..., 3] = 51  # a fifth black, so .8 of white: 204
    for array in (pixels, pixels.transpose(2, 0, 1)):
        assert torch.allclose(from_array(array, None, False), torch.full((3, 5, 5), 204 / 127.5 - 1), atol=0.01)
    assert torch.equal(
        from_image(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), None, False).flatten(), torch.tensor([1.0, -1, -1])
    )


@pytest.mark.parametrize(("low", "high"), [(0.0, 255.0), (-3.0, 3.0), (-128.0, 127.0), (0.0, 65535.0), (-1.0, 1.6)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_far_outside_their_range_are_refused(low: float, high: float, dtype: torch.dtype) -> None:
    if dtype == torch.float16 and high > 60000:
        pytest.skip("float16 has no such number")
    x = torch.linspace(low, high, 20 * 12, dtype=torch.float64).reshape(20, 3, 2, 2).to(dtype)
    for result in (x, (x, [i % 2 for i in range(20)]), list(x), [(each, 1) for each in x]):
        with pytest.raises(BadDataError, match=r"must hold images in \[-1, 1\], but got numbers from .* in item \d+"):
            to_examples(result, "m:f", ("data", "call"))


def test_an_image_read_later_is_refused_then(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(20, 1, 2, 2)
    x[17] = 255.0
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
    examples = to_examples(list(x), "m:f", ("data", "call"))
    with pytest.raises(BadDataError, match="255 in item 17"):
        examples.fetch(np.arange(20))


def test_images_from_0_to_1_are_warned_of_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.linspace(0, 1, 20 * 12).reshape(20, 3, 2, 2)
    with caplog.at_level(logging.WARNING):
        to_examples(x, "m:f", ("data", "call"))
        to_examples(list(x), "m:f", ("data", "call"))
        monkeypatch.setattr(module, "IN_MEMORY_BYTES", 0)
        lazy = to_examples(list(x), "m:f", ("data", "call"))
        for _ in range(2):
            lazy.fetch(np.arange(20))
    told = [each.getMessage() for each in caplog.records]
    assert len(told) == 3 and all("data.call: images are meant to be in [-1, 1]" in each and "x * 2 - 1" in each for each in told)


@pytest.mark.parametrize(
    "x",
    [
        torch.linspace(-1.2, 1.2, 48).reshape(4, 3, 2, 2),
        torch.linspace(-9, 9, 8).reshape(4, 2),
        torch.zeros(4, 1, 2, 2),
        torch.rand(4, 2),
    ],
)
def test_other_data_is_as_it_is(x: torch.Tensor, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert torch.equal(to_examples(x, "m:f", ("data", "call")).fetch(np.arange(4)), x)
    assert not caplog.records


def test_a_declared_class_without_a_row_is_told_as_that(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
    rows = {"image": [Image.new("L", (2, 2), i) for i in range(4)], "label": [0, 0, 1, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    data = data_of(dataset=str(tmp_path / "saved"), label_column="label", keep={"a": 0.0})
    parts = split(load(data), data, 0)
    for name, words in (("c", "which no example of the data is of"), ("a", "after `keep`")):
        with pytest.raises(BadDataError, match=rf"none for \[.{name}.\].*{words}") as caught:
            subset(Subset(classes=[name]), parts, ("constraints", 0))
        assert ("keep" in str(caught.value)) == (name == "a")


@pytest.mark.parametrize("name", ["ds/train.parquet", "./ds/train.parquet", "train.csv"])
@pytest.mark.parametrize("there", [True, False])
def test_a_file_is_not_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: bool) -> None:
    monkeypatch.chdir(tmp_path)
    if there:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"PAR1")
    folder = str(Path(name).parent)
    with pytest.raises(
        BadDataError, match=f"give its folder, `{folder}`" if there else "must be a hub id or a local path that exists"
    ):
        inspect(data_of(dataset=name))


def test_a_folder_of_parquet_files_is_loaded(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image()})
    (tmp_path / "ds").mkdir()
    rows = datasets.Dataset.from_dict({"image": [Image.new("L", (2, 2), i) for i in range(4)]}, features=features)
    rows.to_parquet(str(tmp_path / "ds" / "train.parquet"))
    assert len(load(data_of(dataset=str(tmp_path / "ds")))) == 4

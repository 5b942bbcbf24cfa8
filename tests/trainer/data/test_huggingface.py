"""Hugging Face data sets, all local: nothing here may need the network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from dualsweep.trainer.checks.before_loading import check
from dualsweep.trainer.data import examples as examples_module
from dualsweep.trainer.data.examples import Examples, OnDemand
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.load import inspect, load
from tests.trainer.data.conftest import data_of, recipe_of

VALUES = (0, 51, 102, 255)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def made(**columns: Any) -> datasets.Dataset:
    """Four constant images, two classes, and further columns."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    plain = {"image": [Image.new("L", (8, 8), value) for value in VALUES], "label": [1, 0, 1, 1]}
    return datasets.Dataset.from_dict(plain, features=features).add_column("number", [7, 5, 7, 5])


@pytest.fixture
def saved(tmp_path: Path) -> str:
    made().save_to_disk(str(tmp_path / "saved"))
    return str(tmp_path / "saved")


def greys(examples: Examples) -> list[int]:
    return [round(float(each)) for each in (examples.fetch(np.arange(len(examples)))[:, 0, 0, 0] + 1) * 127.5]


def test_a_saved_data_set_with_class_labels(saved: str) -> None:
    examples = load(data_of(dataset=saved, label_column="label"))
    assert examples.class_names == ("cat", "dog") and examples.labels is not None and examples.labels.tolist() == [1, 0, 1, 1]
    assert examples.shape == (3, 8, 8) and greys(examples) == list(VALUES)


def test_whole_numbers_as_labels_size_and_grey(saved: str) -> None:
    examples = load(data_of(dataset=saved, label_column="number", grey=True, size=4))
    assert examples.class_names == (5, 7) and examples.labels is not None and examples.labels.tolist() == [1, 0, 1, 0]
    assert examples.shape == (1, 4, 4) and greys(examples) == list(VALUES)


def test_without_label_column_there_are_no_labels(saved: str) -> None:
    assert load(data_of(dataset=saved)).labels is None


def test_class_labels_that_are_numbers_are_numbers(tmp_path: Path) -> None:
    digits = made().cast_column("label", datasets.ClassLabel(names=["0", "1"]))
    digits.save_to_disk(str(tmp_path / "digits"))
    assert load(data_of(dataset=str(tmp_path / "digits"), label_column="label")).class_names == (0, 1)


def test_splits_of_a_saved_dictionary(tmp_path: Path) -> None:
    path = str(tmp_path / "both")
    datasets.DatasetDict({"train": made(), "test": made().select([3])}).save_to_disk(path)
    assert len(load(data_of(dataset=path))) == 4
    assert greys(load(data_of(dataset=path, split="test"))) == [255]
    with pytest.raises(BadDataError, match=r"data.split: must be a split of .*, but got 'tset'; did you mean `test`"):
        load(data_of(dataset=path, split="tset"))


def test_a_local_folder_through_load_dataset(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "images" / "train" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 51).save(tmp_path / "images" / "train" / name / "x.png")
    found = load(data_of(dataset=str(tmp_path / "images"), label_column="label"))
    assert found.class_names == ("cat", "dog") and greys(found) == [51, 51]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_columns_of_arrays(tmp_path: Path, dtype: str) -> None:
    arrays = np.random.default_rng(0).integers(256, size=(4, 8, 6)).astype(dtype)
    scaled = arrays / np.float32(127.5) - 1
    features = datasets.Features({"pixels": datasets.Array2D((8, 6), dtype)})
    path = str(tmp_path / "arrays")
    datasets.Dataset.from_dict({"pixels": list(arrays if dtype == "uint8" else scaled)}, features=features).save_to_disk(path)
    examples = load(data_of(dataset=path, image_column="pixels"))
    assert examples.shape == (1, 8, 6)
    assert torch.allclose(examples.fetch(np.arange(4))[:, 0], torch.from_numpy(scaled).float(), atol=1e-6)


def test_large_data_is_decoded_on_demand(saved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    found = load(data_of(dataset=saved, label_column="label"))
    assert isinstance(found, OnDemand) and greys(found) == list(VALUES)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    good = made()[0]["image"]
    broken = datasets.Dataset.from_dict({"image": [good, {"bytes": b"no image", "path": None}]}, features=features)
    broken.save_to_disk(str(tmp_path / "broken"))
    with pytest.raises(BadDataError, match=r"data.image_column: must hold images, but got UnidentifiedImageError.* in row 1 of"):
        load(data_of(dataset=str(tmp_path / "broken")))


@pytest.mark.parametrize(
    ("column", "labels", "message"),
    [
        (datasets.Value("float32"), [0.5, 0.5, 0.5, 0.5], "whole numbers or words, but got a label of type float in row 0"),
        (datasets.Value("string"), ["a", None, "b", "a"], "but got a label of type NoneType in row 1 of column `extra`"),
        (datasets.ClassLabel(names=["a", "b"]), [0, 1, -1, 0], "must have a class in every row, but got -1 in row 2"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, column: Any, labels: list[Any], message: str) -> None:
    extra = datasets.Dataset.from_dict({"extra": labels}, features=datasets.Features({"extra": column}))
    path = str(tmp_path / "extra")
    datasets.concatenate_datasets([made(), extra], axis=1).save_to_disk(path)
    with pytest.raises(BadDataError, match=message):
        load(data_of(dataset=path, label_column="extra"))


def test_what_is_not_there(saved: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=r"data.image_column: must be a column of the data set, but got 'img'; .*image"):
        load(data_of(dataset=saved, image_column="img"))
    with pytest.raises(BadDataError, match=r"data.split: must be left out, since .* has no splits, but got 'test'; remove it"):
        load(data_of(dataset=saved, split="test"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        BadDataError, match=r"data.dataset: must be a data set that loads with the split 'train', but got .*; fix"
    ):
        load(data_of(dataset=str(tmp_path / "empty")))


def test_outline_reads_names_and_columns_of_saved_data(saved: str) -> None:
    def told(options: str, constraint: str = "{classes: [dog]}") -> list[str]:
        text = f"data: {{dataset: '{saved}', {options}}}\nconstraints:\n  - {{name: a, at_most: 1.0, data: {constraint}}}\n"
        return [str(problem) for problem in check(*recipe_of(text))]

    assert told("label_column: label, keep: {cat: 0.5}") == []
    assert told("label_column: number", "{classes: [9]}") == []  # only loading can tell
    assert (
        "classes.0: must be a class of the data, but got 'dgo'; did you mean `dog`?"
        in told("label_column: label", "{classes: [dgo]}")[0]
    )
    assert "classes.0: must go with data that has labels, but got 'dog'" in told("grey: true")[0]
    problems = told("label_column: lable, image_column: picture")
    assert "data.image_column: must be a column" in problems[0] and "did you mean `label`?" in problems[1]
    assert "data.split: must be left out" in told("label_column: label, split: test")[0]


def test_what_a_saved_data_set_holds_is_known_as_loading_tells_it(saved: str) -> None:
    options = data_of(dataset=saved, label_column="label")
    known, examples = inspect(options), load(options)
    assert known.total == len(examples) and known.shape == examples.shape and known.class_names == examples.class_names
    assert known.counts == tuple(np.bincount(examples.labels if examples.labels is not None else []))
    assert known.look is not None and known.look.grey and known.look.constant == 4
    assert (known.look.low, known.look.high) == (-1, 1)


def test_rows_that_were_selected_later_are_known_once_they_are_loaded(tmp_path: Path) -> None:
    made().select([3, 0]).save_to_disk(str(tmp_path / "some"))
    indexed = datasets.load_from_disk(str(tmp_path / "some"))
    assert inspect(data_of(dataset=str(tmp_path / "some"), label_column="label")).total == len(indexed) == 2
    state = tmp_path / "some" / "state.json"  # as older versions of datasets leave it
    state.write_text(state.read_text().replace('"_data_files"', '"_indices_files": [{"filename": "x"}], "_data_files"'))
    assert inspect(data_of(dataset=str(tmp_path / "some"), label_column="label")).total is None


def test_a_damaged_image_of_a_saved_data_set_is_told_without_loading(tmp_path: Path) -> None:
    good = {"bytes": _png(), "path": None}
    features = datasets.Features({"image": datasets.Image()})
    broken = datasets.Dataset.from_dict({"image": [good, {"bytes": b"no image", "path": None}]}, features=features)
    broken.save_to_disk(str(tmp_path / "broken"))
    (problem,) = map(str, check(*recipe_of(f"data: {{dataset: '{tmp_path}/broken'}}\n")))
    assert "data.image_column: must hold readable images, but got cannot identify image file" in problem and "row 1 of" in problem


def _png() -> bytes:
    written = io.BytesIO()
    Image.new("L", (8, 8), 7).save(written, "png")
    return written.getvalue()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("dataset_info.json", None, "dataset_info.json, which is not there"),
        ("dataset_info.json", "{", "info.json, which is damaged"),
        ("state.json", "", "state.json, which is damaged"),
        ("state.json", "[]", "state.json, which is damaged"),
    ],
)
def test_a_saved_data_set_that_is_not_whole_is_told_by_its_file(
    tmp_path: Path, file: str, content: str | None, said: str
) -> None:
    datasets.Dataset.from_dict({"image": [[[0, 1], [2, 3]]]}).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "saved" / file).unlink() if content is None else (tmp_path / "saved" / file).write_text(content)
    (problem,) = map(str, check(*recipe_of(f"data: {{dataset: '{tmp_path}/saved'}}\n")))
    assert "data.dataset: must be whole, as save_to_disk writes it" in problem and said in problem


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([_png(), _png()], "bytes; say what they are by dataset.cast_column"),
        ([None, None], "no image"),
        ([], "must hold examples"),
    ],
)
def test_a_column_that_holds_no_images_is_told_in_words(tmp_path: Path, values: list[Any], said: str) -> None:
    kind = datasets.Value("binary") if values and values[0] else datasets.Image()
    rows = datasets.Dataset.from_dict({"image": values}, features=datasets.Features({"image": kind}))
    try:
        rows.save_to_disk(str(tmp_path / "saved"))
    except ZeroDivisionError:
        pytest.skip("datasets 4.0 itself saves nothing without rows")
    with pytest.raises(BadDataError, match=said):
        load(data_of(dataset=str(tmp_path / "saved")))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("captions: label", "captions: must be a column of texts, but got 'label', whose values are classlabel; valid: text"),
        ("captions: n", "data.captions: must be a column of texts, but got 'n', whose values are float64"),
        ("label_column: n", "data.label_column: must be a column of classes, but got 'n', whose values are float64"),
        ("label_column: image", "data.label_column: must be a column of classes, but got 'image', whose values are image"),
        ("image_column: text", "must be a column of images, but got 'text', whose values are string; valid: image"),
        ("image_column: raw", "but got 'raw', whose values are binary; say what the bytes are by dataset.cast_column('raw', "),
        ("captions: text, label_column: label", None), ("label_column: text", None),
    ],
)  # fmt: skip
def test_columns_of_another_kind_are_told_without_loading(tmp_path: Path, keys: str, says: str | None) -> None:
    values = {
        "image": [{"bytes": _png(), "path": None}] * 2, "label": [0, 1], "n": [0.5, 1.5], "text": ["a", "b"], "raw": [_png()] * 2,
    }  # fmt: skip
    features = {
        "image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"]), "n": datasets.Value("float64"),
        "text": datasets.Value("string"), "raw": datasets.Value("binary"),
    }  # fmt: skip
    datasets.Dataset.from_dict(values, features=datasets.Features(features)).save_to_disk(str(tmp_path / "saved"))
    problems = list(map(str, check(*recipe_of(f"data: {{dataset: '{tmp_path}/saved', {keys}}}\n"))))
    assert problems == [] if says is None else len(problems) == 1 and says in problems[0], problems

"""A text for every example: of a folder with `metadata.jsonl`, and of a column of a data set."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data.captions import among, matching
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.joined import concatenate
from dualsweep.trainer.data.load import inspect, load
from dualsweep.trainer.data.sources.folder import SOURCE
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.recipe.recipe import Recipe
from tests.sweeps.in_process import RECIPE
from tests.trainer.data.conftest import data_of

TEXTS = {"a.png": "a red apple", "b.png": "a blue pear", "c.png": "a red apple", "d.png": "Nothing, in words"}


def folder_of(place: Path, lines: list[Any], below: str = "") -> Path:
    (place / below).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(sorted(TEXTS)):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(place / below / name)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (place / below / "metadata.jsonl").write_text(text)
    return place


def lines(**changes: Any) -> list[dict[str, Any]]:
    return [{"file_name": name, "text": text} for name, text in {**TEXTS, **changes}.items()]


@pytest.mark.parametrize("below", ["", "some"])
def test_a_folder_s_captions_are_those_of_its_files_in_whatever_order_they_are_written(tmp_path: Path, below: str) -> None:
    """Beside or below the file that has them, which is not counted among what is no image."""
    place = folder_of(tmp_path / "images", lines()[::-1], below)
    examples = load(data_of(folder=str(place), captions="text"))
    assert examples.captions is not None
    assert examples.captions.texts == ("a red apple", "a blue pear", "Nothing, in words")
    assert examples.captions.of.tolist() == [0, 1, 0, 2] and list(SOURCE.passed_over(str(place))) == []
    assert inspect(data_of(folder=str(place), captions="text")).captions == list(TEXTS.values())
    assert load(data_of(folder=str(place))).captions is None


def test_lines_may_lie_in_any_folder_between_the_data_s_and_the_images(tmp_path: Path) -> None:
    """The class's folder has none but sub-folders of images."""
    place = folder_of(tmp_path / "images", [], "cats/2024")
    written = [{**line, "file_name": "2024/" + line["file_name"]} for line in lines()]
    (place / "cats" / "metadata.jsonl").write_text("\n".join(map(json.dumps, written)))
    examples = load(data_of(folder=str(place), captions="text"))
    assert examples.captions is not None and examples.captions.of.tolist() == [0, 1, 0, 2]
    assert inspect(data_of(folder=str(place), captions="text")).captions == list(TEXTS.values())


@pytest.mark.parametrize(
    ("written", "received"),
    [
        (lines()[1:], "no caption in file {place}/a.png (no line of metadata.jsonl)"),
        (lines(**{"b.png": "  "}), "an empty caption in file {place}/b.png ({place}/metadata.jsonl:2)"),
        (lines(**{"c.png": 7}), "the caption 7 in file {place}/c.png ({place}/metadata.jsonl:3)"),
        ([*lines(), "not json"], "'not json' in {place}/metadata.jsonl:5"),
        ([*lines(), {"text": "whose?"}], "in {place}/metadata.jsonl:5"),
        (
            [*lines(), *lines(**{"b.png": "a pear"})[1:2]],
            "two lines for b.png, {place}/metadata.jsonl:2 and {place}/metadata.jsonl:5",
        ),
        ([{"file_name": "a.png", "caption": "x"}], "no `text` in {place}/metadata.jsonl:1; did you mean `caption`"),
        ([], "no metadata.jsonl with lines in {place}"),
    ],
)
def test_what_is_missing_is_told_by_file_and_line_before_anything_is_loaded(
    tmp_path: Path, written: list[Any], received: str
) -> None:
    data = data_of(folder=str(folder_of(tmp_path, written)), captions="text")
    for read in (inspect, load):
        with pytest.raises(BadDataError) as told:
            read(data)
        text = str(told.value)
        assert text.startswith("data.captions: must hold a text for every example, but got ") and "\n" not in text
        assert received.partition(";")[0].format(place=tmp_path) in text


def test_a_column_of_a_data_set(tmp_path: Path) -> None:
    images = [Image.fromarray(np.full((8, 8), 60 * number, np.uint8)) for number in range(4)]
    saved = datasets.Dataset.from_dict({"image": images, "text": list(TEXTS.values())})
    saved = saved.cast_column("image", datasets.Image())
    saved.save_to_disk(str(tmp_path / "saved"))
    examples = load(data_of(dataset=str(tmp_path / "saved"), captions="text"))
    assert examples.captions is not None and examples.captions.of.tolist() == [0, 1, 0, 2]
    for read in (inspect, load):
        with pytest.raises(BadDataError, match=r"data.captions: must be a column of the data set, but got 'txt'; .*text"):
            read(data_of(dataset=str(tmp_path / "saved"), captions="txt"))
    saved.map(lambda row: {"text": None if row["text"].startswith("N") else row["text"]}).save_to_disk(str(tmp_path / "holes"))
    with pytest.raises(BadDataError, match="no caption in row 3 of "):
        load(data_of(dataset=str(tmp_path / "holes"), captions="text"))


def recipe_of(place: Path, patterns: list[str], **data: Any) -> Recipe:
    constraints = [{"name": "some", "data": {"captions": patterns}, "at_most": 0.3}]
    return Recipe.model_validate({**RECIPE, "data": {"folder": str(place), **data}, "constraints": constraints})


def test_constraints_are_on_what_a_pattern_fits(tmp_path: Path) -> None:
    place = folder_of(tmp_path, lines())
    assert assemble(recipe_of(place, ["*RED*"], captions="text")).rows[1].tolist() == [0, 2]
    assert assemble(recipe_of(place, ["a blue pear", "nothing*"], captions="text")).rows[1].tolist() == [1, 3]
    assert matching(["a red apple", "[x]"], ["*apple", "a ?ed*"]) == [True, False]


def test_but_for_the_star_a_pattern_is_what_it_says() -> None:
    texts = ["[sks] dog", "small dog", "what is its", "what is it?", "a\nb", "A.b"]
    for pattern, fits in (("[sks]*", [0]), ("what is it?", [3]), ("a*b", [4, 5]), ("a.b", [5]), ("*", range(6)), ("", [])):
        assert [at for at, fit in enumerate(matching(texts, [pattern])) if fit] == list(fits), pattern
    assert matching(texts, ["*dog", "a*"]) == [True, True, False, False, True, True]


def test_cases_and_ways_to_write_a_mark_make_no_difference() -> None:
    texts = ["Äpfel", "\u00e4pfel", "a\u0308PFEL", "Stra\u00dfe", "apfel"]
    for pattern in ("äpfel", "A\u0308*"):
        assert matching(texts, [pattern]) == [True, True, True, False, False]
    assert matching(texts, ["STRASSE"]) == [False, False, False, True, False]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_of_json_as_they_are_written_elsewhere(tmp_path: Path, encoding: str) -> None:
    """With any of the encodings and line ends, other ends of lines within a text, and a name whose accent is decomposed."""
    place = folder_of(tmp_path, lines())
    (place / "a.png").rename(place / unicodedata.normalize("NFD", "é.png"))
    written = [{"file_name": "é.png", "text": "one\u2028two\x85"}, *lines()[1:]]
    content = "\r\n".join(json.dumps(line, ensure_ascii=False) for line in written)
    (place / "metadata.jsonl").write_bytes(content.encode(encoding))
    captions = load(data_of(folder=str(place), captions="text")).captions
    assert captions is not None and set(captions.texts) == {"one\u2028two\x85", *list(TEXTS.values())[1:]}


def test_lines_in_another_encoding_are_refused_by_file(tmp_path: Path) -> None:
    place = folder_of(tmp_path, lines())
    (place / "metadata.jsonl").write_bytes(b'{"file_name": "a.png", "text": "caf\xe9"}')
    for read in (inspect, load):
        with pytest.raises(BadDataError, match=r"got .*metadata.jsonl, which cannot be read .*; save it as UTF-8 text"):
            read(data_of(folder=str(place), captions="text"))


@pytest.mark.parametrize(
    ("patterns", "data", "says"),
    [
        (
            ["*green*"],
            {"captions": "text"},
            "must have examples to train on, but got none for ['*green*'], which no caption fits",
        ),
        (["*red*"], {}, "must go with data that have captions, but got data without; say by `data.captions`"),
    ],
)
def test_a_pattern_that_fits_nothing_is_told_light_and_loaded(
    tmp_path: Path, patterns: list[str], data: dict[str, Any], says: str
) -> None:
    recipe = recipe_of(folder_of(tmp_path, lines()), patterns, **data)
    assert [says in str(each) for each in before_loading.check(recipe, Document("", {}))] == [True]
    with pytest.raises(BadDataError) as told:
        assemble(recipe)
    assert says in str(told.value)


def test_what_is_joined_to_captioned_examples_has_none(tmp_path: Path) -> None:
    examples = load(data_of(folder=str(folder_of(tmp_path, lines())), captions="text"))
    joined = concatenate(examples, examples)
    assert joined.captions is not None and joined.captions.of.tolist() == [0, 1, 0, 2, -1, -1, -1, -1]
    assert among([]).texts == ()


def test_captions_go_with_sources_that_have_them() -> None:
    with pytest.raises((InputError, ValueError), match="must go with `folder` or `dataset`"):
        data_of(source="digits", captions="text")

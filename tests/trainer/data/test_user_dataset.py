"""Users' data sets in every form they may take, and the forms they may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, TensorDataset

from dualsweep.trainer.data import examples as examples_module
from dualsweep.trainer.data.examples import Examples, OnDemand
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.load import load
from dualsweep.trainer.data.user_dataset import to_examples
from tests.trainer.conftest import WriteModule
from tests.trainer.data.conftest import data_of

X = torch.linspace(-1, 1, 4 * 3 * 2 * 2).reshape(4, 3, 2, 2)
LABELS = [3, 7, 7, 3]


def made(result: Any) -> Examples:
    return to_examples(result, "my:load", ("data", "call"))


class Items:
    """A map-style data set without torch's base class."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.items[row]


@pytest.mark.parametrize(
    "result",
    [
        X,
        X.double().numpy(),
        np.flip(np.flip(X.numpy(), 0).copy(), 0),
        X.numpy().astype(">f4"),
        np.asfortranarray(X.numpy()),
        list(X),
        Items(list(X.numpy())),
        TensorDataset(X),
        (X, LABELS),
        (X.numpy(), np.array(LABELS)),
        TensorDataset(X, torch.tensor(LABELS)),
        Items([(x, label) for x, label in zip(X, LABELS, strict=True)]),
        [[x, torch.tensor([label])] for x, label in zip(X, LABELS, strict=True)],
    ],
)
def test_every_form_gives_the_same_tensor(result: Any) -> None:
    examples = made(result)
    assert examples.shape == (3, 2, 2) and torch.equal(examples.fetch(np.arange(4)), X)
    if examples.labels is not None:
        assert examples.class_names == (3, 7) and examples.labels.tolist() == [0, 1, 1, 0]


def test_forms_without_labels_have_none() -> None:
    assert made(X).labels is None and made(TensorDataset(X)).labels is None and made(list(X)).class_names == ()


@pytest.mark.parametrize(
    ("given", "shape"),
    [((5,), (5,)), ((4, 6), (1, 4, 6)), ((2, 3, 4), (2, 3, 4)), ((2, 3, 4, 5), (2, 3, 4, 5)), ((16, 4, 4), (16, 4, 4))],
)
def test_pictures_without_channel_get_one_and_other_shapes_stay(given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    x = torch.rand(2, *given)
    assert made(x).shape == shape == made(list(x)).shape


@pytest.mark.parametrize(
    ("labels", "names"),
    [(["b", "a"], ("a", "b")), (["10", "9"], (9, 10)), ([1, -1], (-1, 1)), ([True, False], (0, 1)), (["007", "1"], ("007", "1"))],
)
def test_names_of_classes(labels: list[Any], names: tuple[int | str, ...]) -> None:
    found = made((X[:2], labels))
    assert found.class_names == names and found.labels is not None
    assert [str(found.class_names[label]) for label in found.labels] == [
        str(int(each) if each in (True, False) else each) for each in labels
    ]


class Torchvision(Items):
    targets = LABELS
    target_transform: Any = None


def test_labels_of_large_data_come_from_targets_else_from_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    reads: list[int] = []

    class Counted(Torchvision):
        def __getitem__(self, row: int) -> Any:
            reads.append(row)
            return super().__getitem__(row)

    items = [(x, label) for x, label in zip(X, LABELS, strict=True)]
    quick = made(Counted(items))
    assert isinstance(quick, OnDemand) and set(reads) == {0}
    changed = Counted(items)
    changed.target_transform = str
    slow = made(changed)
    assert set(reads) == {0, 1, 2, 3}
    for examples in (quick, slow):
        assert examples.labels is not None and examples.labels.tolist() == [0, 1, 1, 0] and examples.class_names == (3, 7)
        assert torch.equal(examples.fetch(np.array([2, 1])), X[[2, 1]])


class Lengthless:
    """A data set whose length is none."""

    def __init__(self, length: Any) -> None:
        self.length = length

    def __len__(self) -> Any:
        return self.length

    def __getitem__(self, row: int) -> torch.Tensor:
        return X[row]


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(X)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "a data set with a length and items by number, but got a NoneType; return a torch Dataset"),
        (Endless(), "a data set with a length and items by number, but got a Endless"),
        ([], "must hold at least one example, but got none"),
        (torch.zeros(0, 3), "must hold at least one example, but got none"),
        (X.mul(127).byte(), "must hold floating-point numbers, images in .-1, 1., but got torch.uint8; scale pixels"),
        ([X[0], X[1].byte()], "but got torch.uint8 in item 1 of my:load"),
        (np.array([[1, "a"]], dtype=object), "floating-point numbers, .* but got an array of object; convert it to one array"),
        (np.array([["a"]]), "but got an array of <U1; convert"),
        (np.zeros((2, 1, 2, 2), "M8[s]"), "but got an array of datetime64"),
        ([np.array([X[0].numpy(), None], dtype=object)], "but got an array of object in item 0 of my:load; convert"),
        (X.to_sparse(), "but got a sparse_coo tensor; give a dense one"),
        (X.to("meta"), "but got a meta tensor; give a dense one"),
        (torch.empty(4, 3, 0, 2), r"must hold at least one number in each example, but got a tensor of shape \[4, 3, 0, 2\]"),
        ([X[0], torch.empty(3, 0)], "must hold at least one number in each example, but got .* in item 1"),
        (Lengthless(-1), "must lead to a data set with a length, but got ValueError from its length"),
        (Lengthless(2.5), "must lead to a data set with a length, but got TypeError from its length"),
        (torch.zeros(4), r"must hold examples \[N, ...\], but got a tensor of shape \[4\]"),
        (
            torch.zeros(2, 8, 8, 3),
            r"images \[C, H, W\], but got \[2, 8, 8, 3\], whose channels come last; use x.permute\(0, 3, 1",
        ),
        ([np.zeros((8, 8, 1), "f4")], r"but got \[8, 8, 1\], whose channels come last in item 0 of my:load; use x.permute\(2, 0"),
        ([torch.tensor(1.0)], "but got a single number in item 0"),
        ([{"image": X[0]}], "must hold arrays or tensors, but got a dict in item 0"),
        ([Image.new("L", (2, 2))], "must hold arrays or tensors, but got a Image in item 0"),
        ([X[0], (X[1], 3)], r"items that are all x, or all \(x, label\), but got a tuple of 2 in item 1"),
        ([(X[0], 3), X[1]], "but got a Tensor of 0 after x and label in item 1"),
        ([(X[0], 3, 4)], "but got a tuple of 3"),
        ([(X[0], 0.5)], "labels that are whole numbers or words, but got a label of type float in item 0"),
        ((X, [1, 2]), "one label for each example, but got 4 examples and 2 labels"),
        ([X[0], X[0, :, :1]], "must hold examples of one shape, but got 3x1x2 after 3x2x2 in item 1"),
        ([X[0], X[0] * float("nan")], "must hold finite numbers, but got nan at position .0, 0, 0. in item 1 of my:load"),
    ],
)
def test_other_forms_are_refused(result: Any, message: str) -> None:
    with pytest.raises(BadDataError, match=message):
        made(result)


def test_load_by_import_path(module: WriteModule) -> None:
    module("my_set", "import torch\ndef load():\n    return torch.ones(3, 1, 2, 2), [0, 1, 1]\ndef fails():\n    return 1 / 0\n")
    found = load(data_of(call="my_set:load"))
    assert len(found) == 3 and found.class_names == (0, 1)
    with pytest.raises(
        BadDataError, match=r"data.call: .*, but got ZeroDivisionError from my_set:fails: division by zero; fix"
    ) as raised:
        load(data_of(call="my_set:fails"))
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    with pytest.raises(BadDataError, match=r"data.call: must lead to a function that can be imported"):
        load(data_of(call="my_set:absent"))


def test_a_data_set_that_fails_at_an_item_is_told() -> None:
    class Failing(Items):
        def __getitem__(self, row: int) -> Any:
            if row == 2:
                raise OSError("disk on fire")
            return super().__getitem__(row)

    with pytest.raises(BadDataError, match="must be readable item by item, but got OSError: disk on fire in item 2 of my:load"):
        made(Failing(list(X)))


def test_an_array_that_is_read_only_is_taken_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    given = X.numpy().copy()
    given.flags.writeable = False
    assert torch.equal(made(given).fetch(np.arange(4)), X) and not list(recwarn)


def test_a_function_that_ends_the_process_is_told(module: WriteModule) -> None:
    module("ending", "import sys\ndef data():\n    sys.exit(3)\n")
    with pytest.raises(BadDataError, match="must be a function that returns data, but got SystemExit from ending:data: 3"):
        load(data_of(call="ending:data"))

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualsweep.trainer.data import examples as module
from dualsweep.trainer.data.examples import InMemory, OnDemand, Origin, from_reader, from_tensor
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.joined import concatenate
from dualsweep.trainer.errors import TrainingError

ORIGIN = Origin(("data", "call"), lambda row: f"item {row}")


def images(count: int, *shape: int) -> torch.Tensor:
    return torch.linspace(-1, 1, count).reshape(-1, *[1] * len(shape)).expand(count, *shape).contiguous()


def test_small_data_is_kept_and_large_data_is_read_when_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    x, reads = images(5, 1, 4, 4), []

    def read(row: int) -> torch.Tensor:
        reads.append(row)
        return x[row]

    kept = from_reader(read, 5, ORIGIN)
    assert isinstance(kept, InMemory) and kept.shape == (1, 4, 4) and len(kept) == 5
    reads.clear()
    monkeypatch.setattr(module, "IN_MEMORY_BYTES", 5 * 16 * 4 - 1)
    lazy = from_reader(read, 5, ORIGIN)
    assert isinstance(lazy, OnDemand) and lazy.shape == (1, 4, 4) and len(lazy) == 5
    assert reads == [0]
    rows = np.array([3, 0, 3])
    assert torch.equal(lazy.fetch(rows), x[[3, 0, 3]]) and torch.equal(kept.fetch(rows), x[[3, 0, 3]])
    assert reads == [0, 3, 0, 3]


@pytest.mark.parametrize("threads", [1, 4])
def test_rows_come_in_the_order_asked_for(threads: int) -> None:
    x = images(100, 3, 2, 2)
    rows = np.random.default_rng(0).integers(100, size=64)
    lazy = OnDemand(lambda row: x[row], 100, (3, 2, 2), ORIGIN, threads)
    assert torch.equal(lazy.fetch(rows), x[torch.from_numpy(rows)])
    assert lazy.fetch(rows[:0]).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_data_that_is_not_finite_is_refused_naming_the_place(value: float) -> None:
    x = images(3000, 1, 2, 2)
    x[2500, 0, 1, 0] = value
    message = rf"data.call: must hold finite numbers, but got {value} at position \[0, 1, 0\] in item 2500; fix"
    with pytest.raises(TrainingError, match=message):
        from_tensor(x, None, (), ORIGIN)
    with pytest.raises(TrainingError, match=message):
        from_reader(lambda row: x[row], 3000, ORIGIN)
    lazy = OnDemand(lambda row: x[row], 3000, (1, 2, 2), ORIGIN)
    lazy.fetch(np.arange(2500))
    with pytest.raises(TrainingError, match=message):
        lazy.fetch(np.array([7, 2500]))


def test_examples_of_another_shape_and_no_examples_are_refused() -> None:
    x = [torch.zeros(1, 4, 4), torch.zeros(1, 4, 5)]
    with pytest.raises(BadDataError, match="must hold examples of one shape, but got 1x4x5 after 1x4x4 in item 1"):
        from_reader(lambda row: x[row], 2, ORIGIN)
    with pytest.raises(BadDataError, match="must hold at least one example, but got none"):
        from_reader(lambda row: x[row], 0, ORIGIN)


def test_concatenation_offsets_rows_and_gives_the_second_no_class() -> None:
    first = InMemory(images(3, 2), np.array([0, 1, 0]), ("a", "b"))
    both = concatenate(first, InMemory(images(2, 2) + 10, np.array([0, 0]), ("c",)))
    assert len(both) == 5 and both.shape == (2,) and both.class_names == ("a", "b")
    assert both.labels is not None and both.labels.tolist() == [0, 1, 0, -1, -1]
    assert both.fetch(np.array([4, 0, 3, 2]))[:, 0].tolist() == [11, -1, 9, 1]
    third = concatenate(both, InMemory(images(1, 2) + 20))
    assert third.fetch(np.array([5, 4, 1]))[:, 0].tolist() == [19, 11, 0]
    assert concatenate(InMemory(images(3, 2)), first).labels is None
    with pytest.raises(ValueError, match="must join examples of one shape"):
        concatenate(first, InMemory(images(1, 3)))

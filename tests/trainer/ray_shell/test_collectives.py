"""What workers tell each other is never unpickled, and they meet on the address that they are told alone."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.evaluation.draws_file import received, sent
from dualsweep.trainer.ray_shell.collectives import agreed, gathered

CPU = torch.device("cpu")


def member(rank: int, world: int, folder: str, body: Callable[[int], Any]) -> None:
    store = distributed.FileStore(f"{folder}/store", world)  # type: ignore[attr-defined]  # torch types no such name
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    Path(folder, f"{rank}").write_bytes(pickle.dumps(body(rank)))
    distributed.destroy_process_group()


def in_group(world: int, folder: Path, body: Callable[[int], Any]) -> list[Any]:
    """What `body(rank)` returns on each member of a group of processes."""
    multiprocessing.spawn(member, (world, str(folder), body), nprocs=world)  # type: ignore[attr-defined]
    return [pickle.loads((folder / f"{rank}").read_bytes()) for rank in range(world)]


def bytes_of_unequal_length(rank: int) -> tuple[list[bytes] | None, list[bytes] | None, int]:
    return gathered(bytes([rank]) * 1000 * rank, CPU), gathered(b"", CPU), agreed(7 - rank, CPU)


def test_bytes_of_any_length_come_to_rank_0_and_its_number_to_all(tmp_path: Path) -> None:
    first, second, third = in_group(3, tmp_path, bytes_of_unequal_length)
    assert first == ([b"", b"\1" * 1000, b"\2" * 2000], [b"", b"", b""], 7)
    assert second == third == (None, None, 7)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_what_a_peer_pickled_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    objects, array = pickle.dumps(Evil(mark)), io.BytesIO()
    np.savez(array, head=np.array([Evil(mark)], dtype=object), allow_pickle=True)
    for data in (objects, array.getvalue()):
        with pytest.raises(ValueError, match=r"draws\.npz must be as a final evaluation writes it"):
            received(data)
    assert not mark.exists()
    pickle.loads(objects)
    assert mark.exists()  # it would have


def test_draws_arrive_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    plain = JointDraws((0, 2), rng.normal(size=(7, 2)), (4, 3), True)
    grouped = JointDraws((1,), rng.normal(size=(5, 1)), (5,), False, np.arange(5) // 2, np.arange(5) % 2, "images")
    arrived = received(sent([plain, grouped]))
    for one, other in zip(arrived, (plain, grouped), strict=True):
        for field in fields(JointDraws):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    assert received(sent([])) == []

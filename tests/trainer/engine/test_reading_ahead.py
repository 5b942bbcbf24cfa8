"""Trainings whose examples are read ahead: the same to the bit as without, however it is divided, interrupted and how λ moves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.data import examples as examples_module
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources import supply
from dualsweep.trainer.sources.base import SourceStep
from dualsweep.trainer.sources.mixture import MixtureStep
from dualsweep.trainer.sources.value_accumulator import ValueAccumulator
from tests.trainer.engine.test_loop import Interrupted, run
from tests.trainer.recipes import digits

SIDE = 8
#: All on the objective, on one constraint, on the other, on all.
JUMPS = [(1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0), (0.2, 0.4, 0.4), (0, 0, 1), (1, 0, 0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 JPEGs of three classes."""
    made, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(60):
        file = made / "abc"[number % 3] / f"{number:02}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 12), dtype=np.uint8)).save(file)
    return made


@pytest.fixture(autouse=True)
def on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    assert loaders() == []


def loaders() -> list[psutil.Process]:
    """The loader processes of this process."""
    return [each for each in psutil.Process().children() if "dualsweep.trainer.data.loader" in each.cmdline()]


def recipe(folder: Path, loaders: int | None, **sections: Any) -> Recipe:
    constraints = [
        {"name": "b", "data": {"classes": ["b"]}, "at_most": 0.01},
        {"name": "c", "data": {"classes": ["c"]}, "at_most": 0.02, "relative_to": "objective"},
    ]
    plain: dict[str, Any] = {
        "data": {"source": None, "keep": {}, "folder": str(folder), "size": SIDE, "grey": True}, "constraints": constraints,
        "dual": {"step_size": 3.0}, "train": {"steps": 8, "log_every": 1}, "checkpoint": {"every": 1},
        "evaluation": {"samples": 0, "loss_draws": 16, "grid": 0}, "resources": {"loaders": loaders},
    }  # fmt: skip
    for name, section in sections.items():
        plain[name] = {**plain.get(name, {}), **section}
    return digits(**plain)


def drawn(asked: Recipe, tmp_path: Path, rank: int = 0, world: int = 1) -> Iterator[MixtureStep]:
    """A worker's steps while the multipliers jump."""
    host = LocalHost(InProcess(controller_of(asked)), CheckpointFolder(str(tmp_path)))
    prepared = prepare(asked, host)
    host.rank, host.world = rank, world
    source = prepared.sources[0]
    for step, jump in enumerate(JUMPS):
        begun = source.begin_step(step, np.array(jump, dtype=float))
        assert isinstance(begun, MixtureStep)
        yield begun
    source.close()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("capacity", [2**20, 5 * SIDE * SIDE])
def test_draws_are_the_same_however_the_multipliers_jump(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacity: int
) -> None:
    monkeypatch.setattr(supply, "CAPACITY", capacity)
    counts = []
    for plain, ahead in zip(drawn(recipe(folder, 0), tmp_path), drawn(recipe(folder, 2), tmp_path), strict=True):
        assert torch.equal(plain._noised.x, ahead._noised.x) and torch.equal(plain._noised.noisy, ahead._noised.noisy)
        counts.append(np.bincount(plain._part, minlength=3).tolist())
    assert counts[:2] == [[12, 2, 2], [1, 13, 2]] and len(loaders()) == 0


@pytest.mark.parametrize("size", [16, 5])
def test_two_workers_draw_what_one_draws(folder: Path, tmp_path: Path, size: int) -> None:
    """By position; with 5 draws of three parts one of the workers may have none of its own."""
    asked = [recipe(folder, number, train={"batch_size": size, "floor": 1}) for number in (0, 2, 2)]
    turns = [drawn(each, tmp_path, rank, world) for each, (rank, world) in zip(asked, [(0, 1), (0, 2), (1, 2)], strict=True)]
    for one, *both in zip(*turns, strict=True):
        x = torch.full_like(one._noised.x, torch.nan)
        for half in both:
            if half._counted:
                x[torch.from_numpy(half._places.positions)] = half._noised.x
        assert torch.equal(x, one._noised.x)


def summed(steps: Sequence[SourceStep], models: Sequence[torch.nn.Module], pieces: int) -> tuple[torch.Tensor, np.ndarray]:
    """The mean over workers of the gradients of their losses, and the sums of their values."""
    gradients, sums = [], np.zeros((3, 3))
    for step, model in zip(steps, models, strict=True):
        values = ValueAccumulator(3)
        model.zero_grad()
        for piece in range(pieces):
            step.loss(0, piece).backward()
        step.add_to(values)
        gradients.append(torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None]))
        report = values.report(0, 0)
        sums += np.stack([report.count, report.total, report.squares])
    return torch.stack(gradients).mean(0), sums


#: Attention fails on a batch of none.
ATTENTIVE = {"unet": {"channels": [8, 16], "attention": True}}


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_worker_without_draws_adds_nothing(folder: Path, tmp_path: Path, pieces: int) -> None:
    """Seven workers of 4 draws, or pieces without any: the gradient and the sums are one worker's."""
    results = {}
    for world in (1, 7):
        begun, models = [], []
        for rank in range(world):
            asked = recipe(folder, 0, train={"batch_size": 4, "floor": 1, "accumulate": pieces}, model=ATTENTIVE)
            host = LocalHost(InProcess(controller_of(asked)), CheckpointFolder(str(tmp_path)))
            prepared = prepare(asked, host)
            host.rank, host.world = rank, world
            begun.append(prepared.sources[0].begin_step(0, np.array([0.5, 0.3, 0.2])))
            models.append(prepared.primal.predictor)
        results[world] = summed(begun, models, pieces)
    assert torch.allclose(results[1][0], results[7][0], atol=1e-6) and results[1][0].abs().max() > 1e-3
    assert np.allclose(results[1][1], results[7][1]) and results[1][1][0].sum() == 4


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The last checkpoint of an uninterrupted run without loaders, and the states of its multipliers."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(examples_module, "IN_MEMORY_BYTES", 0)
        _, _, states, end = run(recipe(folder, 0), tmp_path_factory.mktemp("whole"))
    return states, end


def same(one: Any, other: Any) -> bool:
    tensors = all(
        torch.equal(value, other.groups[group][name]) for group, values in one.groups.items() for name, value in values.items()
    )
    return tensors and {**one.state, "seconds": 0, "points": 0} == {**other.state, "seconds": 0, "points": 0}


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("stop_at", range(1, 8))
def test_interrupted_at_any_dual_step_and_continued_is_the_uninterrupted_run(
    folder: Path, tmp_path: Path, whole: Any, stop_at: int
) -> None:
    states, end = whole
    with pytest.raises(Interrupted):
        run(recipe(folder, 2), tmp_path, stop_at)
    assert loaders() == []
    _, _, continued, last = run(recipe(folder, 2), tmp_path)
    assert same(last, end) and sum(last.state["sources"][0]["drawn"]) == 8 * 16
    assert all((continued[version].applied == states[version].applied).all() for version in continued)
    assert np.ptp([states[version].applied for version in states], axis=0).max() > 0.1  # the multipliers do move


def test_a_checkpoint_without_positions_goes_on_with_first_draws(folder: Path, tmp_path: Path) -> None:
    """As 0.1 wrote them."""
    with pytest.raises(Interrupted):
        run(recipe(folder, 0), tmp_path, 4)
    (state,) = (tmp_path / "checkpoints").glob("step-*/state.json")
    plain = json.loads(state.read_text())
    assert sum(plain.pop("sources")[0]["drawn"]) == 16 * plain["step"]
    state.write_text(json.dumps(plain))
    marker = state.parent / "complete.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "state.json": len(state.read_bytes())}))
    _, _, _, last = run(recipe(folder, 0), tmp_path)
    assert last.step == 8 and sum(last.state["sources"][0]["drawn"]) == 16 * (8 - plain["step"])


@pytest.mark.usefixtures("nothing_left")
def test_a_broken_file_ends_the_training_by_its_name(folder: Path, tmp_path: Path) -> None:
    for file in folder.rglob("*.jpg"):
        copy = tmp_path / "images" / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    broken = tmp_path / "images" / "b" / "31.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(BadDataError, match=rf"must hold readable images, but got .* in file {broken}"):
        run(recipe(tmp_path / "images", 2, train={"steps": 200}), tmp_path / "out")


@pytest.mark.usefixtures("nothing_left")
def test_loaders_end_with_the_steps_and_are_as_many_as_asked(folder: Path, tmp_path: Path) -> None:
    seen = []

    class Host(LocalHost):
        def report(self, payload: Any) -> None:
            seen.append(len(loaders()))

    for number, most in ((3, 3), (None, min(8, os.cpu_count() or 1))):
        seen.clear()
        asked = recipe(folder, number)
        host = Host(InProcess(controller_of(asked)), CheckpointFolder(str(tmp_path / str(number))))
        loop = Loop(prepare(asked, host), lambda _: {})
        loop.run()
        assert seen == [most] and loaders() == []
        assert (
            0 <= host.observed["read_ahead_examples"] <= 16 * 8 and host.observed["staleness_dual_steps"] == asked.dual.staleness
        )

"""Void updates: nothing moves, which the device decides; they are counted, and blamed on bad inputs, when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.controller import MOST_SKIPPED
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.update_log import UpdateLog
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.base import Inputs
from tests.trainer.engine.test_loop import aligned, run
from tests.trainer.recipes import digits


class Batch:
    """A source's step of inputs of which the k-th is that of row 10 + k."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def inputs(self) -> Inputs:
        return Inputs.of(self.x, lambda bad: f"rows {(10 + bad).tolist()}")


GOOD, BAD = torch.tensor(1.5), torch.tensor(torch.nan)
CLEAN = Batch(torch.zeros(4, 1, 2, 2))


def logged(*norms: torch.Tensor, log: UpdateLog | None = None) -> UpdateLog:
    log = log or UpdateLog()
    for step, norm in enumerate(norms):
        log.add(step, norm, [CLEAN])  # type: ignore[list-item]
    log.read()
    return log


def test_bad_updates_in_a_row_are_counted_over_readings() -> None:
    log = logged(BAD, GOOD, torch.tensor(torch.inf), BAD)
    assert (log.bad, log.most) == (2, 2)
    logged(BAD, GOOD, BAD, log=log)
    assert (log.bad, log.most) == (1, 3), "a row that ended before the reading, and began before the last"
    logged(log=log)
    assert (log.bad, log.most) == (1, 1)


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_bad_inputs_of_a_void_update_are_named_with_its_step(number: float) -> None:
    x = torch.full((4, 1, 2, 2), 3e38)
    x[[1, 3], 0, 1, 0] = number
    for norm, after in ((GOOD, None), (BAD, r"rows \[11, 13\] \(step 6\)")):
        log = UpdateLog()
        log.add(5, BAD, [CLEAN])  # type: ignore[list-item]
        log.add(6, norm, [CLEAN, Batch(x)])  # type: ignore[list-item]
        if after is None:
            log.read()
        else:
            with pytest.raises(TrainingError, match=after):
                log.read()


def loop_of(folder: Path, **dual: Any) -> Loop:
    recipe = digits(train={"steps": 100}, dual={"rule": "fixed", **dual}, model={"unet": {"channels": [8]}})
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder)))
    return Loop(prepare(recipe, host), lambda _: {})


def spoiled(primal: GradientPrimal, monkeypatch: pytest.MonkeyPatch, bad: range) -> None:
    """Makes the gradients of the updates `bad` infinite in one weight of many."""
    update, number = primal.update, iter(range(1000))

    def spoiling(surrogates: Any) -> torch.Tensor:
        size = torch.inf if next(number) in bad else 0.0
        return update([*surrogates, lambda: size * primal.parameters[3].flatten()[0].nan_to_num()])

    monkeypatch.setattr(primal, "update", spoiling)


def everything(primal: GradientPrimal) -> dict[str, torch.Tensor]:
    groups, numbers = primal.state()
    flat = {f"{group}.{name}": value for group, tensors in groups.items() for name, value in tensors.items()}
    return flat | {"updates": torch.tensor(numbers["ema_steps"])}


def test_nothing_moves_at_a_void_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = loop_of(tmp_path)
    loop.host.coordinator.begin(loop.state, 1)
    assert isinstance(loop.primal, GradientPrimal)
    spoiled(loop.primal, monkeypatch, range(2, 4))
    kept = []
    for _ in range(5):
        kept.append(everything(loop.primal))
        loop.advance()
    assert kept[2].keys() == kept[4].keys()
    assert all(torch.equal(value, kept[4][name]) for name, value in kept[2].items())
    moved = [name for name, value in everything(loop.primal).items() if not torch.equal(value, kept[4][name])]
    assert any(name.startswith("weights") for name in moved) and {"optimizer.0.step", "updates"} <= set(moved)
    assert all(any(each.startswith(group) for each in moved) for group in ("average", "optimizer"))


@pytest.mark.parametrize(("bad", "every", "end"), [
    (range(3, 3 + MOST_SKIPPED), 1, 3 + MOST_SKIPPED),
    (range(3, 3 + MOST_SKIPPED), 10, 30),  # at the next dual step, though it had recovered by then
    (range(3, 2 + MOST_SKIPPED), 10, 100),
])  # fmt: skip
def test_a_run_ends_at_the_dual_step_after_too_many(
    bad: range, every: int, end: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    loop = loop_of(tmp_path, every=every)
    assert isinstance(loop.primal, GradientPrimal)
    spoiled(loop.primal, monkeypatch, bad)
    trained = loop.run()
    assert trained.step == end
    if end < 100:
        assert trained.early is not None and trained.early[0] == "diverged"
        assert trained.early[1].startswith(f"{MOST_SKIPPED} steps in a row had a gradient that is not finite")


class Broken(torch.nn.Module):
    """A network that has diverged."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(float("nan")))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def picky(x: torch.Tensor) -> torch.Tensor:
    """A reward that takes no pixel that is none."""
    if not x.isfinite().all():
        raise ValueError("no image")
    return x.mean((1, 2, 3))


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient", "dag"])
@pytest.mark.parametrize("reward", ["brightness", {"call": "tests.trainer.engine.test_update_log:picky"}])
def test_samples_of_a_diverged_model_are_not_blamed_on_rewards(gradient: str, reward: Any, tmp_path: Path) -> None:
    plain = aligned(gradient).model_dump(mode="json")
    plain |= {
        "models": {"pretrained": plain["model"]},
        "model": {"call": "tests.trainer.engine.test_update_log:Broken", "shape": [1, 8, 8]},
        "constraints": [{"name": "bright", "reward": reward, "at_least": 0.5}],
        "train": {"steps": 40}, "monitor": {"every": 10, "samples": 2},
    }  # fmt: skip
    result, *_ = run(Recipe.model_validate(plain), tmp_path)
    assert result.status == "diverged" and result.steps < 40
    assert "lower train.lr" in result.reason

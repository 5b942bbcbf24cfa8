"""A batch in pieces is the whole batch: the same multipliers, values and weights, with the activations of one piece at a time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, nn

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from tests.trainer.engine.saved import most_kept
from tests.trainer.recipe.test_formulations import AND
from tests.trainer.recipes import digits

STEPS = 50


class Listening(InProcess):
    """Keeps reports and states."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reports: list[SlackReport] = []
        self.states: list[DualState] = []

    def exchange(self, report: SlackReport) -> Any:
        answer = super().exchange(report)
        self.reports.append(report)
        self.states.append(answer())
        return answer


def loop_of(folder: Path, accumulate: int, **sections: Any) -> tuple[Loop, Listening]:
    train = {"steps": STEPS, "lr": 1e-3, **sections.pop("train", {}), "accumulate": accumulate}
    recipe = digits(**{"model": {"unet": {"channels": [8]}}, **sections, "train": train})
    coordinator = Listening(controller_of(recipe))
    loop = Loop(prepare(recipe, LocalHost(coordinator, CheckpointFolder(str(folder)))), lambda _: {})
    coordinator.begin(loop.state, 1)
    return loop, coordinator


CASES: dict[str, dict[str, Any]] = {
    "clipped": {"train": {"clip": 0.1}},
    "a product": {**AND, "dual": {"rule": "simplex", "every": 1}},
}


@pytest.mark.parametrize("case", CASES)
def test_pieces_are_the_whole(case: str, tmp_path: Path) -> None:
    (whole, one), (parts, several) = (loop_of(tmp_path, accumulate, **CASES[case]) for accumulate in (1, 3))
    for _ in range(STEPS):
        whole.advance()
        parts.advance()
    assert len(several.states) == len(one.states) == STEPS
    for mine, other, state, other_state in zip(several.reports, one.reports, several.states, one.states, strict=True):
        np.testing.assert_array_equal(mine.count, other.count)
        np.testing.assert_allclose(mine.total, other.total, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(state.multipliers, other_state.multipliers, rtol=1e-6, atol=1e-7)
    assert float(one.states[-1].multipliers.max()) > 0.01, "they have moved"
    # Not the weights themselves: AdamW moves a bias before a normalisation, whose gradient is rounding alone, in any direction.
    x, t = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(8)
    with torch.no_grad():
        predictions = [loop.primal.predict(x, t) for loop in (parts, whole)]
    torch.testing.assert_close(*predictions, rtol=1e-3, atol=1e-3)


def test_a_pieces_activations_alone_are_kept(tmp_path: Path) -> None:
    most = [most_kept(loop_of(tmp_path, accumulate)[0].advance) for accumulate in (1, 4)]
    assert most[1] < 0.3 * most[0]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A group of one process, which exchanges gradients all the same."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def exchanges(folder: Path, accumulate: int) -> tuple[int, list[Tensor | None]]:
    """How often an update in so many pieces sends gradients, and what they are."""
    sent: list[int] = []

    def counted(_: Any, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:  # type: ignore[name-defined]
        sent.append(bucket.index())
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    loop, _ = loop_of(folder, accumulate, train={"clip": None})
    primal = GradientPrimal(loop.recipe, loop.primal.predictor, torch.device("cpu"), rank=0, world=2)
    assert isinstance(primal.forward, nn.parallel.DistributedDataParallel)
    primal.forward.register_comm_hook(None, counted)
    torch.manual_seed(0)
    pieces = zip(torch.randn(6, 1, 8, 8).chunk(accumulate), torch.arange(6).chunk(accumulate), strict=True)
    primal.update([partial(squared, primal, x, t) for x, t in pieces])
    return len(sent), [each.grad for each in primal.parameters]


def squared(primal: GradientPrimal, x: Tensor, t: Tensor) -> Tensor:
    return primal.predict(x, t).square().sum()


def from_one(primal: GradientPrimal, x: Tensor, t: Tensor) -> Tensor:
    """As a term of one's own may compute it: in place."""
    prediction = primal.predict(x, t)
    prediction -= 1.0
    return prediction.square().sum()


def test_a_term_may_change_the_prediction_in_place(group: None, tmp_path: Path) -> None:
    loops = [loop_of(tmp_path, 1)[0] for _ in range(2)]
    primals = [GradientPrimal(loops[0].recipe, loops[at].primal.predictor, torch.device("cpu"), 0, 1 + at) for at in range(2)]
    x, t = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    for each in primals:
        each.update([partial(from_one, each, x, t)])
    one, two = ([parameter.grad for parameter in each.parameters] for each in primals)
    torch.testing.assert_close(two, one)


def test_gradients_are_exchanged_once_an_update(group: None, tmp_path: Path) -> None:
    (once, gradients), (number, same) = (exchanges(tmp_path, accumulate) for accumulate in (1, 3))
    assert number == once > 0
    torch.testing.assert_close(same, gradients, rtol=1e-3, atol=1e-3)


class Partly(nn.Module):
    """A network of which a step uses one layer or the other, and a third never."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late, self.never = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        layer: nn.Module = self.early if float(t[0]) < 25 else self.late
        made: Tensor = layer(x)
        return made


@pytest.mark.parametrize("accumulate", [1, 2])
def test_parameters_that_a_step_does_not_use_have_gradients_of_zero(group: None, accumulate: int, tmp_path: Path) -> None:
    model = {"call": "tests.trainer.engine.test_accumulation:Partly", "unet": None}
    loops = [loop_of(tmp_path, accumulate, model=model, train={"clip": None, "weight_decay": 0.1})[0] for _ in range(2)]
    primals = [GradientPrimal(loops[0].recipe, loops[at].primal.predictor, torch.device("cpu"), 0, 1 + at) for at in range(2)]
    assert isinstance(primals[1].forward, nn.parallel.DistributedDataParallel)
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for time in (3, 40, 3):
        for each in primals:
            each.update([partial(squared, each, part, torch.full((len(part),), time)) for part in x.chunk(accumulate)])
        one, two = ([parameter.grad for parameter in each.parameters] for each in primals)
        torch.testing.assert_close(two, one)
        assert sum(bool(gradient.any()) for gradient in one if gradient is not None) == 2, "a weight and a bias"
    torch.testing.assert_close(primals[1].state()[0], primals[0].state()[0])

"""What the benchmarks share: loops ready to step, and fair timing by interleaved rounds."""

from __future__ import annotations

import copy
import json
import tempfile
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.dual.coordinator import Coordinator, InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import Host, LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import RESULT
from tests.benchmarks.rows import STEPS, Interval

ROOT = Path(__file__).parent.parent.parent


def digits(constraints: list[dict[str, Any]] | None = None, **sections: dict[str, Any]) -> Recipe:
    """The shipped recipe with sections merged over it, of steps without end unless they say; None keeps its three constraints."""
    plain = copy.deepcopy(load(ROOT / "sweeps/recipes/digits.yaml").data)
    if constraints is not None:
        plain["constraints"] = constraints
    plain["train"]["steps"] = 10**8
    for name, section in sections.items():
        plain[name] = {**plain.get(name, {}), **section}
    plain["checkpoint"] = {"every": 10**9}
    return Recipe.model_validate(plain)


def experiment_options(about: str | None, output: str, seeds: Sequence[int] = (0, 1, 2), samples: int = 4000) -> ArgumentParser:
    """The options that benchmarks of the papers' experiments share; `output` is the name of a folder in `runs/`."""
    parser = ArgumentParser(description=about, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(seeds))
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / output)
    parser.add_argument("--set", action="append", default=[])
    return parser


def trained(recipe: Recipe, folder: Path, judges: Path | None = None) -> Result:
    """The result of a training in this process, from its folder where it has ended; with `judges` it shares those of others."""
    if (folder / RESULT).exists():
        return Result.from_json(json.loads((folder / RESULT).read_text()))
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder / "checkpoints")))
    result = run_worker(recipe, host, str(folder), None if judges is None else str(judges))
    assert result is not None
    return result


def loop_of(recipe: Recipe, host: Host | None = None, coordinator: Coordinator | None = None) -> Loop:
    """A loop that has begun, in this process unless a host is given."""
    if host is None:
        folder = CheckpointFolder(tempfile.mkdtemp(prefix="dualsweep-bench-"))
        host = LocalHost(coordinator or InProcess(controller_of(recipe)), folder)
    loop = Loop(prepare(recipe, host), lambda _: {})
    host.coordinator.begin(loop.state, host.world)
    return loop


def bare_step(
    model: torch.nn.Module, data: Assembled, schedule: Any, batch: int, average: AveragedModel | None = None
) -> Callable[[], None]:
    """A plain step of torch on `batch` samples of the objective's data; with averaged weights it clips, too."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    images = data.examples.fetch(data.rows[0])

    def step() -> None:
        x = images[torch.randint(len(images), (batch,))]
        noise, t = torch.randn_like(x), torch.randint(schedule.config.num_train_timesteps, (batch,))
        target = schedule.get_velocity(x, noise, t)
        loss = (model(schedule.add_noise(x, noise, t), t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        if average is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if average is not None:
            average.update_parameters(model)

    return step


def interleaved(
    cases: Mapping[str, Callable[[], object]], rounds: int, steps: int, warmup: int = 20, more: int = 0
) -> dict[str, list[float]]:
    """Seconds a step of each case, `rounds` times in turn (A B C, B C A, …), after `warmup` steps of each.

    With `more`, at most so many rounds follow, until the ratio of each case to the last one is known to 2 %.
    """
    names = list(cases)
    for name in names:
        for _ in range(warmup):
            cases[name]()
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + more):
        if turn >= rounds and all(Interval.over(times[name], times[names[-1]]).half_width <= STEPS for name in names[:-1]):
            break
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            started = time.perf_counter()
            for _ in range(steps):
                cases[name]()
            times[name].append((time.perf_counter() - started) / steps)
    return times

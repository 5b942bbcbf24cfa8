"""What the central coordinator costs: the same loop with the coordinator actor and with multipliers in the process, in turn.

    python -m tests.benchmarks.bench_coordinator [--rounds 12] [--steps 20] [--batch 64]

One and two Ray Train workers of one core, `--batch` samples each, staleness 1, a dual step for every primal step, the dearest
case. With two workers each has multipliers of its own; the step size is next to nothing, so that all draw the same mixture.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from typing import Any

from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.recipe.recipe import Recipe
from tests.benchmarks.common import digits
from tests.benchmarks.rows import STEPS, Interval
from tests.benchmarks.train_workers import measured


class OwnMultipliers(InProcess):
    """A worker's own, however many there are."""

    def begin(self, state: DualState, world: int) -> None:
        super().begin(state, 1)


def recipe_of(batch: int, workers: int) -> Recipe:
    dual = {"staleness": 1, "every": 1, "step_size": 1e-12}
    return digits(train={"batch_size": batch * workers}, resources={"workers": workers}, dual=dual)


def worker(config: dict[str, Any]) -> None:
    """Times both in turn; rank 0 reports seconds a step."""
    import ray.train
    import torch

    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.ray_shell.host import TrainHost
    from tests.benchmarks.common import interleaved, loop_of

    torch.set_num_threads(1)
    recipe = recipe_of(config["batch"], ray.train.get_context().get_world_size())
    actor, own = (
        TrainHost(config["slot"], 0, controller_of(recipe), CheckpointFolder(tempfile.mkdtemp()), "bench") for _ in range(2)
    )
    own.coordinator = OwnMultipliers(controller_of(recipe))
    cases = {"actor": loop_of(recipe, actor).advance, "in process": loop_of(recipe, own).advance}
    ray.train.report(interleaved(cases, config["rounds"], config["steps"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    from dualsweep.cluster.connection import connect

    kept = []
    with connect("local"):
        for workers in (1, 2):
            times = measured(worker, workers, recipe_of(options.batch, workers), vars(options))
            what = f"{workers} worker{'s' if workers > 1 else ''}, steps a second with the coordinator, of those without"
            kept.append(Interval.over(times["in process"], times["actor"]).holds(what, ">= 0.98", STEPS))
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()

"""What the central coordinator costs: the same loop with the coordinator actor and with in-process multipliers, in one run.

    python -m tests.benchmarks.bench_coordinator [--rounds 15] [--steps 50]

One worker of one thread, staleness 1, a dual step for every primal step, on a local Ray.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

import torch

from dualsweep.trainer.engine.dual_side import controller_of
from tests.benchmarks.common import digits, interleaved, loop_of, show
from tests.benchmarks.rows import holds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(1)
    from dualsweep.cluster.connection import connect

    with connect("local"):
        import ray

        from dualsweep.trainer.ray_shell.host import ActorCoordinator
        from dualsweep.trainer.ray_shell.job import job_for
        from dualsweep.trainer.ray_shell.slot import start_actor

        recipe = digits(dual={"staleness": 1, "every": 1})  # the dearest case
        actor = start_actor()
        number = ray.get(actor.give.remote(job_for(recipe, tempfile.mkdtemp())))
        loops = {
            "in-process": loop_of(recipe),
            "coordinator actor": loop_of(recipe, coordinator=ActorCoordinator(actor, number, controller_of(recipe), 0, 1)),
        }
        times = interleaved({name: loop.advance for name, loop in loops.items()}, options.rounds, options.steps)
        ratio = show(times, "in-process")["coordinator actor"]
    sys.exit(not holds("throughput lost to the coordinator, %", 100 * (1 - 1 / ratio), "<= 3"))


if __name__ == "__main__":
    main()

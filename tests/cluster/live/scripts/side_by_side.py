"""Two Tune trials, each with a 0-CPU coordinator and a 1-CPU worker in a placement group, on a cluster of 2 CPUs."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from dualsweep.cluster.connection import connect
from dualsweep.cluster.resources import TRIAL_RESOURCES, Ask, concurrency


class Meeting:
    """Counts who is there at the same time."""

    def __init__(self) -> None:
        self.present: set[int] = set()

    def arrive(self, who: int) -> int:
        self.present.add(who)
        return len(self.present)


Guests: Any = ray.remote(num_cpus=0)(Meeting)


@ray.remote(num_cpus=1)
def work(who: int) -> int:
    meeting = ray.get_actor("meeting", namespace="test")
    deadline = time.monotonic() + 20
    met: Any = 0
    while time.monotonic() < deadline and met < 2:
        met = ray.get(meeting.arrive.remote(who))
        time.sleep(0.1)
    return int(met)


def trial(config: Mapping[str, Any]) -> dict[str, int]:
    coordinator = Guests.remote()
    ray.get(coordinator.arrive.remote(0))
    group = placement_group([{"CPU": 1}])
    try:
        inside = PlacementGroupSchedulingStrategy(group)
        return {"met": ray.get(work.options(scheduling_strategy=inside).remote(config["who"]))}
    finally:
        remove_placement_group(group)


with connect(sys.argv[1]) as connection:
    plan = concurrency(connection.machine, Ask(workers=1, cpus_per_worker=1))
    meeting = Guests.options(name="meeting", namespace="test").remote()
    tuner = tune.Tuner(
        tune.with_resources(trial, dict(TRIAL_RESOURCES)),
        param_space={"who": tune.grid_search([1, 2])},
        tune_config=tune.TuneConfig(max_concurrent_trials=plan.concurrent),
        run_config=tune.RunConfig(storage_path=sys.argv[2], verbose=0),
    )
    results = tuner.fit()
    print("PLAN", plan.concurrent, "MET", sorted((results[index].metrics or {})["met"] for index in range(len(results))))

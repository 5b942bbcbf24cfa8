"""Runs a sweep and watches its cluster: when what a stopped trial held is gone, asked of Ray's own state.

    python -m tests.pipeline.releases SWEEP.yaml RELEASES.json

runs the sweep with output in runs/NAME and writes {"releases": [{"trial", "seconds", "held", "last"}], "free": …, "left": […]}:
for each stopped trial the seconds from its record on the disk to the last sight of an actor or placement group that was there
then, for how many seconds that had been held before; whether all of the cluster's resources are free at the end, and what is
left of actors and groups. On a quiet machine the seconds are 1 to 4.
"""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ray
from ray.util.state import list_actors, list_placement_groups

from dualsweep import sweeps
from dualsweep.cluster.connection import connect
from dualsweep.sweeps.planning.load import load_plan

#: Ray's own, one for the cluster: it outlives trials.
_STAYS = "_AutoscalingCoordinatorActor"


@dataclass(frozen=True)
class Release:
    """A stopped trial, the seconds until the last of what it held was gone, those for which it had held it, and what was last."""

    trial: str
    seconds: float
    held: float
    last: str


class Watcher:
    """Looks at the cluster that this process is connected to, some times a second, and at the sweep's records."""

    def __init__(self, records: Path) -> None:
        self._records = records
        self._stopped: dict[str, float] = {}
        self._looks: list[tuple[float, frozenset[str]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def releases(self) -> list[Release]:
        """One for each trial that was stopped meanwhile, not of an earlier start of the sweep.

        Trials must have run one at a time: all that was there when one was stopped is its own.
        """
        released = []
        for trial, at in sorted(self._stopped.items()):
            before = [there for when, there in self._looks if when <= at]
            if not before:
                continue
            seen = {one: [when for when, there in self._looks if one in there] for one in before[-1]}
            last = max(seen, key=lambda one: seen[one][-1], default="")
            released.append(
                Release(trial, max(0.0, seen[last][-1] - at), at - min(seen[last]), last)
                if last
                else Release(trial, math.nan, math.nan, "")
            )
        return released

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            when = time.time()
            self._looks.append((when, held()))
            for file in self._records.glob("*.json"):
                if file.stem not in self._stopped and json.loads(file.read_text())["result"]["status"] == "stopped":
                    self._stopped[file.stem] = file.stat().st_mtime


def held() -> frozenset[str]:
    """The actors and placement groups that are there now."""
    address = ray.get_runtime_context().gcs_address
    actors: list[Any] = list_actors(address=address, limit=10000)
    groups: list[Any] = list_placement_groups(address=address, limit=10000)
    alive = {f"{each.class_name} {each.actor_id}" for each in actors if each.state != "DEAD" and each.class_name != _STAYS}
    return frozenset(alive | {f"placement group {each.placement_group_id}" for each in groups if each.state != "REMOVED"})


def free() -> bool:
    """Whether every resource of the cluster is available."""
    return bool(ray.available_resources() == ray.cluster_resources())


def main(file: str, releases: str) -> None:
    plan = load_plan(file)
    with connect(None):
        with Watcher(Path("runs") / plan.name / "records") as watcher:
            sweeps.sweep(plan)
            end = time.monotonic() + 10
            while (held() or not free()) and time.monotonic() < end:
                time.sleep(0.1)
        found = {"releases": [asdict(each) for each in watcher.releases()], "free": free(), "left": sorted(held())}
    Path(releases).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])

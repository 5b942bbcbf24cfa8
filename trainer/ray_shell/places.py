"""Where workers find a place: what each node has and has free, which are about to go, and how many workers a training takes.

Ray Train has elastic workers of its own. Several trainings could not share a cluster by them: the first reserves all that it may
ever take, for three minutes beyond its end where its controller is killed, and a change of the number loses the steps since the
last checkpoint. So a slot has a fixed number, chosen each time one is started, and a training that is to have another saves and
leaves for another slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ray
from ray._private import state  # Ray has no public word of what each node has free, nor of those that it drains

from dualsweep.trainer.recipe.run import Resources

Amounts = Mapping[str, float]


@dataclass(frozen=True)
class Places:
    """The cluster's nodes that stay: what each `has`, and has `free`; and the ids of those that are `leaving`."""

    has: tuple[Amounts, ...]
    free: tuple[Amounts, ...]
    leaving: frozenset[str]

    def share(self, resources: Resources, beside: int) -> int:
        """The workers that one of `beside` trainings takes where all of them are alike: least to most."""
        workers = fitting(self.has, per_worker(resources)) // beside
        return min(max(workers, resources.least), resources.most)

    def fit(self, resources: Resources) -> int:
        """The workers that find a place now, beside all that runs."""
        return fitting(self.free, per_worker(resources))


def look() -> Places:
    """The cluster's nodes as they are now; to be called where Ray is connected."""
    leaving = frozenset(state.state.get_draining_nodes())
    free: Mapping[str, Amounts] = state.state.available_resources_per_node()  # type: ignore[no-untyped-call]  # as below
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # Ray leaves it without types
    has = tuple(node["Resources"] for node in nodes if node["Alive"] and node["NodeID"] not in leaving)
    return Places(has, tuple(amounts for node, amounts in free.items() if node not in leaving), leaving)


def per_worker(resources: Resources) -> dict[str, float]:
    """What one worker takes, as Ray calls it."""
    gpus = {"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}
    return {"CPU": resources.cpus_per_worker, **gpus}


def fitting(nodes: Iterable[Amounts], worker: Amounts) -> int:
    """How many workers fit on nodes, none of which may lie on two."""
    return sum(min(int(node.get(name, 0.0) / amount + 1e-9) for name, amount in worker.items()) for node in nodes)

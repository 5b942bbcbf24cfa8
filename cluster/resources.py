"""How many trials fit side by side: pure planning, no Ray.

One nested trial is a Tune trial actor, a Train controller and its helpers, one dual coordinator and N workers. Only
the workers compute, so only they ask for CPUs and GPUs:

    worker slots of a node = min(floor(CPUs / CPUs per worker), GPU slots)
    concurrent trials      = min(floor(sum of slots / workers), memory, limit)   (workers: the least of an elastic trial)
    memory                 = floor((RAM - 4 GB a node) / (2 GB + 0.4 GB * workers))

**Why the trial actor asks for memory and for no CPU.** Ray places it in a group of its own, and Tune refuses a group
that asks for nothing. The usual 0.01 CPU is not free: on 2 CPUs, two trials of one 1-CPU worker come to 2.02 CPUs, so
the second worker waits until the first trial has ended (measured: they ran one after the other). 1 CPU is worse: the
trials hold every CPU and no worker ever starts. A little of Ray's logical memory takes nothing from the workers, holds on
clusters whose CPU count we can't raise, and keeps a small head node from collecting every trial's helpers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from types import MappingProxyType

from dualsweep.cluster.errors import ClusterError

GB = 10**9

TRIAL_MEMORY_BYTES = 512 * 2**20
"""Ray's logical memory asked for by a trial actor, bytes: a place in the queue, not a limit that Ray enforces."""

TRIAL_RESOURCES: Mapping[str, float] = MappingProxyType({"CPU": 0, "memory": TRIAL_MEMORY_BYTES})
"""For `tune.with_resources(trainable, dict(TRIAL_RESOURCES))`."""

NODE_RESERVE_BYTES = 4 * GB
"""RAM left to the system and to Ray's own processes on each node, bytes."""

TRIAL_BYTES = 2 * GB
"""RAM of a trial's actor, controller and helpers, bytes, measured as resident size."""

WORKER_BYTES = GB * 2 // 5
"""RAM of one worker before it loads a model or data, bytes, measured as resident size."""

RAY_GRAIN = 10_000
"""Ray counts resources in ten-thousandths; planning in the same grain keeps 3 * 0.1 from exceeding 0.3."""


@dataclass(frozen=True)
class Machine:
    """What there is to run on: `cpus` and `gpus` in units, `memory_bytes` of RAM; totals over `nodes` when there are several.

    Without `nodes` it is one node. A worker never spans nodes, so totals alone can't tell what fits on a cluster.
    """

    cpus: float
    gpus: float
    memory_bytes: int
    nodes: tuple["Machine", ...] = ()

    @classmethod
    def of_nodes(cls, nodes: tuple["Machine", ...]) -> "Machine":
        """Sum up several nodes."""
        return cls(
            sum(node.cpus for node in nodes), sum(node.gpus for node in nodes), sum(node.memory_bytes for node in nodes), nodes
        )

    @property
    def parts(self) -> tuple["Machine", ...]:
        """The machine's nodes; itself when it is one."""
        return self.nodes or (self,)


@dataclass(frozen=True)
class Ask:
    """What one trial asks for: `workers`, and CPUs and GPUs for each of them; an elastic one takes up to `most` workers.

    Raises:
        ClusterError: fewer than one worker, a negative amount, or a worker that asks for nothing.
    """

    workers: int
    cpus_per_worker: float
    gpus_per_worker: float = 0.0
    most: int = 0

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ClusterError("a trial must have at least 1 worker", f"workers={self.workers}", "give workers: 1 or more")
        for name, amount in (("cpus_per_worker", self.cpus_per_worker), ("gpus_per_worker", self.gpus_per_worker)):
            if not 0 <= amount < float("inf"):
                raise ClusterError(f"{name} must be 0 or more", f"{name}={amount}", "give a number such as 1")
        if _grains(self.cpus_per_worker) == 0 and _grains(self.gpus_per_worker) == 0:
            raise ClusterError(
                "a worker must ask for a CPU or a GPU",
                f"cpus_per_worker={self.cpus_per_worker}, gpus_per_worker={self.gpus_per_worker}",
                "give cpus_per_worker: 1, or a fraction of at least 0.0001",
            )
        if self.gpus_per_worker > 1 and self.gpus_per_worker != int(self.gpus_per_worker):
            raise ClusterError(
                "gpus_per_worker above 1 must be a whole number",
                f"gpus_per_worker={self.gpus_per_worker}",
                "give whole GPUs, or a fraction of one",
            )

    @property
    def span(self) -> str:
        """The number of workers, in words."""
        return f"{self.workers} to {self.most}" if self.most > self.workers else f"{self.workers}"


@dataclass(frozen=True)
class Plan:
    """How many trials run at once, which of "cpu", "gpu", "memory" and "limit" binds, and why, in words."""

    concurrent: int
    binding: str
    reason: str


def concurrency(machine: Machine, ask: Ask, limit: int | None = None) -> Plan:
    """Count the trials that fit side by side on `machine`; `limit` caps them (the user's wish, or the number of trials).

    Raises:
        ClusterError: not even one trial fits, or `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ClusterError("the limit on concurrent trials must be at least 1", f"{limit}", "give 1 or more, or leave it out")
    plans = [_by_slots(machine, ask), _by_memory(machine, ask)]
    if limit is not None:
        plans.append(Plan(limit, "limit", f"a limit of {_count(limit, 'concurrent trial')} was set"))
    # The first of equals wins: what the hardware says tells more than a wish that happens to agree with it.
    return min(plans, key=lambda plan: plan.concurrent)


def local_cluster_cpus(machine: Machine) -> int:
    """`num_cpus` with which to start a local cluster on `machine`: its CPUs and no allowance, as only workers ask for CPUs."""
    return max(1, floor(machine.cpus))


def _by_slots(machine: Machine, ask: Ask) -> Plan:
    """Trials that fit by CPU and GPU, node by node."""
    slots = {
        "cpu": _sum(machine, lambda node: _cpu_slots(node, ask)),
        "gpu": _sum(machine, lambda node: _gpu_slots(node, ask)),
        "both": _sum(machine, lambda node: _least(_cpu_slots(node, ask), _gpu_slots(node, ask))),
    }
    fit = slots["both"]
    assert fit is not None  # an Ask always asks for one of the two
    binding = "gpu" if slots["cpu"] is None or (slots["gpu"] is not None and slots["gpu"] < slots["cpu"]) else "cpu"
    if fit < ask.workers:
        raise _too_many_workers(machine, ask, fit, binding)
    kind = {"cpu": f"{_number(machine.cpus)} CPUs", "gpu": f"{_number(machine.gpus)} GPUs"}[binding]
    spread = f" on {len(machine.nodes)} nodes" if len(machine.nodes) > 1 else ""
    reason = f"{kind}{spread} hold {_count(fit, 'worker')} of {_worker(ask)}, and a trial takes {ask.span}"
    return Plan(fit // ask.workers, binding, reason)


def _by_memory(machine: Machine, ask: Ask) -> Plan:
    """Trials that fit by RAM. A machine short of the reserve still runs one at a time: the reserve is comfort, not need."""
    trial = TRIAL_BYTES + WORKER_BYTES * ask.workers
    reserve = NODE_RESERVE_BYTES * len(machine.parts)
    spare = machine.memory_bytes - reserve
    sizes = f"{machine.memory_bytes / GB:.1f} GB of memory"
    if machine.memory_bytes < trial:
        raise ClusterError(
            f"one trial of {_count(ask.workers, 'worker')} needs about {trial / GB:.1f} GB of memory",
            sizes,
            "use fewer workers, or a machine with more memory",
        )
    if spare < trial:
        return Plan(1, "memory", f"{sizes} hold one trial of about {trial / GB:.1f} GB, with little to spare")
    return Plan(
        spare // trial, "memory", f"{sizes}, less {reserve / GB:.0f} GB for the system, hold trials of {trial / GB:.1f} GB"
    )


def _too_many_workers(machine: Machine, ask: Ask, fit: int, binding: str) -> ClusterError:
    """Say with the arithmetic that not even one trial fits."""
    size = "; ".join(f"{_number(node.cpus)} CPUs and {_number(node.gpus)} GPUs" for node in machine.parts[:8])
    what = "the machine" if len(machine.parts) == 1 else f"the cluster's {len(machine.parts)} nodes"
    return ClusterError(
        f"one trial's {_count(ask.workers, 'worker')} of {_worker(ask)} must fit at the same time",
        f"room for {_count(fit, 'worker')} on {what} ({size})",
        f"ask for at most {_count(fit, 'worker')}, or for fewer {binding.upper()}s for each"
        if fit
        else f"ask for fewer {binding.upper()}s for each worker, or use a bigger machine",
    )


def _cpu_slots(node: Machine, ask: Ask) -> int | None:
    """Workers that fit by CPU on one node; None when workers ask for none."""
    each = _grains(ask.cpus_per_worker)
    return _grains(node.cpus) // each if each else None


def _gpu_slots(node: Machine, ask: Ask) -> int | None:
    """Workers that fit by GPU on one node; None when workers ask for none. A fraction never spans two GPUs."""
    per_worker = _grains(ask.gpus_per_worker)
    if not per_worker:
        return None
    if per_worker < RAY_GRAIN:
        return floor(node.gpus) * (RAY_GRAIN // per_worker)
    return _grains(node.gpus) // per_worker


def _sum(machine: Machine, slots: Callable[[Machine], int | None]) -> int | None:
    counts = [slots(node) for node in machine.parts]
    return None if None in counts else sum(count for count in counts if count is not None)


def _least(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)


def _grains(amount: float) -> int:
    return round(Fraction(amount) * RAY_GRAIN)


def _number(amount: float) -> str:
    return f"{amount:g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _worker(ask: Ask) -> str:
    """What one worker takes, in words."""
    asked = ((ask.cpus_per_worker, "CPU"), (ask.gpus_per_worker, "GPU"))
    return " and ".join(f"{_number(amount)} {name}{'' if amount <= 1 else 's'}" for amount, name in asked if amount)

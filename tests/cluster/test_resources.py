"""Planning against a simulation that places workers one by one."""

import random
from itertools import pairwise

import pytest

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.resources import GB, TRIAL_RESOURCES, Ask, Machine, concurrency, local_cluster_cpus

PLENTY = 10_000 * GB


def placed_workers(node: Machine, ask: Ask) -> int:
    """Brute force: put workers on one node until one doesn't fit, in exact ten-thousandths, each fraction within one GPU."""
    cpus = round(node.cpus * 10_000)
    gpus = [10_000] * int(node.gpus)
    cpu_each, gpu_each = round(ask.cpus_per_worker * 10_000), round(ask.gpus_per_worker * 10_000)
    placed = 0
    while cpus >= cpu_each:
        if gpu_each >= 10_000:
            whole = gpu_each // 10_000
            if len(gpus) < whole:
                break
            gpus = gpus[whole:]
        elif gpu_each:
            free = next((index for index, left in enumerate(gpus) if left >= gpu_each), None)
            if free is None:
                break
            gpus[free] -= gpu_each
        cpus -= cpu_each
        placed += 1
    return placed


@pytest.mark.parametrize("seed", range(300))
def test_agrees_with_placing_workers_one_by_one(seed: int) -> None:
    rng = random.Random(seed)
    nodes = tuple(
        Machine(rng.choice([0, 1, 2, 3, 8, 2.5]), rng.choice([0, 0, 1, 2, 8]), PLENTY) for _ in range(rng.choice([1, 1, 2, 5]))
    )
    machine = Machine.of_nodes(nodes) if len(nodes) > 1 else nodes[0]
    ask = Ask(rng.choice([1, 2, 3]), rng.choice([0.1, 0.3, 0.5, 1, 2, 3]), rng.choice([0, 0, 0.3, 0.6, 1, 2]))
    trials = sum(placed_workers(node, ask) for node in nodes) // ask.workers
    if trials == 0:
        with pytest.raises(ClusterError, match="must fit at the same time"):
            concurrency(machine, ask)
    else:
        assert concurrency(machine, ask).concurrent == trials


def test_two_trials_of_one_cpu_fit_on_two_cpus() -> None:
    plan = concurrency(Machine(2, 0, 24 * GB), Ask(1, 1))
    assert plan.concurrent == 2
    assert plan.binding == "cpu"
    assert plan.reason == "2 CPUs hold 2 workers of 1 CPU, and a trial takes 1"
    assert TRIAL_RESOURCES["CPU"] == 0
    assert any(amount > 0 for amount in TRIAL_RESOURCES.values()), "Tune refuses a trial that asks for nothing"


def test_floats_do_not_lose_a_worker() -> None:
    assert concurrency(Machine(0.3, 0, PLENTY), Ask(1, 0.1)).concurrent == 3
    assert concurrency(Machine(0.7, 0, PLENTY), Ask(7, 0.1)).concurrent == 1


@pytest.mark.parametrize(("memory", "workers", "trials"), [(24, 1, 8), (24, 2, 7), (6.4, 1, 1), (6.3, 1, 1), (8.8, 1, 2)])
def test_memory_formula(memory: float, workers: int, trials: int) -> None:
    plan = concurrency(Machine(1000, 0, int(memory * GB)), Ask(workers, 1))
    assert (plan.concurrent, plan.binding) == (trials, "memory")


def test_too_little_memory_for_one() -> None:
    with pytest.raises(ClusterError, match=r"needs about 2\.8 GB of memory, but got 2\.5 GB"):
        concurrency(Machine(8, 0, int(2.5 * GB)), Ask(2, 1))


def test_binding_limit_is_named() -> None:
    machine = Machine(16, 2, 1000 * GB)
    assert concurrency(machine, Ask(1, 1, 1)).binding == "gpu"
    assert concurrency(machine, Ask(1, 1), limit=3).binding == "limit"
    assert "limit of 3" in concurrency(machine, Ask(1, 1), limit=3).reason
    assert concurrency(machine, Ask(1, 1), limit=16).binding == "cpu", "the hardware is named when a wish agrees with it"


def test_a_worker_never_spans_nodes() -> None:
    two = Machine.of_nodes((Machine(2, 0, 16 * GB), Machine(2, 0, 16 * GB)))
    with pytest.raises(ClusterError, match="room for 0 workers on the cluster's 2 nodes"):
        concurrency(two, Ask(1, 4))
    assert concurrency(two, Ask(4, 1)).concurrent == 1


def test_more_workers_than_the_machine_has() -> None:
    with pytest.raises(ClusterError) as caught:
        concurrency(Machine(2, 0, 24 * GB), Ask(4, 1))
    assert caught.value.rule == "one trial's 4 workers of 1 CPU must fit at the same time"
    assert caught.value.received == "room for 2 workers on the machine (2 CPUs and 0 GPUs)"
    assert "at most 2 workers" in caught.value.remedy


@pytest.mark.parametrize(
    "ask", [(0, 1, 0), (1, -1, 0), (1, 0, 0), (1, 0.00001, 0), (1, 1, 1.5), (1, float("nan"), 0), (1, float("inf"), 0)]
)
def test_bad_asks_are_refused(ask: tuple[int, float, float]) -> None:
    with pytest.raises(ClusterError):
        Ask(*ask)


def test_bad_limit_is_refused() -> None:
    with pytest.raises(ClusterError, match="at least 1"):
        concurrency(Machine(2, 0, 24 * GB), Ask(1, 1), limit=0)


def test_more_machine_never_means_fewer_trials() -> None:
    counts = [concurrency(Machine(cpus, 0, 50 * GB), Ask(2, 1)).concurrent for cpus in range(2, 64)]
    assert all(less <= more for less, more in pairwise(counts))


def test_local_cluster_has_whole_cpus_without_allowance() -> None:
    assert local_cluster_cpus(Machine(2, 0, GB)) == 2
    assert local_cluster_cpus(Machine(0.5, 0, GB)) == 1


def test_an_elastic_trial_counts_with_its_least_workers() -> None:
    plan = concurrency(Machine(8, 0, PLENTY), Ask(2, 1, most=4))
    assert plan.concurrent == 4 and plan.reason.endswith("a trial takes 2 to 4")

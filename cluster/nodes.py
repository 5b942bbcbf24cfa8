"""What the nodes of a cluster find themselves, each asked by a task of its own: a driver sees its own machine alone."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.preflight import Check

T = TypeVar("T")
#: Seconds that all nodes together have to answer: a node that installs the job's packages first takes its time.
ANSWER_S = 180.0


def on_each_node(ask: Callable[[], T], timeout_s: float = ANSWER_S) -> dict[str, T | ClusterError]:
    """What `ask` returns on each living node of the connected cluster, by the node's host name and the start of its id.

    It takes no CPU from what runs there. `ask` must be picklable. What is raised on a node, or a node that does not answer, is
    told in the place of its answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def task() -> T:
        return ask()

    asked = ray.remote(num_cpus=0, max_retries=0)(task)
    references = {}
    for node in ray.nodes():  # type: ignore[no-untyped-call]  # Ray leaves it without types
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
            references[name] = asked.options(scheduling_strategy=there).remote()
    answered, _ = ray.wait(list(references.values()), num_returns=len(references), timeout=timeout_s)
    answers: dict[str, T | ClusterError] = {}
    for name, reference in references.items():
        if reference in answered:
            answers[name] = _answer(reference)
        else:
            ray.cancel(reference, force=True)
            rule, remedy = "each node must answer", "look at its raylet and its runtime_env logs, or take it out of the cluster"
            answers[name] = ClusterError(rule, f"nothing within {timeout_s:g} s", remedy)
    return answers


def _answer(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference)
    except Exception as error:  # what is raised there is of any kind, and Ray's own come with a page of text
        cause = getattr(error, "cause", None) or error
        told = f"{type(cause).__name__}: {(str(cause).strip().splitlines() or ['no reason'])[0][:200]}"
        remedy = "start all nodes from one image, with the same packages"
        return ClusterError("each node must be able to do the job's tasks", told, remedy)


def versions(names: Sequence[str]) -> dict[str, str]:
    """The version of Python here, and of each package that is installed; "none" for one that is not."""
    installed = {"python": platform.python_version()}
    for name in names:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = "none"
    return installed


def check_versions(here: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> Check:
    """Does each node have the driver's versions? One that lacks a package fails; another version is a warning."""
    rule = "every node has the packages of the driver's node"
    missing, others = [], []
    for node, found in there.items():
        missing += [f"{name} on {node}" for name, version in found.items() if version == "none" != here[name]]
        others += [
            f"{name} {version} on {node} ({here[name]} here)"
            for name, version in found.items()
            if version != here[name] and "none" not in (version, here[name])
        ]
    if missing:
        return Check("packages", "fail", rule, f"no {', no '.join(missing)}", "start all nodes from one image")
    if others:
        return Check("packages", "warn", rule, ", ".join(others), "start all nodes from one image: answers may differ otherwise")
    said = ", ".join(f"{name} {version}" for name, version in here.items() if version != "none")
    return Check("packages", "ok", rule, f"{said} on {_nodes(len(there))}")


def check_answers(name: str, rule: str, there: Mapping[str, str], remedy: str) -> Check:
    """A question that each node has answered by what is wrong there, "" for nothing: the nodes that found something are told."""
    wrong = [f"{what} on {node}" for node, what in there.items() if what]
    return Check(name, "fail" if wrong else "ok", rule, "; ".join(wrong) or f"so on {_nodes(len(there))}", remedy)


def _nodes(count: int) -> str:
    return f"{count} node{'s' if count != 1 else ''}"

"""`dualsweep cluster …`: a cluster of several nodes on this machine, for trying and testing; a part of `dualsweep.sweeps.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dualsweep.cluster.testbed import operations
from dualsweep.cluster.testbed.layout import HEAD, Cluster
from dualsweep.sweeps.options import of_this_machine
from dualsweep.trainer.config.uris import state_folder

commands = typer.Typer(
    name="cluster",
    no_args_is_help=True,
    help="A Ray cluster of several nodes on this machine, whose nodes can be killed and whose links can be cut.",
)


def _folder(given: Path | None) -> Path:
    return (given or state_folder() / "cluster").absolute()


State = Annotated[
    Path,
    typer.Option(
        "--state", help="The cluster's folder, with its logs; one in your state folder when left out.", show_default=False,
        parser=of_this_machine("--state"), callback=_folder,
    ),
]  # fmt: skip
Name = Annotated[str, typer.Argument(metavar="NODE", help="A node as `dualsweep cluster status` names it.", show_default=False)]


@commands.command()
def up(
    nodes: Annotated[int, typer.Option("--nodes", help="How many: a head, which takes no training, and workers.")] = 3,
    cpus: Annotated[int, typer.Option("--cpus", help="CPUs that Ray counts on each worker, whatever the machine has.")] = 1,
    folder: State = None,  # type: ignore[assignment]  # the callback makes it a path
) -> None:
    """Start the cluster, or what of it does not run."""
    cluster = operations.up(folder, nodes, cpus)
    if cluster.isolation == "none":
        print(f"plain nodes, which cannot be cut off: no namespaces can be made here ({cluster.why_plain})")
    _show(cluster)
    print("a sweep on it: dualsweep cluster exec dualsweep sweep FILE")


@commands.command()
def down(folder: State = None) -> None:  # type: ignore[assignment]  # as above
    """End the cluster with all that runs there, and delete its logs."""
    cluster = operations.down(folder)
    print("no cluster was up" if cluster is None else f"ended: {len(cluster.nodes)} nodes")


@commands.command()
def status(folder: State = None) -> None:  # type: ignore[assignment]  # as above
    """The nodes, and how each of them is."""
    _show(operations.running(folder))


@commands.command()
def kill(node: Name, folder: State = None) -> None:  # type: ignore[assignment]  # as above
    """End a node at once with all that runs there, as when a machine loses its power."""
    _show(operations.kill(folder, node))


@commands.command()
def start(node: Name, folder: State = None) -> None:  # type: ignore[assignment]  # as above
    """Start a node that is dead."""
    _show(operations.start(folder, node))


@commands.command()
def cut(node: Name, folder: State = None) -> None:  # type: ignore[assignment]  # as above
    """Cut a node off from all others; both sides run on."""
    _show(operations.cut(folder, node))


@commands.command()
def heal(node: Name, folder: State = None) -> None:  # type: ignore[assignment]  # as above
    """Join the link of a node that was cut off."""
    _show(operations.heal(folder, node))


@commands.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="A program and its arguments.", show_default=False)],
    node: Annotated[str, typer.Option("--on", help="The node that it runs on.")] = HEAD,
    folder: State = None,  # type: ignore[assignment]  # as above
) -> None:
    """Run a command on a node, in this folder: there it finds the cluster, its token and its job server."""
    operations.execute(folder, node, command)


def _show(cluster: Cluster) -> None:
    print(f"{'node':<12}{'state':<10}{'address':<14}{'CPUs':>4}")
    for node in cluster.nodes:
        print(f"{node.name:<12}{node.state:<10}{node.address:<14}{node.cpus:>4}")
    print(f"address {cluster.gcs}, jobs {cluster.jobs}, logs in {cluster.folder}")

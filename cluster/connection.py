"""Being connected to Ray: to a cluster of our own for the time of a run, or to one that exists."""

import contextlib
import logging
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType

from dualsweep.cluster.address import gcs_address, probe_gcs
from dualsweep.cluster.auth import TOKEN, find_token, use_token_mode
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.machine import connected_machine, local_machine
from dualsweep.cluster.quiet import without_false_alarms
from dualsweep.cluster.resources import Machine, local_cluster_cpus
from dualsweep.cluster.vitals import Loss, watched
from dualsweep.cluster.watchdog import Watchdog

NESTED_TRAIN: Mapping[str, str] = MappingProxyType(
    {
        # What a worker's loss or end waits for. Reports don't: a slot's go their own way.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        # On a busy cluster a trial may queue for its workers; at Ray's 60 s its controller would start over, again and again.
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
        # A worker that does not answer for so long counts as dead; Ray waits ten minutes.
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",
        # One process fewer in each trial: its processes look out for nodes that are about to go by themselves.
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        # The paths in a user's recipe are relative to the working directory, not to a folder of Tune's.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
    }
)
"""Set in the driver's environment: Tune carries them to its trials, and Train to controllers and workers."""

LOCAL_ONLY: Mapping[str, str] = MappingProxyType(
    {
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)
"""Set as well when the cluster is our own."""

STARTS = 2
"""How often a cluster of our own is started before that is an error: on a busy machine Ray's processes miss its time limits."""


@dataclass
class Connection:
    """An open connection. `started`: the cluster is ours and ends with it. `dashboard_url` is None when Ray has none.

    `logs` is the folder of Ray's logs on this machine.

    `close` (or leaving the `with`) undoes what `connect` did: it ends our own cluster, leaves one that we have joined, and
    does nothing when this process was connected already.
    """

    address: str
    machine: Machine
    started: bool
    dashboard_url: str | None
    logs: Path | None = None
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    def close(self) -> None:
        """Undo `connect`; a second call does nothing."""
        self._undo.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def connect(address: str | None = None, *, worker_logs: bool = False, on_loss: Loss | None = None) -> Connection:
    """Connect this process to Ray.

    `address`: "local" starts a cluster on this machine; host:port or "auto" joins one; None joins RAY_ADDRESS where set, as
    inside a submitted job, and is "local" elsewhere; a process that is connected already stays so. With
    `worker_logs` what the workers print appears here. `on_loss` is called, in a thread of its own, when the cluster that was
    started or joined here is gone: with what was found, and whether it was started here; nothing is left of it then.

    Workers can import from the working directory: Ray carries it there by itself. On clusters of several machines that
    needs the same folder on each, or `dualsweep.cluster.jobs.submit`, which uploads it.

    Raises:
        ClusterError: the address is malformed, doesn't answer or refuses our token, or Ray doesn't start.
    """
    if already := _already_connected():
        _check_same(already, address)
        return Connection(already, connected_machine(), False, *_around())
    target = gcs_address(address)
    finish: Callable[[], None] = _nothing
    with contextlib.ExitStack() as undo:
        undo.enter_context(_environment(NESTED_TRAIN if target else {**NESTED_TRAIN, **LOCAL_ONLY}))
        if target:
            _join(target, worker_logs)
        else:
            finish = Watchdog().end
            undo.callback(finish)  # there before there is anything to end
            undo.enter_context(without_false_alarms())
            _start(worker_logs)
        undo.callback(_shutdown)
        if on_loss is not None:
            undo.enter_context(watched(target, on_loss, finish))
        return Connection(target or _own_address(), connected_machine(), target is None, *_around(), undo.pop_all())


def _nothing() -> None:
    """A cluster that was joined is not ours to end."""


def _already_connected() -> str | None:
    """The address to which this process, as a notebook's, is connected; None when it isn't."""
    if "ray" not in sys.modules:
        return None  # before `import ray` the environment can still be set
    import ray

    return _own_address() if ray.is_initialized() else None


def _check_same(already: str, address: str | None) -> None:
    """Refuse another cluster than the one to which we are connected; hosts have many names, so only the port is compared."""
    if address is None or address == "local":
        return
    target = gcs_address(address)
    if target and target.rpartition(":")[2] != already.rpartition(":")[2]:
        raise ClusterError(
            "a process is connected to one cluster at a time",
            f"{target}, while connected to {already}",
            "call ray.shutdown() first, or leave the address out",
        )


def _start(worker_logs: bool) -> None:
    """Start a cluster on this machine, once more where Ray fails."""
    use_token_mode()
    for left in reversed(range(STARTS)):
        try:
            _start_once(worker_logs)
            return
        except Exception as error:  # Ray raises what it likes here: OSError, RuntimeError, ValueError, its own
            if not left:
                raise ClusterError(
                    "Ray must start on this machine",
                    f"{type(error).__name__}: {error}",
                    f"see the newest session's logs under /tmp/ray; where the home folder can't be written, set {TOKEN} to a "
                    "long random text; where /tmp is full or a path is too long, set RAY_TMPDIR to a short one",
                ) from error


def _start_once(worker_logs: bool) -> None:
    """Dashboard on loopback, token authentication on."""
    import ray

    machine = local_machine()
    with _found_by_its_processes():
        ray.init(
            address="local",  # never a cluster that happens to run here, or whose stale note was left behind
            num_cpus=local_cluster_cpus(machine),
            num_gpus=int(machine.gpus),
            # Train asks the dashboard whether a stopped trial's controller is gone; without it, its workers' CPUs stay taken.
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            log_to_driver=worker_logs,
            logging_level=logging.WARNING,
        )


@contextlib.contextmanager
def _found_by_its_processes() -> Iterator[None]:
    """Tells the cluster that is started its own address, through the environment that its processes inherit.

    Train's cleaner of placement groups looks for the cluster it is in, and fails where several run on one machine.
    """
    from ray.util import get_node_ip_address

    port = free_port()
    host = get_node_ip_address()  # type: ignore[no-untyped-call]
    own = {"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{host}:{port}"}
    before = {name: os.environ.pop(name, None) for name in (*own, "RAY_API_SERVER_ADDRESS")}  # the last stands above RAY_ADDRESS
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def free_port() -> int:
    """A free port below those that the system hands out, so that no process is given it by chance before Ray listens there."""
    try:
        above = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:  # not Linux
        above = 49152
    while True:
        with socket.socket() as probe:
            port = random.SystemRandom().randrange(20000, max(above, 20100))  # Ray's own workers take those below
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                return port


def _join(target: str, worker_logs: bool) -> None:
    """Join the cluster at `host:port`, after making sure that it answers."""
    probe_gcs(target)
    if find_token():
        use_token_mode()  # a token is harmless where none is asked for
    import ray

    try:
        ray.init(address=target, log_to_driver=worker_logs, logging_level=logging.WARNING)
    except Exception as error:  # as above
        raise ClusterError(
            "the cluster must accept this driver",
            f"{type(error).__name__}: {error}",
            "run on one of the cluster's nodes with the cluster's versions of Ray and Python, or use `dualsweep submit`",
        ) from error


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set what the user hasn't set, and unset it afterwards."""
    ours = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _own_address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def _around() -> tuple[str | None, Path | None]:
    """Where the dashboard is, and Ray's logs, from the context that any `ray.init` leaves."""
    import ray

    # Connected as we are, this connects to nothing; "local" keeps Ray from reading RAY_ADDRESS, which may be a job server's.
    context = ray.init(address="local", ignore_reinit_error=True, logging_level=logging.WARNING)
    url = context.dashboard_url
    session = (getattr(context, "address_info", None) or {}).get("session_dir")
    return f"http://{url}" if url and "://" not in url else url or None, Path(session) / "logs" if session else None


def _shutdown() -> None:
    import ray

    ray.shutdown()

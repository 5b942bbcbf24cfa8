"""The process group of a slot's workers, as a backend of Ray Train's.

Ray's own for torch makes the processes that only start and watch the workers import torch: two seconds and 0.2 GB for each. And
its workers meet on a port that is open to all of a node's interfaces; ours listen on the one of Ray's address alone.
"""

from __future__ import annotations

import contextlib
import os
import socket
from datetime import timedelta
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train import BackendConfig
from ray.train.backend import Backend

from dualsweep.trainer.ray_shell.notice import heed

#: Seconds that a collective may wait for a worker: another one's evaluation may take as long.
_COLLECTIVE = 1800
#: Seconds after which workers that don't leave the group are let go all the same.
_LEAVING = 5


class ProcessGroup(BackendConfig):
    """Gloo on CPUs, NCCL on GPUs; a single worker is a group of one."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _Backend


class _Backend(Backend):
    #: GPUs of one node reach each other's memory.
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: BackendConfig) -> None:
        gpus = worker_group.get_resources_per_worker().get("GPU", 0)
        address, port = worker_group.execute_single(0, _listen)
        started = [
            worker_group.execute_single_async(rank, _join, rank, len(worker_group), "nccl" if gpus else "gloo", address, port)
            for rank in range(len(worker_group))
        ]
        ray.get(started)

    def on_shutdown(self, worker_group: Any, backend_config: BackendConfig) -> None:
        with contextlib.suppress(RayError):  # workers that are no more have left it
            ray.get(worker_group.execute_async(_leave), timeout=_LEAVING)


#: The socket that rank 0 listens on until the group's store takes it over.
_listening: list[socket.socket] = []


def _listen() -> tuple[str, int]:
    """Listens on this node's address, as Ray has it; the address and the port."""
    from ray.util import get_node_ip_address

    host = get_node_ip_address()  # type: ignore[no-untyped-call]
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    _listening[:] = [listener]
    return host, int(listener.getsockname()[1])


def _join(rank: int, world: int, backend: str, address: str, port: int) -> None:
    """Makes this process a member of the group; sets what torchrun sets, by which libraries find their place in it.

    Ray has it called in the worker's main thread.
    """
    from ray.train.torch import get_device
    from ray.util import get_node_ip_address
    from torch import cuda, distributed

    heed()
    context = ray.train.get_context()
    places = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": context.get_local_rank(), "NODE_RANK": context.get_node_rank()}
    places |= {"LOCAL_WORLD_SIZE": context.get_local_world_size(), "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    os.environ["MASTER_ADDR"] = address
    if (name := _interface(get_node_ip_address())) is not None:  # type: ignore[no-untyped-call]
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(variable, name)
    if (device := get_device()).type == "cuda":
        cuda.set_device(device)
    wait = timedelta(seconds=_COLLECTIVE)
    taken: dict[str, Any] = {"master_listen_fd": _listening.pop().detach()} if rank == 0 else {}
    store = distributed.TCPStore(address, port, world, rank == 0, wait, **taken)  # type: ignore[attr-defined]  # torch types no such name
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=wait)


def _interface(address: str) -> str | None:
    """The name of the interface that has this address; None where none says so."""
    import psutil

    names = (name for name, addresses in psutil.net_if_addrs().items() if any(each.address == address for each in addresses))
    return next(names, None)


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.destroy_process_group()

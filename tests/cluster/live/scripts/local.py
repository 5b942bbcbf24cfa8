"""Connects to a cluster of its own; `late` imports Ray first, as a notebook may have."""

import os
import socket
import sys
import urllib.error
import urllib.request

if "late" in sys.argv:
    import ray  # the order is what is tested

import dualsweep.cluster.connection as connection_module
from dualsweep.cluster.connection import connect
from dualsweep.cluster.errors import ClusterError


def status(url: str, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/api/version", headers=headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


before = dict(os.environ)
if "late" in sys.argv:  # and its first start fails, as on a busy machine
    taken = socket.socket()
    taken.bind(("", 0))
    taken.listen()
    ports = iter([taken.getsockname()[1]])
    free_port = connection_module.free_port
    connection_module.free_port = lambda: next(ports, None) or free_port()
with connect("local") as connection:
    import ray

    @ray.remote(num_cpus=1)
    def word() -> str:
        from beside import WORD  # type: ignore[import-not-found]  # lies in the working directory of the test

        return str(WORD)

    assert connection.started
    assert connection.dashboard_url is not None
    assert connection.dashboard_url.startswith("http://127.0.0.1:"), connection.dashboard_url
    assert connection.machine.cpus >= 1
    assert os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "0.5"
    assert os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] == "77", "what the user has set stays"
    print("WORD", ray.get(word.remote()))
    print("STATUS", status(connection.dashboard_url, None), status(connection.dashboard_url, "wrong"))
    with connect() as again:
        assert not again.started
        assert again.address == connection.address
    try:
        connect("127.0.0.1:1")
    except ClusterError as error:
        assert "one cluster at a time" in str(error)
    else:
        raise AssertionError("another cluster than the one we are connected to must be refused")
    assert ray.is_initialized(), "closing the second connection must leave the first"
assert not ray.is_initialized()
changed = {name for name in set(before) | set(os.environ) if before.get(name) != os.environ.get(name)}
ray_has_set = {"RAY_CLIENT_MODE"}
print("LEFT", sorted(name for name in changed - ray_has_set if name.startswith("RAY_")))

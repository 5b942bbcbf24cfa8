"""A network namespace with nothing but loopback, in which Ray can't listen to the outside.

Ray binds to all interfaces, whatever address it is given. `python -m tests.cluster.namespace COMMAND...` brings the loopback
of the namespace it is in up, and runs the command.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

INSIDE = "DUALSWEEP_NETNS"
"""Set to 1 where the process is in such a namespace already."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def inside() -> bool:
    return os.environ.get(INSIDE) == "1"


def command() -> list[str]:
    """What runs its arguments in a new namespace, and kills all that they have started once they end or it is killed."""
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m", __spec__.name]


def why_not() -> str | None:
    """Why namespaces can't be made here; None when they can."""
    if shutil.which("unshare") is None:
        return "there is no unshare on this system"
    tried = subprocess.run([*command(), "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no network namespace can be made: {tried.stderr.strip()[-200:]}"


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP))


def _as_init(arguments: list[str]) -> int:
    """Run a command as the namespace's process 1 must: adopting orphans and burying them, or they would seem alive for ever."""
    main = subprocess.Popen(arguments)
    while True:
        pid, status = os.wait()
        if pid == main.pid:
            return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    _loopback_up()
    os.environ[INSIDE] = "1"
    sys.exit(_as_init(sys.argv[1:]))

"""Runs a command in a network namespace of its own with only the loopback up, where the system allows it.

Ray binds its servers to every interface whatever address it is told; in such a namespace there is only 127.0.0.1. Where no
namespace can be made the command runs as it is, and this says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

MARK = "DUALSWEEP_NETNS"
#: Brings the loopback interface up without needing `ip`: SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP.
LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
name, flags = struct.unpack("16sh", fcntl.ioctl(sock, 0x8913, struct.pack("16sh", b"lo", 0)))
fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", flags | 1))
sock.close()
os.execvp(sys.argv[1], sys.argv[1:])
"""


def prefix() -> list[str] | None:
    """The words to put before a command, or None where no namespace can be made."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return None
    for flags in (["-n"], ["-rn"]):
        words = [unshare, *flags, sys.executable, "-c", LOOPBACK_UP]
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            return words
    return None


def main() -> None:
    command = sys.argv[1:]
    if not os.environ.get(MARK):
        words = prefix()
        if words is None:
            print("no network namespace can be made here: Ray's ports will be open on every interface", file=sys.stderr)
        else:
            os.environ[MARK] = "1"
            command = [*words, *command]
    # A shell's background jobs ignore Ctrl-C, and so would all that the tests start and interrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()

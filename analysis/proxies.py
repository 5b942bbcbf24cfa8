"""Proxies of the environment lead away from this machine, so what listens on it is asked without them."""

from __future__ import annotations

import os

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


def reach_this_machine_directly() -> None:
    """Adds this machine's own names to those that no proxy is asked for, for this process and those that it starts.

    MLflow, Ray and gRPC each ask over HTTP in their own way; the environment is what all of them go by.
    """
    listed = [
        each.strip() for each in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",") if each.strip()
    ]
    if "*" in listed:
        return
    value = ",".join([*listed, *(name for name in LOOPBACK if name not in listed)])
    for variable in ("no_proxy", "NO_PROXY"):
        os.environ[variable] = value

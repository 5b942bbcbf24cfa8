"""One driver at a time behind a URI, on a real S3 server; other machines are processes that say so."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from dualsweep.sweeps.mirrored import lease as leases
from dualsweep.sweeps.mirrored.lease import FILE, Lease, Owner
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.storage import filesystem


def take(place: str, said: list[str] | None = None) -> Lease:
    return Lease.take(*filesystem(place), place, (said if said is not None else []).append)


def from_elsewhere(monkeypatch: pytest.MonkeyPatch, name: str = "other") -> None:
    """From now on this process is one of another machine."""
    here = Owner.here()
    monkeypatch.setattr(leases, "_machine", lambda: name)
    monkeypatch.setattr(Owner, "here", lambda: dataclasses.replace(here, host=name, machine=name, pid=4711))


class Together:
    """A file system on which several that write all begin to when the last one does."""

    def __init__(self, files: Any, number: int) -> None:
        self._files, self._barrier = files, threading.Barrier(number)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def pipe_file(self, *args: Any, **kwargs: Any) -> None:
        self._barrier.wait(30)
        self._files.pipe_file(*args, **kwargs)


def test_of_several_at_the_same_moment_one_has_it(place: str) -> None:
    """Each saw that nobody has it: what decides is that the store creates one object once."""
    files, root = filesystem(place)
    together, said = Together(files, 6), list[str]()

    def race(_: int) -> None:
        try:
            said.append(str(Lease.take(together, root, place, print).number))
        except InputError as refused:
            said.append(str(refused))

    with ThreadPoolExecutor(6) as racers:
        list(racers.map(race, range(6)))
    assert sorted(said)[0] == "1"
    assert len(said) == 6 and all("another driver that began at the same time" in each for each in sorted(said)[1:])


def test_a_second_one_on_this_machine_is_refused_by_name_while_the_first_lives(place: str) -> None:
    files, root = filesystem(place)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as first:
        held = Lease(files, root, 1, Owner.of(first.pid), "")
        files.pipe_file(held._path, held._content())
        with pytest.raises(InputError) as refused:
            take(place)
        first.kill()
    told = str(refused.value)
    assert f"process {first.pid} on {Owner.here().host}" in told and place in told
    assert "takes over 60 s after its last sign of life" in told
    assert take(place).number == 2, "its process is gone, and nothing is waited for"


@pytest.mark.parametrize("by_ticks", [True, False])
def test_a_process_that_lives_is_not_taken_for_gone_when_the_clock_is_set(
    by_ticks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`create_time` goes with the clock; leases of before told nothing else, and are read as they were."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as living:
        owner = Owner.of(living.pid) if by_ticks else dataclasses.replace(Owner.of(living.pid), ticks=None)
        assert not owner.is_gone
        another = (
            dataclasses.replace(owner, ticks=owner.ticks + 1)
            if owner.ticks is not None
            else dataclasses.replace(owner, began=0.0)
        )
        assert another.is_gone, "another process has its number now"
        told = psutil.Process.create_time
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: told(process) + 10)
        assert owner.is_gone is not by_ticks
        living.kill()
    assert owner.is_gone


def test_a_lease_of_before_there_were_ticks_is_read(place: str) -> None:
    files, root = filesystem(place)
    plain = {"host": "h", "machine": "m", "pid": 1, "began": 2.0, "renewals": 3, "ended": True}
    files.pipe_file(f"{root}/driver/00000003/{FILE}", json.dumps(plain).encode())
    said = leases._read(files, root, 3)
    assert said is not None and said.owner == Owner("h", "m", 1, 2.0, None) and (said.renewals, said.run) == (None, "")


def test_one_of_another_machine_is_refused_while_it_is_renewed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, said, over = take(place), list[str](), threading.Event()
    threading.Thread(target=lambda: [first.renew() for _ in iter(lambda: over.wait(0.2), True)], daemon=True).start()
    monkeypatch.setattr(leases, "STALE", 20.0)
    from_elsewhere(monkeypatch)
    began = time.monotonic()
    with pytest.raises(InputError, match=f"which process {first._owner.pid} on {first._owner.host} writes to"):
        take(place, said)
    over.set()
    assert time.monotonic() - began < 10 and "may still write there" in said[0]


def test_one_that_is_silent_is_followed_and_hears_of_it(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = take(place)
    monkeypatch.setattr(leases, "STALE", 1.0)
    with monkeypatch.context() as elsewhere:
        from_elsewhere(elsewhere)
        second = take(place)
    before = second._files.cat_file(second._path)
    assert (first.number, second.number) == (1, 2)
    assert not first.renew() and second.renew()
    first.end()
    assert json.loads(before)["pid"] == 4711 and not json.loads(second._files.cat_file(second._path))["ended"]


def test_who_ends_is_followed_at_once(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take(place).end()
    said: list[str] = []
    from_elsewhere(monkeypatch)
    assert take(place, said).number == 2 and not said


def test_all_drivers_of_a_run_tell_one_identity_and_those_of_another_run_another(place: str) -> None:
    first = take(place)
    first.end()
    second = take(place)
    files, root = filesystem(place)
    files.rm(root, recursive=True)
    assert first.run == second.run and take(place).run not in {"", first.run}


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"host": "x"}'])
def test_a_lease_of_garbage_is_nobodys(content: bytes, place: str) -> None:
    files, root = filesystem(place)
    files.pipe_file(f"{root}/driver/00000003/{FILE}", content)
    assert take(place).number == 4

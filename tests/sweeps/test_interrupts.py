"""Every signal that asks a command to end ends it, and soon, in every way that it was started."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from dualsweep.sweeps import typed
from dualsweep.sweeps.interrupts import asked_to_end
from dualsweep.sweeps.options import interruptible

#: A command that goes on, whatever interrupts it, as one does that waits for something that never comes.
STUBBORN = """
import time
from dualsweep.sweeps import interrupts, typed
typed.remember()
interrupts.GRACE = 1.0
interrupts.terminate_like_interrupt()
interrupts.end_soon()
said = "ready"
while True:
    try:
        print(said, flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        said = "interrupted"
"""
#: One that ends by itself.
PLAIN = STUBBORN.replace('said = "interrupted"', "break")


def started(code: str, before: str = "") -> subprocess.Popen[str]:
    """The command, once it is ready; `before` is the shell's, as `trap '' INT` for what a script puts in the background."""
    command = ["sh", "-c", f'{before}exec "$@"', "sh", sys.executable, "-c", code]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests themselves may run under nohup
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("before", ["", "trap '' INT; "], ids=["foreground", "background of a script"])
def test_each_interrupts_and_what_does_not_end_is_ended(number: signal.Signals, before: str) -> None:
    process = started(STUBBORN, before)
    process.send_signal(number)
    began = time.monotonic()
    out, error = process.communicate(timeout=20)
    assert process.returncode == 130 and out == "interrupted\n" and "the same command again (dualsweep )" in error
    assert 0.8 < time.monotonic() - began < 10


def test_what_ends_by_itself_is_left_alone() -> None:
    process = started(PLAIN)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "") and process.returncode == 0


def test_under_nohup_a_terminal_that_hangs_up_changes_nothing() -> None:
    process = started(STUBBORN, "trap '' HUP; ")
    process.send_signal(signal.SIGHUP)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "interrupted\n"


def test_where_ray_s_own_handler_ended_it_it_was_interrupted_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(typed, "_typed", ["dualsweep", "sweep", "a.yaml"])
    with pytest.raises(SystemExit), interruptible():
        sys.exit(15)
    monkeypatch.setattr(asked_to_end, "is_set", lambda: True)
    with pytest.raises(typer.Exit) as ended, interruptible():
        sys.exit(15)
    assert ended.value.exit_code == 130 and "the same command again (dualsweep sweep a.yaml)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "before",
    [
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as Ray starts its jobs",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells start background jobs",
    ],
)
def test_sigterm_is_a_ctrl_c_where_that_is_blocked_or_ignored(before: str) -> None:
    process = started(f"import signal\n{before}\n{STUBBORN}")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[0] == "interrupted\n" and process.returncode == 130

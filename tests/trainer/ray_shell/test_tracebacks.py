"""What an error says, from the traceback of another process."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import dualsweep
from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.ray_shell.tracebacks import error_in, is_own, own_line


def traceback_of(function: Callable[[], object]) -> str:
    try:
        function()
    except Exception:
        return traceback.format_exc()
    raise AssertionError


class OddError(Exception):
    pass


def with_a_note() -> None:
    error = OverflowError("int too big to convert")
    error.add_note("while processing 'max_length'")
    raise error


def chained() -> None:
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise OddError("outer [batch]\n  second line") from error


def nested() -> None:
    try:
        raise KeyError("inner")
    except KeyError:
        int("x")


def in_a_library() -> None:
    import json

    json.loads("{")


def in_this_program() -> None:
    import_callable("nowhere_at_all:part")


@pytest.mark.parametrize(
    ("function", "told", "name"),
    [
        (with_a_note, "OverflowError: int too big to convert while processing 'max_length'", "with_a_note"),
        (chained, "tests.trainer.ray_shell.test_tracebacks.OddError: outer [batch] second line", "chained"),
        (nested, "ValueError: invalid literal for int() with base 10: 'x'", "nested"),
        (in_a_library, "json.decoder.JSONDecodeError: Expecting property name", "in_a_library"),
        (in_this_program, "dualsweep.trainer.config.import_path.CannotImportError: `nowhere_at_all:part`", "in_this_program"),
    ],
)
def test_the_error_with_its_type_and_the_users_own_line(function: Callable[[], object], told: str, name: str) -> None:
    text = traceback_of(function)
    assert error_in(f"Training failed due to worker errors:\n{text}\n").startswith(told)
    place, _, found = own_line(text).partition(" in ")
    assert found == name and place.startswith(f"{Path(__file__)}:")


def test_texts_without_a_traceback() -> None:
    assert (
        error_in("The actor died.\n\nIts node is gone.\n") == "Its node is gone." and own_line("x") == "" and error_in("") == ""
    )
    assert len(error_in("Traceback (most recent call last):\n  x\nE: " + "y" * 9000)) == 400


def test_a_worker_that_died_is_told_by_what_ray_knows_of_it() -> None:
    """Ray describes the worker over several lines before it says what happened; its class has a closing bracket of its own."""
    text = """A worker health check failed.
Worker info: Worker(
  actor=Actor(RayTrainWorker, 1428),
  distributed_context=DistributedContext(world_rank=0),
)
The actor died unexpectedly before finishing this task.
\tclass_name: RayTrainWorker
\tip: 192.0.2.2
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: it left.
"""
    assert error_in(text).startswith("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR")
    assert len(error_in(text + "y" * 9000)) == 400


PACKAGE, STDLIB = Path(dualsweep.__file__).parent, sysconfig.get_path("stdlib")


@pytest.mark.parametrize(
    "file",
    [
        f"{PACKAGE}_rewards.py", f"{PACKAGE}-runs/nets.py", f"{STDLIB}-nets/unet.py", "/home/me/my-packages/run/rewards.py",
        "/home/me/<odd>/rewards.py",
    ],
)  # fmt: skip
def test_a_file_beside_a_library_is_the_users_own(file: str) -> None:
    assert is_own(file)


@pytest.mark.parametrize(
    "file",
    [
        f"{PACKAGE}/trainer/rng.py", f"{STDLIB}/json/decoder.py", pytest.__file__, "/usr/lib/python3/dist-packages/nets.py",
        "/opt/venv/lib/python3.12/site-packages/nets/unet.py", "<frozen importlib._bootstrap>", "<string>",
    ],
)  # fmt: skip
def test_a_file_of_a_library_is_not(file: str) -> None:
    assert not is_own(file)

"""What commands have in common: their options, JSON files, and how Ctrl-C ends them."""

from __future__ import annotations

import contextlib
import errno
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from dualsweep.sweeps.exits import FAILED, INTERRUPTED
from dualsweep.sweeps.interrupts import asked_to_end
from dualsweep.sweeps.records.json_form import plain
from dualsweep.sweeps.typed import same_again
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked_in
from dualsweep.trainer.config.uris import BadPlaceError, is_local, lasting_folder, lasting_path, local_path
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.errors import TrainingInterrupted
from dualsweep.trainer.patient_files import StoreAwayError
from dualsweep.trainer.storage import write_file


def of_this_machine(option: str) -> Callable[[str], Path]:
    """What makes a path of the text after an option, `~` in it being the home folder: shells leave `--output=~/x` as it is.

    It sees the text as it was typed: a Path makes `s3:/x` of `s3://x`.
    """

    def placed(text: str) -> Path:
        text = str(text)  # a default is a path already
        if not is_local(text):
            remedy = "name a place here, and copy from there"
            raise InputError([Diagnostic((option,), "must be a place of this machine", show(text), remedy, "command line", 1)])
        try:
            return local_path(text) if text.lower().startswith(("~", "file:")) else Path(text)
        except BadPlaceError as error:
            raise InputError([error.diagnostic.at((option,), "command line", 1)]) from None

    return placed


def to_keep(path: Path | None) -> Path | None:
    """A path that is written to: in a Ray job a relative one lies where it outlives the job.

    Raises:
        BadPlaceError: it would not.
    """
    return lasting_path(str(path)) if path is not None and lasting_folder() is not None else path


def file_for_json(path: Path | None) -> Path | None:
    """The file for `--json`; `-` is refused, since on the output JSON would stand among lines for people.

    Raises:
        InputError: it is `-`, or a folder.
    """
    if path is not None and str(path) == "-":
        rule, remedy = "must name a file: the output has lines for people", "give a file's path"
        raise InputError([Diagnostic(("--json",), rule, "'-'", remedy, "command line", 1)])
    kept = to_keep(path)
    if kept is not None and kept.is_dir():
        received = f"the folder {path}"
        raise InputError([Diagnostic(("--json",), "must name a file", received, "add a file name", "command line", 1)])
    return kept


def one_of(words: Sequence[str]) -> Callable[[str], list[str]]:
    """What a shell completes where one of `words` is wanted."""

    def completed(incomplete: str) -> list[str]:  # Typer knows its argument by that name
        return [word for word in words if word.startswith(incomplete)]

    return completed


File = Annotated[Path, typer.Argument(help="A recipe or a sweep, in YAML.", show_default=False, parser=of_this_machine("FILE"))]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="key=value to lay over the file; may be repeated.", show_default=False)
]
Output = Annotated[
    str | None, typer.Option("--output", help="Folder (or fsspec URI) to write to; runs/NAME when left out.", show_default=False)
]
Json = Annotated[
    Path | None,
    typer.Option(
        "--json", help="File for the results as JSON.", show_default=False, parser=of_this_machine("--json"),
        callback=file_for_json,
    ),
]  # fmt: skip
Strict = Annotated[bool, typer.Option("--strict", help="Exit code 3 unless every trial is known to meet its budgets.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the code that checkpoints name, whoever wrote them.")]
NoDryRun = Annotated[
    bool, typer.Option("--no-dry-run", help="Start without building the model and asking the recipe's parts on two samples.")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", help="Ray cluster to join, host:port or auto; else RAY_ADDRESS, else a local one.", show_default=False
    ),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri", show_default=False,
        help="MLflow store to log the training to; MLFLOW_TRACKING_URI when left out, and where that is not set none.",
    ),
]  # fmt: skip
Prefer = Annotated[
    str | None,
    typer.Option(
        "--prefer",
        help="The point to recommend, as the sweep's key `prefer`: '{weights: {objective: 1, value/max: 2}}' or "
        "'{meets: {value/four: {at_most: 0.1}}}'; none forgets it.",
        show_default=False,
    ),
]
Synced = Annotated[
    str | None,
    typer.Argument(
        metavar="[SWEEP]", help="A sweep file or a sweep's output folder; all below runs/ when left out.", show_default=False
    ),
]
JobServer = Annotated[
    str | None,
    typer.Option("--address", help="The job server; else RAY_API_SERVER_ADDRESS, else this machine's.", show_default=False),
]  # fmt: skip


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Writes a `--json` file where one was asked for, with the secrets of its texts hidden."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(masked_in(plain(content)), indent=2) + "\n")


#: What a machine may refuse at any write, and no traceback explains: a full disk, a quota, a read-only or failing one.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM)


#: What is wrong with a path itself, whoever asks for it.
_NO_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)


def cwd_is_there() -> bool:
    """Whether the working directory still exists."""
    try:
        return Path.cwd().is_dir()
    except OSError:
        return False


def no_path(error: OSError) -> str:
    """`File name too long: PATH` and the like; empty of an error of another kind."""
    if not cwd_is_there():
        return "the working directory is gone, and relative places with it; cd to one that exists"
    return f"{error.strerror}: {show(str(error.filename))}; name another path" if error.errno in _NO_PATHS else ""


def refused_by_the_machine(error: OSError) -> str:
    """`No space left on device: PLACE` and the like; empty of an error of another kind."""
    if error.errno not in _REFUSALS:
        return ""
    return f"{error.strerror}: {error.filename}" if error.filename is not None else str(error.strerror)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C says how to continue, and so do a machine that takes no more and processes that die again and again."""
    try:
        yield
    except StoreAwayError as error:
        print(f"dualsweep: {error}; to continue once it does, {same_again()}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        if not (told := refused_by_the_machine(error)):
            raise
        print(f"dualsweep: {told}; to continue once that is fixed, {same_again()}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except TrainingInterrupted as interruption:
        print(f"dualsweep: interrupted: {interruption}; to continue, {same_again()}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit:  # by Ray's own handler, at its start
        if not asked_to_end.is_set():
            raise
        print(f"dualsweep: interrupted; to continue, {same_again()}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        print(f"dualsweep: interrupted; to continue, {same_again()}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None

"""The command line in the test's own process, for what does not rest on a process of its own: a start costs seconds."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from dualsweep.sweeps.entry import main


class _Terminal(io.TextIOWrapper):
    """Takes what its encoding has, and raises at what it has not, as a process's own streams do."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding, write_through=True)

    def getvalue(self) -> str:
        self.seek(0)
        return self.read()


def dualsweep_here(*arguments: str, folder: Path, encoding: str = "") -> subprocess.CompletedProcess[str]:
    """`dualsweep ARGUMENTS` typed in `folder`, through the entry point itself: its exit code and what it wrote.

    `encoding`: that of its terminal, where it matters.
    """
    out, err = (_Terminal(encoding) if encoding else io.StringIO() for _ in range(2))
    code = 0
    with (
        contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["dualsweep", *arguments]), mock.patch.dict(os.environ),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(["dualsweep", *arguments], code, out.getvalue(), err.getvalue())

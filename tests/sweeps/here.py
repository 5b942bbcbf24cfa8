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


def dualsweep_here(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`dualsweep ARGUMENTS` typed in `folder`, through the entry point itself: its exit code and what it wrote."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["dualsweep", *arguments]), mock.patch.dict(os.environ),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(["dualsweep", *arguments], code, out.getvalue(), err.getvalue())

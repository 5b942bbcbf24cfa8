"""The room as others import it."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys; from dualsweep.analysis import errors, judging, reading, trials;"
        "print([m for m in ('mlflow', 'plotly', 'matplotlib', 'pandas', 'ray', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

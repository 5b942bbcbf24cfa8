"""The house's own rules: who may import whom, what the core keeps out, how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("trainer", "sweeps", "analysis", "cluster")
#: Which rooms each room may import (beside itself).
ALLOWED = {
    "trainer": set(),
    "sweeps": {"trainer", "analysis", "cluster"},
    "analysis": {"trainer"},
    "cluster": set(),
}
#: The thin Ray shell of `trainer/`; everything else there is the core.
SHELL = "trainer/ray_shell/"
KEPT_OUT_OF_THE_CORE = {"ray", "mlflow", "matplotlib", "plotly", "optuna"}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room):
    for path in sources(room):
        others = {name.split(".")[0] for name in imported(path)} & set(ROOMS) - {room}
        assert others <= ALLOWED[room], f"{path.relative_to(ROOT)} imports {others - ALLOWED[room]}"


def test_the_core_never_imports_ray_mlflow_or_plotting():
    for path in sources("trainer"):
        if not str(path.relative_to(ROOT)).startswith(SHELL):
            found = {name.split(".")[0] for name in imported(path)} & KEPT_OUT_OF_THE_CORE
            assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_analysis_reads_mlflow_and_needs_no_ray_or_torch():
    for path in sources("analysis"):
        assert not {name.split(".")[0] for name in imported(path)} & {"ray", "torch", "diffusers", "optuna"}, path


def test_no_private_ray_but_where_the_reason_stands_beside_it():
    for room in ROOMS:
        for path in sources(room):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.search(r"import.*ray\._private|from ray\._", line):
                    assert "#" in line, f"{path.relative_to(ROOT)}:{number} uses a private part of Ray without saying why"


def test_checking_input_imports_nothing_heavy():
    """What makes an answer to bad input come within two seconds; a count of modules, not of time."""
    heavy = ("torch", "ray", "mlflow", "optuna", "diffusers", "pandas", "sklearn", "matplotlib", "plotly", "numpy")
    code = (
        "import sys; from pathlib import Path; from sweeps.checking import checked_sweep;"
        "checked_sweep(Path('sweeps/digits.yaml'), [], '/tmp/nowhere-yet', None, None);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
    assert not Path("/tmp/nowhere-yet").exists()

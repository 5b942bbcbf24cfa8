"""What asking costs: processor seconds of `check` of every shipped recipe and sweep, and of `--help`, a process each.

    python -m tests.benchmarks.bench_light [--rounds 5]

The median of the rounds counts, user and system time together, which is what an idle machine takes.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

from tests.benchmarks.common import ROOT
from tests.benchmarks.rows import holds

#: Required processor seconds.
CHECK, HELP = 0.8, 0.4
#: Exit code of `check` for a shipped recipe whose data or first model another command is to make: all of it is checked even so.
REFUSED = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = [*sorted((ROOT / "sweeps/recipes").glob("*.yaml")), *sorted((ROOT / "sweeps").glob("*.yaml"))]
    seconds(["--help"])  # writes the compiled modules
    rounds = range(options.rounds)
    checks = {str(file.relative_to(ROOT)): [seconds(["check", str(file)], REFUSED) for _ in rounds] for file in files}
    helps = [seconds(["--help"]) for _ in rounds]
    kept = [holds(f"check {name}, s", statistics.median(each), f"<= {CHECK}") for name, each in checks.items()]
    kept.append(holds("--help, s", statistics.median(helps), f"<= {HELP}"))
    sys.exit(not all(kept))


def seconds(arguments: list[str], allowed: int = 0) -> float:
    """Processor seconds of one command, which must do its work, or end with `allowed`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "dualsweep", *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, allowed), done
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()

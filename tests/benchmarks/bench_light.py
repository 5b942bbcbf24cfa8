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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files = [*sorted((ROOT / "sweeps/recipes").glob("*.yaml")), *sorted((ROOT / "sweeps").glob("*.yaml"))]
    seconds(["--help"])  # writes the compiled modules
    checks = {str(file.relative_to(ROOT)): [seconds(["check", str(file)]) for _ in range(options.rounds)] for file in files}
    helps = [seconds(["--help"]) for _ in range(options.rounds)]
    kept = [holds(f"check {name}, s", statistics.median(each), f"<= {CHECK}") for name, each in checks.items()]
    kept.append(holds("--help, s", statistics.median(helps), f"<= {HELP}"))
    sys.exit(not all(kept))


def seconds(arguments: list[str]) -> float:
    """Processor seconds of one command, which must do its work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "dualsweep", *arguments], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()

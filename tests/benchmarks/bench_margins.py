"""How far the bound of each test of a drawn or trained figure stands from the figure: `python -m tests.benchmarks.bench_margins`.

Runs every test that has the fixture `sampled` (tests/margins.py) at many seeds, and prints of each figure the mean and standard
deviation over them, the nearer bound and its margin in standard deviations. Paths of tests take those alone. Ends with 1 where a
margin is below 4, or a test failed at a seed. `--keep FILE` adds to what earlier runs kept there, so that a long measurement can
be taken in parts; `--only-tell` prints the table of what is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.margins import LEAST, Kept, Margin, margin

ROOT = Path(__file__).parent.parent.parent


def measure(tests: list[str], kept: Path, seeds: int, first: int, processes: int) -> None:
    words = ["--margins", str(kept), "--seeds", str(seeds), "--first-seed", str(first), "-n", str(processes)]
    words += ["-p", "no:cacheprovider"]
    subprocess.run([sys.executable, "-m", "pytest", "-q", *words, *(tests or ["tests"])], cwd=ROOT, check=False)


def read(kept: Path) -> tuple[dict[tuple[str, str], list[Kept]], dict[str, list[str]]]:
    """Figures by (test, name), and what went wrong in each test that failed; of a seed measured twice the later counts."""
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    latest = {(line["test"], line["seed"]): line for line in lines}
    figures: dict[tuple[str, str], list[Kept]] = defaultdict(list)
    failures: dict[str, list[str]] = defaultdict(list)
    for (test, seed), line in sorted(latest.items()):
        if line["failed"]:
            failures[test].append(f"seed {seed}: {line['failed']}")
        for figure in line["figures"]:
            figures[test, figure["name"]].append(Kept(**figure))
    return figures, failures


def row(test: str, name: str, found: Margin) -> str:
    place = test.removeprefix("tests/").replace("|", "\\|")
    figures = f"{found.seeds} | {found.mean:.4g} | {found.sd:.2g} | {found.bound:.4g}"
    return f"| `{place}` | {name} | {figures} | {shown(found)} | {found.method} |"


def shown(summary: Margin) -> str:
    if not summary.holds:
        return f"{summary.margin:.1f} **too near**"
    return f"{summary.margin:.1f}" if summary.margin < 100 else "> 100"


def tell(kept: Path, nearest: bool) -> bool:
    """Prints the table; whether every margin holds and no test failed."""
    figures, failures = read(kept)
    margins = {key: margin(each) for key, each in figures.items() if len(each) > 1}
    told = margins
    if nearest:
        of_test: dict[str, tuple[str, str]] = {}
        for key in sorted(margins, key=lambda key: margins[key].margin):
            of_test.setdefault(key[0], key)
        told = {key: margins[key] for key in sorted(of_test.values())}
    print("| test | figure | seeds | mean | sd | nearer bound | margin, sd | the method's own error |")
    print("|---|---|---|---|---|---|---|---|")
    for (test, name), found in told.items():
        print(row(test, name, found))
    near = sum(not each.holds for each in margins.values())
    print(
        f"\n{len(margins)} figures of {len({test for test, _ in margins})} tests: {near} nearer than {LEAST:g} standard ", end=""
    )
    print(f"deviations; {len(failures)} tests failed at a seed")
    for test, reasons in failures.items():
        print(f"- {test}: {len(reasons)} times, {reasons[0]}")
    return not near and not failures and bool(margins)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", help="paths of tests; all where none is named")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds (20)")
    parser.add_argument("--first", type=int, default=1, help="the first of them (1; the suite's own is 0)")
    parser.add_argument("--processes", type=int, default=2, help="how many tests at a time (2)")
    parser.add_argument("--keep", type=Path, help="where figures are kept, and added to")
    parser.add_argument("--nearest", action="store_true", help="print one figure a test, the one whose bound is nearest")
    parser.add_argument("--only-tell", action="store_true", help="print what --keep holds, run nothing")
    arguments = parser.parse_args()
    kept = arguments.keep or Path(tempfile.mkdtemp(prefix="dualsweep-margins-")) / "figures.jsonl"
    if not arguments.only_tell:
        measure(arguments.tests, kept.absolute(), arguments.seeds, arguments.first, arguments.processes)
    raise SystemExit(0 if tell(kept, arguments.nearest) else 1)


if __name__ == "__main__":
    main()

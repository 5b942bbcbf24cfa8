"""Every claim of the product's about its own figures, claimed beside measured: `python -m tests.benchmarks.bench_coverage`.

Names of groups take those alone; `--scale 0.1` takes a tenth of the runs, for a look: claims may then fail by chance.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil

import tests.benchmarks.coverage
from tests.benchmarks.coverage import Rows


def groups() -> dict[str, Rows]:
    """Each group's function `rows`, by the name of its file."""
    package = tests.benchmarks.coverage
    names = [each.name for each in pkgutil.iter_modules(package.__path__)]
    return {name: importlib.import_module(f"{package.__name__}.{name}").rows for name in sorted(names) if name[0] != "_"}


def main() -> None:
    known = groups()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(known)}; all where none is named")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of runs")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.groups) - set(known))
    if unknown:
        parser.error(f"a group must be one of {', '.join(known)}, but got {', '.join(unknown)}")
    failed = 0
    print("| group | claim | claimed | measured | holds |\n|---|---|---|---|---|")
    for name in arguments.groups or known:
        for row in known[name](arguments.scale):
            print(f"| {name} | {row.claim} | {row.claimed} | {row.measured} | {'yes' if row.holds else '**no**'} |", flush=True)
            failed += not row.holds
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()

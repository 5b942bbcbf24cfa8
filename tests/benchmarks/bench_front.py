"""`dualsweep front` over sweeps of trials as the demo's: seconds, what the first marking adds, the page's size, and the growth.

    python -m tests.benchmarks.bench_front [--trials 1000 10000]

A process of its own for each review, imports and all: the first marks every trial, the second finds them marked. The exponent is
that of the second's time between the least and the most trials. `--trials 1000` alone takes a minute; ten thousand need 3 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from dualsweep.analysis.figures.pages import packed
from dualsweep.trainer.evaluation.grid import sample_grid
from tests.analysis.page import packed_in, payload
from tests.benchmarks.demo_store import demo_store
from tests.benchmarks.rows import exponent, holds

#: Required of each trial in seconds; of the page in MB.
REVIEW, MARKING, PAGE, PICTURES, EXPONENT = 0.01, 0.008, 3, 5, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    options = parser.parse_args()
    kept, seconds = [], {}
    for count in options.trials:
        with tempfile.TemporaryDirectory() as folder:
            uri = demo_store(Path(folder), count, _pictures(12))
            marking, seconds[count] = front(uri, Path(folder)), front(uri, Path(folder))
            page, pictures = sizes(Path(folder) / "out/front.html")
        kept += [
            holds(f"{count} trials, seconds of `front`", seconds[count], f"<= {REVIEW * count:g}"),
            holds(
                f"{count} trials, ms more of the first marking, a trial",
                1000 * (marking - seconds[count]) / count,
                f"<= {1000 * MARKING:g}",
            ),
            holds(f"{count} trials, MB of the page beside its pictures", page, f"<= {PAGE}"),
            holds(f"{count} trials, MB of its pictures", pictures, f"<= {PICTURES}"),
        ]
    if len(seconds) > 1:
        kept.append(holds("exponent of the seconds in trials", exponent(seconds), f"<= {EXPONENT}"))
    sys.exit(not all(kept))


def _pictures(count: int) -> list[bytes]:
    generators = (torch.Generator().manual_seed(seed) for seed in range(count))
    return [sample_grid(torch.rand(64, 1, 8, 8, generator=generator) * 2 - 1) for generator in generators]


def front(uri: str, folder: Path) -> float:
    """Seconds of the command."""
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "dualsweep", "front", "digits", "--tracking-uri", uri, "--output", str(folder / "out")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    took, worked = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(f"front: {took:.1f} s, {worked:.1f} of the processor")
    return took


def sizes(page: Path) -> tuple[float, float]:
    """MB of a page as it would be without pictures, and of the pictures in it."""
    html = page.read_text(encoding="utf-8")
    bare = packed(json.dumps({**payload(html), "thumbnails": {}}, ensure_ascii=False, separators=(",", ":")))
    beside = len(html.encode()) - len(packed_in(html)) + len(bare)
    return beside / 1e6, (len(html.encode()) - beside) / 1e6


if __name__ == "__main__":
    main()

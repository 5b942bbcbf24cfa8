"""A sweep of 1,000 trials reviewed: seconds of `dualsweep front`, size of the page, and how soon it answers in Chromium.

    python -m tests.benchmarks.bench_review [--trials 1000]

Required of a thousand: 20 s, 5 MB, 2 s from opening the page until its points are drawn and one of them answers the pointer.
Of trials as the demo's, and of more of them, is `bench_front`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient

from dualsweep.sweeps.reports.reviewing import rebuild
from dualsweep.trainer.evaluation.grid import sample_grid
from tests.analysis.browser import chromium, wait_until_drawn
from tests.analysis.made_up import NAMES, log_parent, log_trial, made_up_trials, new_store
from tests.benchmarks.rows import holds

_WITH_SAMPLES = 200
#: Required seconds of `dualsweep front`, MB of the page, seconds until it answers.
REVIEW, PAGE, ANSWER = 20, 5, 2


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        uri = record_trials(Path(folder), options.trials)
        page, kept = front_twice(uri, Path(folder))
        kept.append(holds("front.html, MB", page.stat().st_size / 1e6, f"<= {PAGE}"))
        seconds = [open_page(page) for _ in range(5)]
        kept.append(holds("s until it answers, median of 5", statistics.median(seconds), f"<= {ANSWER}"))
    sys.exit(not all(kept))


def record_trials(folder: Path, count: int) -> str:
    """An SQLite store of `count` trials of three constraints, the first 200 with samples; returns its URI."""
    import torch

    uri, experiment = new_store(folder)
    client, parent = MlflowClient(uri), log_parent(uri, experiment)
    picture = folder / "samples.png"
    started = time.monotonic()
    for number, trial in enumerate(made_up_trials(count, names=NAMES)):
        run = log_trial(uri, experiment, parent, trial, start=1_000_000 + number)
        if number < _WITH_SAMPLES:
            picture.write_bytes(sample_grid(torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(number)) * 2 - 1))
            client.log_artifact(run, str(picture))
    print(f"recorded {count} trials in {time.monotonic() - started:.0f} s")
    return uri


def front_twice(uri: str, folder: Path) -> tuple[Path, list[bool]]:
    """`dualsweep front` for the first time, when every trial is marked, and again; returns its page and what holds."""
    from rich.console import Console

    kept = []
    for word in ("first", "again"):
        started, worked = time.monotonic(), time.process_time()
        rebuild("digits-minority", uri, folder / "out", Console(quiet=True))
        took, processor = time.monotonic() - started, time.process_time() - worked
        kept.append(holds(f"dualsweep front ({word}; {processor:.1f} s of the processor), s", took, f"<= {REVIEW}"))
    return folder / "out" / "front.html", kept


def open_page(page: Path) -> float:
    """Seconds from navigation until the points are drawn, and from the pointer on one of them until its card, in a browser."""
    with chromium() as browser:
        browser.get(page.as_uri())
        wait_until_drawn(browser)
        seconds: float = browser.execute_async_script(_ANSWER)
    return seconds


#: The pointer's events are made in the page, since the driver's take a quarter of a second to move it.
_ANSWER = """
const done = arguments[arguments.length - 1], drawn = performance.getEntriesByName('ready')[0].startTime;
const plot = document.getElementById('plot'), card = document.getElementById('card'), drag = plot.querySelector('.nsewdrag');
const trace = plot.data.find((t) => t.name === 'front'), box = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout;
const clientX = box.left + xaxis._offset + xaxis.d2p(trace.x[0]), clientY = box.top + yaxis._offset + yaxis.d2p(trace.y[0]);
const started = performance.now();
new MutationObserver(() => {
  if (card.textContent) done((drawn + performance.now() - started) / 1000);
}).observe(card, { childList: true, subtree: true, attributes: true });
for (const name of ['mouseover', 'mousemove']) drag.dispatchEvent(new MouseEvent(name, { clientX, clientY, bubbles: true }));
"""


if __name__ == "__main__":
    main()

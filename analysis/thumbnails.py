"""Small pictures of the trials' samples for the review page, from the artifact `samples.png` of their runs."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

from PIL import Image

from dualsweep.analysis.front import Front
from dualsweep.analysis.store import download, open_client
from dualsweep.analysis.trials import JUDGED_STATUSES, SweepRecord, Trial

SAMPLES = "samples.png"
_SIDE = 264
#: So that the page of a thousand trials stays below 5 MB: bytes of all pictures, and runs that are asked for one.
_BYTES, _RUNS = 2_000_000, 120
_AT_A_TIME = 8


def thumbnails(tracking_uri: str, record: SweepRecord, front: Front) -> dict[str, str]:
    """Return data URIs by trial id: the front's trials first, then by rank, until the page has no room for more.

    Raises:
        ReviewError: there is no store at the tracking URI.
    """
    open_client(tracking_uri)
    ended = [trial for trial in record.trials if trial.status in JUDGED_STATUSES and front.ranks[trial.trial_id]]
    ended.sort(key=lambda trial: (front.ranks[trial.trial_id] or 0, trial.trial_id))
    made: dict[str, str] = {}
    room = _BYTES
    for trial, picture in _pictures(tracking_uri, ended[:_RUNS]):
        room -= len(picture)
        if room < 0:
            break
        made[trial.trial_id] = picture
    return made


def _pictures(tracking_uri: str, trials: Sequence[Trial]) -> Iterator[tuple[Trial, str]]:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_AT_A_TIME) as pool:
        shrinking = pool.map(lambda place, each: _picture(tracking_uri, place, each, Path(folder)), count(), trials)
        for trial, picture in zip(trials, shrinking, strict=True):
            if picture is not None:
                yield trial, picture


def _picture(tracking_uri: str, place: int, trial: Trial, folder: Path) -> str | None:
    into = folder / str(place)  # and not by a name that a server gives
    into.mkdir()
    try:
        return shrunk(download(tracking_uri, trial, SAMPLES, str(into)).read_bytes())
    except Exception:  # no such artifact, for which every store has an error of its own, or what lies there is no picture
        return None


def shrunk(png: bytes) -> str:
    """Return a picture of at most 264 pixels a side as a data URI.

    Raises:
        OSError: these bytes are no picture.
    """
    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGB")
        small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=70, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"

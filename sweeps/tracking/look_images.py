"""The pictures of a training's looks (`monitor`) as MLflow shows a series: by their step, in the run's charts of images.

MLflow knows such a series by the names of its files alone, which `MlflowClient.log_image` gives; here a name is the same each
time that it is made, so that the same command again adds nothing twice.
"""

from __future__ import annotations

import io
import math
import posixpath
import uuid
from collections.abc import Iterator
from pathlib import Path

from dualsweep.sweeps.records.explained import Points
from dualsweep.sweeps.tracking.brought import brought
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import LOOKS, look_name, write_file

#: Where MLflow looks for them among a run's artifacts, and the tag by which it knows that there are some.
FOLDER, TAGS = "images", {"mlflow.loggedImages": "True"}
#: The name of the series, and the longer side of the pictures that MLflow shows first, in pixels.
_KEY, _SIDE = "samples", 256


def write_looks(folder: Path, place: str, points: Points, recipe: Recipe) -> list[Path]:
    """Writes into `folder` the pictures of a training whose own files lie at `place`; returns all, none where it made none."""
    monitor, written = recipe.monitor, []
    if monitor is None or not monitor.samples:
        return []
    times = {point.step: point.time for point in points if not point.final}
    for step in range(monitor.every, recipe.train.steps + 1, monitor.every):
        picture = brought(posixpath.join(place, LOOKS), look_name(step))
        if picture is not None:
            written += list(_series(folder, step, times.get(step, math.nan), f"{place}#{step}", picture))
    return written


def _series(folder: Path, step: int, time: float, mark: str, picture: bytes) -> Iterator[Path]:
    """The two files of a step: the picture, and a small one."""
    from PIL import Image

    moment = int(1000 * time) if math.isfinite(time) else 0
    name = f"{_KEY}+step+{step}+timestamp+{moment}+{uuid.uuid5(uuid.NAMESPACE_URL, mark)}"
    folder.mkdir(parents=True, exist_ok=True)
    yield write_file(folder / f"{name}.png", picture)
    small, buffer = Image.open(io.BytesIO(picture)), io.BytesIO()
    small.thumbnail((_SIDE, _SIDE))
    small.save(buffer, format="WEBP")
    yield write_file(folder / f"{name}+compressed.webp", buffer.getvalue())

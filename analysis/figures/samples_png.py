"""Samples along the front in one row, for the sweep's description in MLflow."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from dualsweep.analysis.front import Front
from dualsweep.analysis.text import number
from dualsweep.analysis.trials import SweepRecord, Trial

_MOST, _SIDE, _GAP, _TEXT = 5, 198, 12, 36


def samples_png(record: SweepRecord, front: Front, thumbnails: Mapping[str, str]) -> bytes | None:
    """Return the samples of at most 5 trials along the front as PNG; None where there are none."""
    pictured = [trial for trial in front.trials if trial.trial_id in thumbnails]
    chosen = [pictured[round(place)] for place in _evenly(len(pictured))]
    if not chosen:
        return None
    sheet = Image.new("RGB", (len(chosen) * (_SIDE + _GAP), _SIDE + _TEXT), "white")
    font = ImageFont.load_default(13)
    for place, trial in enumerate(chosen):
        left = place * (_SIDE + _GAP)
        with Image.open(io.BytesIO(base64.b64decode(thumbnails[trial.trial_id].partition(",")[2]))) as picture:
            small = picture.convert("RGB")
            small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (left, 0))
        ImageDraw.Draw(sheet).text((left, _SIDE + 2), _caption(record, trial), fill="#1c2430", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _evenly(count: int) -> Sequence[float]:
    kept = min(count, _MOST)
    return [place * (count - 1) / max(kept - 1, 1) for place in range(kept)]


def _caption(record: SweepRecord, trial: Trial) -> str:
    name = next(iter(record.objectives))
    return f"trial {trial.trial_id}\n{name[:12]} {number(trial.metric(name))}"

"""The review page: one HTML file with everything in it, for MLflow's artifact viewer and for the disk.

The page needs no network. plotly.js and what is known of the trials are embedded gzipped and unpacked by the browser: plotly.js
takes half a megabyte, a thousand trials a quarter of one. What trials say (parameters, reasons, names) reaches the page as
escaped text only. Its parts lie in `page/`.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence

from dualsweep.analysis.figures.pages import filled, packed, part
from dualsweep.analysis.figures.payload import payload
from dualsweep.analysis.front import Front
from dualsweep.analysis.store import is_http
from dualsweep.analysis.text import number
from dualsweep.analysis.trials import SweepRecord
from dualsweep.trainer.config.masking import without_login

#: Where `mlflow ui` answers unless told otherwise.
LOCAL_UI = "http://127.0.0.1:5000"
_CODE = re.compile("`([^`]*)`")
_SCRIPTS = ("plotly.js", "common.js", "card.js", "scatter.js", "parallel.js", "table.js", "walk.js", "start.js")


def front_html(
    record: SweepRecord,
    front: Front,
    *,
    hypervolume: float | None,
    reference_point: Sequence[float] | None,
    history: Sequence[float],
    base_url: str = LOCAL_UI,
    thumbnails: Mapping[str, str] | None = None,
    named: Mapping[str, Sequence[str]] | None = None,
    said: Mapping[str, Sequence[str]] | None = None,
    advice: Sequence[str] = (),
) -> str:
    """Return the review page of a sweep.

    `base_url` is the MLflow UI that links lead to when the page is opened from disk; inside MLflow's own artifact viewer the
    links lead to that MLflow. `history` [trials] is the hypervolume after each trial, or empty. `thumbnails` are pictures of
    samples by trial id, as data URIs; `named` are words to write beside a trial's point, such as `knee`, by trial id, and `said`
    sentences for its card. `advice` is for everyone who opens the page.
    """
    known = payload(
        record, front, history=history, base_url=base_url, thumbnails=thumbnails or {}, named=named or {}, said=said or {}
    )
    pieces = {
        "TITLE": html.escape(f"{record.experiment_name}: front"),
        "NAME": html.escape(record.experiment_name),
        "NOTE": html.escape(front.note),
        "VOLUME": html.escape(_volume_text(record, hypervolume, reference_point)),
        "ADVICE": "".join("<p>" + _CODE.sub(r"<code>\1</code>", html.escape(line)) + "</p>" for line in advice),
        "CSS": part("page.css"),
        "REVIEW": packed(json.dumps(known, ensure_ascii=False, allow_nan=False, separators=(",", ":"))),
        "SCRIPT": "\n".join(map(part, _SCRIPTS)),
    }
    return filled("page.html", pieces)


def base_url_of(tracking_uri: str) -> str:
    """Return the UI that belongs to a tracking URI: the server itself, or a local one on MLflow's port."""
    return without_login(tracking_uri).rstrip("/") if is_http(tracking_uri) else LOCAL_UI


def _volume_text(record: SweepRecord, volume: float | None, reference: Sequence[float] | None) -> str:
    if volume is None or reference is None:
        return ""
    where = ", ".join(f"{name} {number(value)}" for name, value in zip(record.objectives, reference, strict=True))
    return f"Hypervolume {number(volume)} against the reference point {where}."

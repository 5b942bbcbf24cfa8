"""What a review page holds, unpacked as a browser does."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

_REVIEW = re.compile(r'<script type="application/octet-stream" id="review">(.*?)</script>', re.DOTALL)


def packed_in(html: str) -> str:
    """The page's data as they stand in it."""
    found = _REVIEW.search(html)
    assert found is not None, "the page has no data"
    return found.group(1)


def text_in(html: str) -> str:
    """The page's data as JSON."""
    return gzip.decompress(base64.b64decode(packed_in(html))).decode()


def payload(html: str) -> dict[str, Any]:
    """The page's data (`dualsweep.analysis.figures.payload`)."""
    loaded = json.loads(text_in(html))
    assert isinstance(loaded, dict)
    return loaded


def listed(loaded: dict[str, Any], packed: Any) -> list[Any]:
    """A list [trials] of the page's, which may name a column or hold each value once."""
    if isinstance(packed, str):
        return next(list(column["values"]) for column in loaded["columns"] if column["key"] == packed)
    return packed if isinstance(packed, list) else [packed["of"][place] for place in packed["at"]]


def own(html: str, key: str) -> list[Any]:
    """What each trial of the page has of its own under this key: its id, its reason, its kind."""
    loaded = payload(html)
    return listed(loaded, loaded["trials"]["own"][key])

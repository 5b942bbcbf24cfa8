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

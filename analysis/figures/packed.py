"""plotly.js as it is embedded in pages: gzipped and unpacked by the browser, about 2 MB instead of 5."""

from __future__ import annotations

import base64
import functools
import gzip
import json


@functools.cache
def packed_plotly() -> str:
    """plotly.js, gzipped, in base 64."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


def json_for_script(payload: object) -> str:
    """JSON that may stand in a `<script>`: `<` must not appear, since "</script>" in a text would end the element."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

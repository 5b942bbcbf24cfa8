"""What HTML pages with everything in them are made of: their parts in `page/`, their data, and plotly.js.

plotly.js is embedded gzipped and unpacked by the browser, half a megabyte. It is the library's own `basic` bundle (4.1.1), which
has all that the pages draw: the whole one, which the Python package plotly carries, takes 2 MB. A newer one is `npm pack
plotly.js-basic-dist-min`; its licence lies beside it.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
from collections.abc import Mapping
from importlib import resources


def part(name: str) -> str:
    """A file of `page/`."""
    return resources.files("dualsweep.analysis.figures").joinpath("page", name).read_text(encoding="utf-8")


def filled(template: str, pieces: Mapping[str, str]) -> str:
    """The file `template` of `page/` with each `@@NAME@@` replaced by the piece of that name, and `@@PLOTLY@@` by plotly.js.

    In one pass, so that a text of a user's is never taken for a placeholder.
    """
    known = {**pieces, "PLOTLY": _packed_plotly()}
    split = part(template).split("@@")
    return "".join(piece if place % 2 == 0 else known[piece] for place, piece in enumerate(split))


@functools.cache
def _packed_plotly() -> str:
    return packed(part("plotly-basic.min.js"))


def packed(text: str) -> str:
    """Text gzipped, in base 64, which may stand anywhere in HTML; `unpacked` in `page/plotly.js` reads it."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def json_for_script(payload: object) -> str:
    """JSON that may stand in a `<script>`: `<` must not appear, since "</script>" in a text would end the element."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

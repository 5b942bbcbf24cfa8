"""Results as notebooks show them: a few lines, and the pictures that lie beside the run."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path


def page(text: str, pictures: Sequence[Path]) -> str:
    """HTML of a text and those pictures that are there, each within the page itself."""
    shown = (each.read_bytes() for each in pictures if each.is_file())
    images = [f'<img style="max-width: 100%" src="data:image/png;base64,{base64.b64encode(each).decode()}">' for each in shown]
    return "\n".join([f"<pre>{html.escape(text)}</pre>", *images])

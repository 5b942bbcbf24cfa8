"""A bar with the lines of what runs, in place, in a notebook: IPython shows it, and nothing else is needed."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import import_module
from typing import Any


class NotebookBar:
    """One output of the cell that is running, replaced as things go on."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._display = import_module("IPython.display").display  # only where a notebook is: IPython is there then

    def show(self, done: float, lines: Sequence[str]) -> None:
        """Shows what part of all is done, from 0 to 1, and a line for each training that runs."""
        told = "\n".join(lines)
        shown = {
            "text/html": f'<progress value="{done:.3f}" max="1"></progress> {done:.0%}<pre>{html.escape(told)}</pre>',
            "text/plain": f"{done:.0%}\n{told}",
        }
        if self._handle is None:
            self._handle = self._display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

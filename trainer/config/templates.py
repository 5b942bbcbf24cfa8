"""Templates that somebody forgot to fill in: Jinja's, ERB's and the shell's places, recognised so that errors name the cause."""

from __future__ import annotations

import re

_PLACE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|<%.*?%>|\$\{\w+\}", re.DOTALL)


def unfilled(text: str) -> str:
    """The first place of a template (`{{ x }}`, `{% x %}`, `<% x %>`, `${X}`) in a text, or nothing."""
    found = _PLACE.search(text)
    return found.group() if found else ""


def template_hint(place: str) -> str:
    """What to do about a place that `unfilled` found."""
    return f"{place} is a template that was not filled in; fill it in, and give what it makes"

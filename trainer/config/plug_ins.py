"""Folders of plug-ins: each file is one, found by being there, and its name is its word in input files."""

from __future__ import annotations

from collections.abc import Iterable
from pkgutil import iter_modules


def words(folder: Iterable[str], first: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of the files of a package whose `__path__` is `folder`, none of which is imported.

    Those of `first` come first, in that order, which guides and messages list them in; all others follow in alphabetical order.
    """
    return tuple(dict.fromkeys([*first, *sorted(each.name for each in iter_modules(folder))]))

"""The sources of data by their keys, each found by being a file of `sources/`."""

from __future__ import annotations

from importlib import import_module

from dualsweep.trainer.data import sources
from dualsweep.trainer.data.source_spec import SourceSpec


def _found() -> dict[str, SourceSpec]:
    """The `SOURCE` of every module of `sources`, in the order of their names."""
    found: list[SourceSpec] = [import_module(f"{sources.__name__}.{name}").SOURCE for name in sources.NAMES]
    return {source.word: source for source in found}


SOURCES: dict[str, SourceSpec] = _found()

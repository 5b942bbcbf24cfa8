"""The terms: what objective and constraints are expectations of, one file each, found by being here."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from trainer.schema.word import Word


def _found() -> dict[str, Word]:
    """The `TERM` of every module of this package, in the order of their names."""
    modules = [import_module(f"{__name__}.{each.name}") for each in iter_modules(__path__)]
    terms: list[Word] = [module.TERM for module in modules if hasattr(module, "TERM")]
    return {term.word: term for term in terms}


TERMS: dict[str, Word] = _found()

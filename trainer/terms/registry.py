"""The terms by their words, each found by being a file of `shipped/`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from dualsweep.trainer.recipe.term_spec import TermSpec
from dualsweep.trainer.terms import shipped


def _found() -> dict[str, TermSpec]:
    """The `TERM` of every module of `shipped`, in the order of their names."""
    modules = [import_module(f"{shipped.__name__}.{module.name}") for module in iter_modules(shipped.__path__)]
    terms: list[TermSpec] = [module.TERM for module in modules if hasattr(module, "TERM")]
    return {term.word: term for term in terms}


TERMS: dict[str, TermSpec] = _found()

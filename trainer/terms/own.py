"""A term of the user's own, by import path: `term: {call: my_terms:TERM, options: {axis: vertical}}`.

What it is to a recipe is its `TermSpec`, which is imported when the recipe is read. Of a recipe that a run has stored nothing is
imported: there it is known by its source alone, and building it is refused (`dualsweep.trainer.trust`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, PrivateAttr, TypeAdapter, ValidationError, ValidationInfo, model_validator

from dualsweep.trainer.config.diagnostics import Diagnostic, RulesError
from dualsweep.trainer.config.import_path import CannotImportError, import_instance
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.own_part import OwnPart, is_withheld, option_faults
from dualsweep.trainer.recipe.term_spec import Source, TermSpec

if TYPE_CHECKING:
    from dualsweep.trainer.terms.context import TermContext

WORD = "term"


class OwnTerm(OwnPart):
    """A term of the user's own (docs/terms.md)."""

    on: Source = Field("rollout", description="the `source` of its TermSpec, on what it is evaluated", examples=["data"])
    _withheld: bool = PrivateAttr(False)

    @model_validator(mode="after")
    def _is_there(self, info: ValidationInfo) -> Self:
        self._withheld = is_withheld(info)
        if not self._withheld:
            self._check()
        return self

    def _check(self) -> None:
        try:
            spec = import_instance(self.call, TermSpec)
        except CannotImportError as error:
            raise RulesError([error.diagnostic.at(("call",))]) from None
        if spec.source != self.on:
            raise RulesError([Diagnostic(("on",), "must be the term's own source", self.on, f"write on: {spec.source}")])
        try:
            _values(spec).validate_python(self.options)
        except ValidationError as error:
            raise RulesError([*option_faults(error, ("options",))]) from None

    @property
    def named(self) -> tuple[TermSpec, Any]:
        """The term, and the value of its options."""
        if self._withheld:
            return replace(TERM, source=self.on), self
        spec = import_instance(self.call, TermSpec)
        return replace(spec, word=WORD), _values(spec).validate_python(self.options)


@lru_cache(maxsize=32)
def _values(spec: TermSpec) -> TypeAdapter[Any]:
    return TypeAdapter(spec.value)


def _refused(value: OwnTerm, _: TermContext) -> Any:
    raise TrainingError(
        f"code must be named by your own files, or by a checkpoint that you trust, but got {value} in a stored recipe; look at "
        "that module in the working directory, then say --trust"
    )


TERM = TermSpec(
    word=WORD,
    value=OwnTerm,
    source="rollout",
    build=_refused,
    description="your own term, by the import path of its TermSpec (docs/terms.md)",
    example="{call: my_terms:TERM, options: {axis: vertical}}",
)

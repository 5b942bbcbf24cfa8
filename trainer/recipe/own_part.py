"""A part of the user's own, by import path, where a shipped one has a word: `{call: my_rules:RULE, options: {momentum: 0.9}}`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, FiniteFloat, ValidationError, ValidationInfo

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys, RuleError
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.recipe.base import ImportPath, Section

#: The keys of a validation's context that say that a run has stored what is read, and that its code may be run all the same.
STORED, TRUSTED = "stored", "trusted"
Plain = bool | int | FiniteFloat | str | None
Option = Plain | list[Plain]


class OwnPart(Section):
    """A dual rule, an estimator or a term of the user's own."""

    call: ImportPath = Field(description="the import path of the part", examples=["my_rules:RULE"])
    options: dict[str, Option] = Field({}, description="the part's own options", examples=["{momentum: 0.9}"])

    def __str__(self) -> str:
        return self.call


def shipped_word(value: Any) -> Any:
    """What a text that names a part must be: a path stands below `call`.

    Raises:
        RuleError: it is a path.
    """
    if isinstance(value, str) and ":" in value:
        raise RuleError("", "must be a known word, or a mapping of `call`", f"{value!r}", f"write {{call: '{value}'}}")
    return value


def is_stored(info: ValidationInfo) -> bool:
    """Whether a run has stored what is read, so that code that it names may not be of this user."""
    return bool(info.context and info.context.get(STORED))


def is_withheld(info: ValidationInfo) -> bool:
    """Whether code that is named there is not to be imported: a run has stored it, and nobody has said that it is trusted."""
    return is_stored(info) and not (info.context and info.context.get(TRUSTED))


def option_faults(error: ValidationError, keys: Keys) -> Iterator[Diagnostic]:
    """What is wrong with a part's own options, each at its key below `keys`."""
    for mistake in error.errors(include_url=False):
        place = (*keys, *mistake["loc"])
        if mistake["type"] == "missing":
            yield Diagnostic(place, "is required", "nothing", "write it")
        elif mistake["type"] == "extra_forbidden":
            yield Diagnostic(place, "must be an option of the part", f"`{place[-1]}`", "drop it")
        else:
            rule = mistake["msg"].replace("Input should", "must").replace("Value error, ", "")
            yield Diagnostic(place, rule, show(mistake["input"]), "see the part's own description")

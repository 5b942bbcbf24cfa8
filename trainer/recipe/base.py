"""What every section of a recipe is made of: strict, frozen, and the common types of its values."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.config.patterns import IMPORT_PATH, NAME

Name = Annotated[str, Field(pattern=NAME, max_length=60)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
Fraction = Annotated[FiniteFloat, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
ImportPath = Annotated[str, Field(pattern=IMPORT_PATH)]
Text = Annotated[str, Field(min_length=1)]
ClassName = int | str


class Section(BaseModel):
    """Strict: no unknown keys, no silent conversions, frozen once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    def exactly_one(self, *names: str) -> None:
        """Raises ValueError unless exactly one of the named keys is given."""
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) != 1:
            keys = ", ".join(f"`{name}`" for name in names)
            found = " and ".join(f"`{name}`" for name in given) or "none of them"
            raise RuleError("", f"must hold exactly one of {keys}", found, "keep one")

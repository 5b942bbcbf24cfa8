"""What can be wrong with what a user gave us, in one form: `file:line: key: rule, but got what was received; remedy`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.templates import template_hint, unfilled
from dualsweep.trainer.config.wording import one_line, shortened

#: Characters of a key and of what was received that an error quotes.
_MOST_OF_KEY, _MOST_RECEIVED = 120, 600

Key = str | int
Keys = tuple[Key, ...]


def dotted(keys: Sequence[Key]) -> str:
    """`keys` as a user writes them; `file` for none, the whole of it."""
    return ".".join(str(key) for key in keys) or "file"


@dataclass(frozen=True)
class Diagnostic:
    """One mistake of input.

    keys: lead to it from the top of its file, e.g. ("constraints", 0, "data"); none for the whole file. rule: what must hold.
    received: what was found. remedy: what to write instead. file, line: where it was written, once that is known.
    """

    keys: Keys
    rule: str
    received: str
    remedy: str
    file: str = ""
    line: int = 0

    @property
    def key(self) -> str:
        return dotted(self.keys)

    @property
    def sentence(self) -> str:
        """The mistake without its place."""
        return f"{self.rule}, but got {self.received}; {self.remedy}"

    def at(self, keys: Sequence[Key], file: str = "", line: int = 0) -> Self:
        """The diagnostic told at other keys; where a document holds that key, `Document.locate` adds its line."""
        return replace(self, keys=tuple(keys), file=file, line=line)

    def __str__(self) -> str:
        place = unfilled(self.received) if "template" not in self.remedy else ""
        remedy = template_hint(place) if place else self.remedy
        where = f"{self.file}:{self.line}: " if self.file else ""
        # Hidden before they are cut: half of a login is no longer known for one.
        key, received = shortened(masked(self.key), _MOST_OF_KEY), shortened(masked(self.received), _MOST_RECEIVED)
        return one_line(masked(f"{where}{key}: {self.rule}, but got {received}; {remedy}"))


class InputError(Exception):
    """A file, an option or a user's part is wrong; carries every mistake found, so that all are fixed at once."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = list(dict.fromkeys(diagnostics))  # what two checks find is one mistake

    def __str__(self) -> str:
        return "\n".join(str(diagnostic) for diagnostic in self.diagnostics)


class UnplacedError(Exception):
    """One mistake, found by what does not know where a user wrote it; who knows that tells its `diagnostic` there."""

    def __init__(self, rule: str, received: str, remedy: str) -> None:
        super().__init__(rule, received, remedy)  # all of them: so it crosses process borders whole
        self.diagnostic = Diagnostic((), rule, received, remedy)

    def __str__(self) -> str:
        return self.diagnostic.sentence


class RulesError(ValueError):
    """Rules that a value of a section breaks, for validators; pydantic takes it for its own and keeps it.

    The keys of its diagnostics lead on from the section that the validator is of.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = list(dict.fromkeys(diagnostics))  # what two checks find is one mistake

    def __str__(self) -> str:
        return "\n".join(each.sentence for each in self.diagnostics)

    def __reduce__(self) -> tuple[type[RulesError], tuple[list[Diagnostic]]]:
        """So that one rule, too, crosses process borders."""
        return RulesError, (self.diagnostics,)


class RuleError(RulesError):
    """One broken rule. `key`: dotted, from the section that the validator is of; "" for the section itself."""

    def __init__(self, key: str, rule: str, received: object, remedy: str) -> None:
        keys = tuple(int(word) if word.isdecimal() and len(word) < 10 else word for word in key.split(".")) if key else ()
        super().__init__([Diagnostic(keys, f"`{key}` {rule}" if key else rule, str(received), remedy)])

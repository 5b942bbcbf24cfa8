"""What can be wrong with what a user gave us, in one form: `file:line: key: rule, value received, way out`."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config.templates import template_hint, unfilled
from trainer.config.uris import masked


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input file.

    `rule` says what must hold, `received` what was found, `remedy` what to write instead.
    """

    file: str
    line: int
    key: str
    rule: str
    received: str
    remedy: str

    def __str__(self) -> str:
        place = unfilled(self.received) if "template" not in self.remedy else ""
        remedy = template_hint(place) if place else self.remedy
        return masked(f"{self.file}:{self.line}: {self.key}: {self.rule}, but got {self.received}; {remedy}")


class BadInput(Exception):  # noqa: N818  # reads as what it is
    """A file, option or user's part is wrong; carries every problem found, so that all are fixed at once."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class YamlFault(Exception):  # noqa: N818  # as `Problem`, before its file is known
    """A YAML text cannot be read: the `line`, and the parts of a `Problem`."""

    def __init__(self, line: int, rule: str, received: str, remedy: str, key: str = "file") -> None:
        super().__init__(f"line {line}: {rule}, but got {received}; {remedy}")
        self.line, self.rule, self.received, self.remedy, self.key = line, rule, received, remedy, key

    def problem(self, file: str) -> Problem:
        return Problem(file, self.line, self.key, self.rule, self.received, self.remedy)


class TrainingError(Exception):
    """A run cannot go on, for a reason that trying again will not fix (a model's output of another shape, NaN data)."""


class CoordinatorLost(Exception):  # noqa: N818  # the same
    """The coordinator answered from an empty state: its process was replaced. Start again from the checkpoint."""

"""What a user prefers among the points of a front: the key `prefer` of a sweep and the option `--prefer`, checked.

    prefer: {weights: {objective: 1, value/max: 2}}
    prefer: {best: objective, meets: {value/four: {at_most: 0.10}, eval/frechet: {at_most: 20}}}

Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import Field, FiniteFloat, model_validator

from dualsweep.trainer import metric_names
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, RuleError
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.config.yaml_file import Document, validate
from dualsweep.trainer.recipe.base import Section

if TYPE_CHECKING:
    from dualsweep.analysis.preference import Preference

#: MLflow's rule for the names of metrics.
MetricName = Annotated[str, Field(pattern=r"^[\w .:/-]+$", max_length=250)]
OPTION = "--prefer"


class Limit(Section):
    """A bound on a metric: exactly one of the two."""

    at_most: FiniteFloat | None = Field(None, description="the largest value that will do", examples=["0.10"])
    at_least: FiniteFloat | None = Field(None, description="the smallest value that will do", examples=["0.5"])

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            got = "both" if self.at_most is not None else "none of them"
            raise RuleError("", "a limit must hold one of at_most and at_least", got, "write e.g. {at_most: 0.10}")
        return self


class Prefer(Section):
    """Which point of the front to take: the best by weights, or the best of one objective that meets limits."""

    weights: dict[MetricName, Annotated[FiniteFloat, Field(ge=0)]] | None = Field(
        None, min_length=1, description="weights of the sweep's objectives; the least weighted sum is preferred",
        examples=["{objective: 1, value/max: 2}"],
    )  # fmt: skip
    scale: Literal["range", "unit"] | None = Field(
        None,
        description="with `weights`: `range` weighs each objective in parts of its range along the front, `unit` as it is; left "
        "out, range",
        examples=["range"],
    )
    best: MetricName | None = Field(
        None, description="with `meets`: the objective that is to be best; left out, the sweep's first", examples=["objective"]
    )
    meets: dict[MetricName, Limit] | None = Field(
        None, min_length=1, description="limits on metrics, all to be kept", examples=["{value/four: {at_most: 0.10}}"]
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.weights is None) == (self.meets is None):
            got = "both" if self.weights is not None else "none of them"
            raise RuleError("", "it must hold one of weights and meets", got, "write e.g. {weights: {objective: 1}}")
        for key, other in (("scale", "weights"), ("best", "meets")):
            if getattr(self, key) is not None and getattr(self, other) is None:
                raise RuleError(key, f"must stand beside `{other}`", "it without", f"drop it, or write {other}")
        if self.weights is not None and not any(self.weights.values()):
            raise RuleError("weights", "must hold one above 0", "zeros alone", "raise that of what matters")
        return self


def preference_of(prefer: Prefer | None, objectives: Sequence[str]) -> Preference | None:
    """The preference as the review takes it."""
    from dualsweep.analysis.preference import Limit as Kept
    from dualsweep.analysis.preference import Preference

    if prefer is None:
        return None
    if prefer.weights is not None:
        return Preference(dict(prefer.weights), prefer.scale or "range")
    limits = tuple(
        Kept(name, "at_most" if limit.at_most is not None else "at_least", _bound(limit))
        for name, limit in (prefer.meets or {}).items()
    )
    return Preference(best=prefer.best or next(iter(objectives)), meets=limits)


def _bound(limit: Limit) -> float:
    bound = limit.at_most if limit.at_most is not None else limit.at_least
    assert bound is not None  # a check of the schema
    return bound


def check_prefer(document: Document, keys: tuple[str, ...], objectives: Sequence[str], known: Sequence[str]) -> list[Diagnostic]:
    """Weights or a best of what is no objective, and limits on metrics that no run has; `known` are those without `eval/`."""
    written: Any = document.data
    for key in keys:
        written = written.get(key) if isinstance(written, dict) else None
    if not isinstance(written, dict):
        return []
    problems = []
    weights, best, meets = (written.get(key) for key in ("weights", "best", "meets"))
    named: list[tuple[tuple[str, ...], Any]] = (
        [((*keys, "weights", str(name)), name) for name in weights] if isinstance(weights, dict) else []
    )
    if isinstance(best, str):
        named.append(((*keys, "best"), best))
    for place, name in named:
        if str(name) not in objectives:
            problems.append(
                document.diagnostic(place, "must be an objective of the sweep", f"`{name}`", nearest(name, objectives))
            )
    for name in map(str, meets) if isinstance(meets, dict) else ():
        if name not in known and not name.startswith((metric_names.EVALUATION, metric_names.SCALE, metric_names.SYSTEM)):
            remedy = f"{nearest(name, known)}, or a metric of the evaluation, `eval/...`"
            problems.append(
                document.diagnostic((*keys, "meets", name), "must be a metric of the sweep's runs", f"`{name}`", remedy)
            )
    return problems


def read_option(text: str, objectives: Sequence[str], known: Sequence[str]) -> Preference | None:
    """What `--prefer` holds: the key's value in YAML, or `none` to forget the recorded one; `known` are the runs' metrics.

    Raises:
        InputError: with every problem found.
    """
    try:
        plain = yaml_core.read(text)
    except yaml.YAMLError:
        plain = text
    if plain == "none":
        return None
    example = "write e.g. '{weights: {objective: 1, value/max: 2}}' or '{meets: {value/four: {at_most: 0.1}}}', or none"
    if not isinstance(plain, dict):
        raise InputError([Diagnostic((OPTION,), "must be a preference", show(plain), example, "command line", 1)])
    document = Document("command line", plain)
    try:
        prefer = validate(Prefer, document)
    except InputError as error:
        raise InputError([_at_option(each) for each in error.diagnostics]) from None
    problems = check_prefer(Document("command line", {"prefer": plain}), ("prefer",), objectives, known)
    unknown = [name for name in plain.get("meets") or {} if str(name) not in known]
    problems = [each for each in problems if ".meets." not in each.key]
    for name in unknown:
        problems.append(
            Diagnostic(
                (f"meets.{name}",), "must be a metric of the sweep's runs", f"`{name}`", nearest(name, known), "command line", 1
            )
        )
    if problems:
        raise InputError([_at_option(each) for each in problems])
    return preference_of(prefer, objectives)


def _at_option(problem: Diagnostic) -> Diagnostic:
    key = f"{OPTION} {problem.key.removeprefix('prefer.')}".strip()
    return replace(problem, keys=(key,), line=1)

"""The metrics of the samples: shipped ones by name, users' own by import path."""

from __future__ import annotations

import math
import numbers
import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from dualsweep.trainer import metric_names
from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.errors import BadPartError
from dualsweep.trainer.evaluation import shipped
from dualsweep.trainer.evaluation.evidence import Evidence, Metric, NotMeasured
from dualsweep.trainer.memory import ran_out

__all__ = ["LONGEST", "SHIPPED", "Evidence", "Measured", "Metric", "NotMeasured", "check_keys", "measure", "resolve"]

SHIPPED: dict[str, Metric] = {name: getattr(import_module(f"{shipped.__name__}.{name}"), name) for name in shipped.NAMES}
LONGEST = 250  # characters of a metric's name in MLflow


@dataclass(frozen=True)
class Measured:
    """What was measured, `eval/NAME: value`, and for each metric left out a note that says why."""

    values: dict[str, float]
    notes: tuple[str, ...]


def resolve(names: Sequence[str]) -> dict[str, Metric]:
    """The metrics behind their names; call it before training, so that a wrong import path costs nothing.

    Raises:
        ValueError: neither a shipped name nor an import path.
    """
    metrics: dict[str, Metric] = {}
    for name in names:
        if name not in SHIPPED and ":" not in name:
            raise ValueError(
                f"a metric must be one of {sorted(SHIPPED)} or an import path `package.module:function`, but got '{name}'; "
                "name one of these, or write your function's import path"
            )
        metrics[name] = SHIPPED[name] if name in SHIPPED else import_callable(name)
    return metrics


def measure(evidence: Evidence, names: Sequence[str]) -> Measured:
    """Every named metric of the evidence.

    A metric this evidence does not allow is left out with a note, and one with the key of another one, which a dry run tells
    before; so are all of them where samples are not finite.

    Raises:
        BadPartError: a user's metric failed, or returned something other than a dict of names to finite or NaN numbers.
        ValueError: an unknown metric, or too few samples for one.
    """
    broken = int((~evidence.samples.isfinite().flatten(1).all(dim=1)).sum())
    if broken or not len(evidence.samples):
        reason = f"{broken} of {len(evidence.samples)} samples are not finite" if broken else "there are no samples"
        return Measured({}, tuple(f"{name} is left out: {reason}" for name in names))
    values: dict[str, float] = {}
    notes: list[str] = []
    for name, metric in resolve(names).items():
        try:
            result = metric(evidence) if name in SHIPPED else _users(name, metric, evidence)
        except NotMeasured as reason:
            notes.append(f"{name} is left out: {reason}")
            continue
        if twice := sorted(set(result) & {key.removeprefix(metric_names.EVALUATION) for key in values}):
            notes.append(f"{name} is left out: its keys {', '.join(twice)} are another metric's too; rename them in it")
            continue
        values.update({metric_names.EVALUATION + key: value for key, value in result.items()})
    return Measured(values, tuple(notes))


def check_keys(name: str, keys: Collection[str], names: Sequence[str], before: Mapping[str, Collection[str]]) -> None:
    """Checks that the keys of a user's metric are not those of the shipped ones among `names`, nor of the users' before it.

    Raises:
        BadPartError: one is.
    """
    taken = {other: metric_names.MEASURED[other] for other in names if other in metric_names.MEASURED}
    taken |= {other: "|".join(map(re.escape, own)) or "(?!)" for other, own in before.items()}
    for other, pattern in taken.items():
        if same := [key for key in keys if re.fullmatch(pattern, key)]:
            rule = f"the metric {name} must return keys that are not those of {other}"
            raise BadPartError(rule, ", ".join(map(repr, same)), "rename them")


def _users(name: str, metric: Metric, evidence: Evidence) -> dict[str, float]:
    """What a user's metric returns, checked."""
    try:
        result: object = metric(replace(evidence, samples=evidence.samples.clone()))  # which it may change in place
    except NotMeasured:
        raise
    except Exception as error:
        if ran_out(error):
            raise
        raise BadPartError(f"the metric {name} must not fail", f"{type(error).__name__}: {error}", "fix it") from error
    if not isinstance(result, Mapping):
        raise BadPartError(f"the metric {name} must return a dict of floats", f"a {type(result).__name__}", "fix it")
    return {_checked_key(name, key): _checked_value(name, key, value) for key, value in result.items()}


def _checked_key(name: str, key: object) -> str:
    most = LONGEST - len(metric_names.EVALUATION)
    legal = isinstance(key, str) and re.fullmatch(r"[\w\-. /:]+", key) and len(key) <= most
    if (
        not isinstance(key, str)
        or not legal
        or posixpath.normpath(metric_names.EVALUATION + key) != metric_names.EVALUATION + key
    ):
        rule = f"must return keys of letters, digits and `_ - . space / :`, a path without `..`, of at most {most} characters"
        raise BadPartError(f"the metric {name} {rule}", repr(key), "rename it")
    return key


def _checked_value(name: str, key: object, value: object) -> float:
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or math.isinf(value):
        found = repr(value) if isinstance(value, numbers.Real) else f"a {type(value).__name__}"
        raise BadPartError(f"the metric {name} must return finite or NaN numbers", f"{found} for '{key}'", "return a float")
    return float(value)

"""How a metric's error and interval are called: `share/4` has `share_error/4`, `share_low/4` and `share_high/4` beside it."""

from __future__ import annotations

from collections.abc import Container, Mapping

#: Of a standard error, and of the ends of a 95 % interval.
SUFFIXES = ("_error", "_low", "_high")
_HELD = "eval/"


def beside(metric: str, suffix: str) -> str:
    """The metric that tells how sure `metric` is."""
    head = _HELD if metric.startswith(_HELD) else ""
    word, slash, name = metric.removeprefix(_HELD).partition("/")
    return f"{head}{word}{suffix}{slash}{name}"


def tells_of_another(metric: str, names: Container[str]) -> bool:
    """Whether it is the error or an end of the interval of another of `names`."""
    head = _HELD if metric.startswith(_HELD) else ""
    word, slash, name = metric.removeprefix(_HELD).partition("/")
    return any(word.endswith(each) and f"{head}{word.removesuffix(each)}{slash}{name}" in names for each in SUFFIXES)


def sure(metric: str, metrics: Mapping[str, float]) -> str:
    """How sure a metric is, in words to follow it; nothing where nothing tells."""
    error, low, high = (metrics.get(beside(metric, suffix)) for suffix in SUFFIXES)
    if error is not None:
        return f" ± {error:.2g}"
    return f" (95 % interval {low:.4g} to {high:.4g})" if low is not None and high is not None else ""

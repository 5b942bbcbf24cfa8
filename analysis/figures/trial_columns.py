"""What the review page holds of trials, by column: a thousand records of one form say their keys, names and budgets once.

`trialsOf` in `page/common.js` makes records of it again. A list [trials] is one of three things: the key of one of the page's
columns, which has the same numbers; `{"of": values, "at": [trials]}`, each value once and where it stands; or plain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dualsweep.analysis.columns import Column
from dualsweep.analysis.front import Front
from dualsweep.analysis.noise import half_width
from dualsweep.analysis.text import number, setting, verdict
from dualsweep.analysis.trials import ConstraintRecord, Trial

#: Significant digits of a number: one more than are shown, and more where a column's numbers differ in later ones.
_DIGITS, _MOST_DIGITS = 5, 15
_WORDS = ("relation", "stated", "standing")
_NUMBERS = ("value", "budget", "slack", "room", "slack_error", "multiplier", "tolerance")
_Known = Mapping[tuple[float | None, ...], str]
Packed = str | list[Any] | dict[str, list[Any]]


def rounded(values: Sequence[float]) -> list[float | None]:
    """Numbers to the digits that a page of them needs: those shown, and a hundred thousandth of what they span; None for NaN."""
    finite = [value for value in values if math.isfinite(value)]
    span = max(finite) - min(finite) if finite else 0.0
    more = math.ceil(math.log10(max(map(abs, finite)) / span)) if 0 < span < math.inf else _MOST_DIGITS
    digits = min(_DIGITS + max(0, more), _MOST_DIGITS)
    return [_short(float(f"{value:.{digits}g}")) if math.isfinite(value) else None for value in values]


def trial_columns(
    trials: Sequence[Trial], kinds: Sequence[str], front: Front, named: Mapping[str, Sequence[str]], available: Sequence[Column],
    objectives: Sequence[str] = (),
) -> dict[str, object]:  # fmt: skip
    """The trials, with the `kinds` [trials] of their marks and by trial id the words that they are `named`.

    Intervals are of the `objectives`, and of what several trainings tell one of.
    """
    known = {_alike(column.values): column.key for column in available}
    words: dict[str, Callable[[Trial], object]] = {
        "id": lambda trial: trial.trial_id,
        "run": lambda trial: trial.run_id,
        "status": lambda trial: trial.status,
        "reason": lambda trial: trial.reason,
        "doubt": lambda trial: trial.doubt,
        "verdict": verdict,
        "rank": lambda trial: front.ranks[trial.trial_id],
        "continued_from": lambda trial: trial.continued_from,
    }
    outcomes = [{outcome.name: outcome for outcome in trial.constraints} for trial in trials]
    return {
        "own": {key: _packed([of(trial) for trial in trials]) for key, of in words.items()} | {"kind": _packed(list(kinds))},
        "marks": {place: list(named[trial.trial_id]) for place, trial in enumerate(trials) if named.get(trial.trial_id)},
        "params": {name: _settings(name, trials, known) for name in _names(trial.params for trial in trials)},
        "constraints": {name: _outcomes([each.get(name) for each in outcomes], known) for name in _names(outcomes)},
        "intervals": {
            name: _numbers([_coarse(half_width(trial, name)) for trial in trials], known)
            for name in dict.fromkeys([*objectives, *_names(trial.intervals for trial in trials)])
        },
    }


def _coarse(half: float) -> float:
    """Two digits of an error."""
    return float(f"{half:.2g}") if math.isfinite(half) else half


def _names(records: Any) -> list[str]:
    """All keys of the records, in the order in which they come first."""
    return list(dict.fromkeys(name for record in records for name in record))


def _settings(name: str, trials: Sequence[Trial], known: _Known) -> Packed:
    """A parameter as it is shown; the key of its column where the page shows the column's numbers the same."""
    values = [trial.params.get(name) for trial in trials]
    texts = [None if value is None else setting(value) for value in values]
    numbers = [value if isinstance(value, float) else math.nan for value in values]
    key = known.get(_alike(numbers))
    if key is not None and texts == [number(value) for value in numbers] and not any("e" in str(text) for text in texts):
        return key
    return _packed(texts)


def _outcomes(outcomes: Sequence[ConstraintRecord | None], known: _Known) -> dict[str, Packed]:
    """One constraint over the trials; where its `relation` is null the trial has none of that name."""
    told = {field: _packed([getattr(each, field, None) for each in outcomes]) for field in _WORDS}
    return told | {field: _numbers([getattr(each, field, math.nan) for each in outcomes], known) for field in _NUMBERS}


def _numbers(values: Sequence[float], known: _Known) -> Packed:
    return known.get(_alike(values)) or _packed(rounded(values))


def _alike(values: Sequence[float]) -> tuple[float | None, ...]:
    """Numbers as they can be compared, NaN with NaN too."""
    return tuple(value if math.isfinite(value) else None for value in values)


def _packed(values: list[Any]) -> Packed:
    """The values, or each of them once where that is at most half as many."""
    place = {value: at for at, value in enumerate(dict.fromkeys(values))}
    return {"of": list(place), "at": [place[value] for value in values]} if 2 * len(place) <= len(values) else values


def _short(value: float) -> float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value

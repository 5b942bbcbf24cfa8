"""The names of metrics, as results, MLflow and sweeps have them (docs/sweep.md): the one place where they are spelt.

`FAMILY/NAME` is of the constraint or class NAME. Beside `share/4` stand `share_error/4`, `share_low/4` and `share_high/4`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Mapping, Sequence

VALUE, SLACK, MULTIPLIER = "value/", "slack/", "multiplier/"
BUDGET, TOLERANCE, STANDING, RELAXATION = "budget/", "tolerance/", "standing/", "relaxation/"
#: Of a mean over several trainings the half-width of its 95 % interval; of the review's marks.
INTERVAL, MARKS = "interval/", "pareto/"
ON_FRONT, RANK = "pareto/front", "pareto/rank"
#: Of samples, and of held-out data: `eval/value/NAME`. Of rewards' scales. Of the run itself.
EVALUATION, SCALE, SYSTEM = "eval/", "scale/", "system/"
FEASIBLE = "feasible"
#: In MLflow alone: by step what a run's page is to open with. MLflow orders charts by the names of metrics.
COURSE = "course/"
#: What goes before a class's name in the keys of metrics of samples.
OF_CLASS = r"(?:share(?:_error|_low|_high)?|accuracy)"
#: What the keys of the shipped metrics of samples are called, by the metric.
MEASURED = {
    "class_shares": rf"{OF_CLASS}/.*|tv_from_uniform(_low|_high)?|accuracy(_error)?",
    "frechet": r"frechet(_low|_high|_error)?",
    "copying": r"(nearest_distance|copied_share)(_reference)?(_q05)?",
}
#: What those of final values on held-out data are called.
HELD_OUT = r"objective(_error)?|(value|slack|standing|tolerance)(_error)?/.*"
OBJECTIVE, LARGEST_VALUE, LARGEST_VIOLATION = "objective", "value/max", "violation/max"
#: Seconds of the whole run, of the final evaluation alone.
SECONDS = "system/seconds"
#: And of a look at a training that goes on (`monitor`).
LOOK_SECONDS = "system/look_seconds"


def value(name: str) -> str:
    return f"{VALUE}{name}"


def slack(name: str) -> str:
    return f"{SLACK}{name}"


def slack_error(name: str) -> str:
    return beside(slack(name), "_error")


def multiplier(name: str) -> str:
    return f"{MULTIPLIER}{name}"


def multiplier_error(name: str) -> str:
    return beside(multiplier(name), "_error")


def budget(name: str) -> str:
    return f"{BUDGET}{name}"


def relaxation(name: str) -> str:
    return f"{RELAXATION}{name}"


def tolerance(name: str) -> str:
    return f"{TOLERANCE}{name}"


def standing(name: str) -> str:
    return f"{STANDING}{name}"


def judge_error(name: str) -> str:
    """Of a share, the part of its slack's standard error that is due to the judge."""
    return f"judge_error/{name}"


def scale_error(name: str) -> str:
    """Of a normalised reward, the part that is due to its scale."""
    return f"scale_error/{name}"


def samples_error(name: str) -> str:
    """Of a value on a frozen model's samples, the part that is due to their number."""
    return f"samples_error/{name}"


def interval(metric: str) -> str:
    return f"{INTERVAL}{metric}"


def scale(name: str, word: str) -> str:
    """`word` is mean or std."""
    return f"{SCALE}{name}/{word}"


def share(name: str) -> str:
    """Of the samples, the share of a class."""
    return f"share/{name}"


def of_classes(names: Sequence[int | str]) -> list[str]:
    """The class names as metrics of MLflow can hold them; where two would be one, their positions tell them apart."""
    legal = [re.sub(r"[^\w.\- ]", "_", unicodedata.normalize("NFC", str(name))) for name in names]
    # A name that is only dots would be read as a folder above.
    legal = [name if name.strip(". ") else f"class_{position}" for position, name in enumerate(legal)]
    return [name if legal.count(name) == 1 else f"{name}_{position}" for position, name in enumerate(legal)]


def course(metrics: Mapping[str, float]) -> dict[str, float]:
    """The objective, the slacks and the multipliers of a point under one heading, which stands before all others."""
    shown = (OBJECTIVE, SLACK, MULTIPLIER)
    return {f"{COURSE}{name.replace('/', ' ')}": value for name, value in metrics.items() if name.startswith(shown)}


def held_out(metric: str) -> str:
    """The name of a metric's figure on held-out data."""
    return f"{EVALUATION}{metric}"


def validation(name: str) -> str:
    """Of a look at a training that goes on, on held-out data: the `objective`, or its part on a band of timesteps, `band_1`."""
    return f"validation/{name}"


#: Of a standard error, and of the ends of a 95 % interval.
SUFFIXES = ("_error", "_low", "_high")


def beside(metric: str, suffix: str) -> str:
    """The metric that tells how sure `metric` is."""
    head = EVALUATION if metric.startswith(EVALUATION) else ""
    word, slash, name = metric.removeprefix(EVALUATION).partition("/")
    return f"{head}{word}{suffix}{slash}{name}"


def tells_of_another(metric: str, names: Container[str]) -> bool:
    """Whether it is the error or an end of the interval of another of `names`."""
    head = EVALUATION if metric.startswith(EVALUATION) else ""
    word, slash, name = metric.removeprefix(EVALUATION).partition("/")
    return any(word.endswith(each) and f"{head}{word.removesuffix(each)}{slash}{name}" in names for each in SUFFIXES)


def sure(metric: str, metrics: Mapping[str, float]) -> str:
    """How sure a metric is, in words to follow it; nothing where nothing tells."""
    error, low, high = (metrics.get(beside(metric, suffix)) for suffix in SUFFIXES)
    if error is not None:
        return f" ± {error:.2g}"
    return f" (95 % interval {low:.4g} to {high:.4g})" if low is not None and high is not None else ""

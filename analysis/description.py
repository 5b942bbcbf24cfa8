"""The Markdown that stands on the sweep's page in MLflow: what came out, with links to the runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dualsweep.analysis.amortised import sentence
from dualsweep.analysis.front import Front
from dualsweep.analysis.hypervolume import about
from dualsweep.analysis.links import picture_link, run_link
from dualsweep.analysis.prices.shadow import Prices
from dualsweep.analysis.prices.words import shown_range
from dualsweep.analysis.recommendation.recommend import Recommendation
from dualsweep.analysis.text import MANY_CONSTRAINTS, MISSING, chance, number, outcome_parts, ranged, setting, verdict, worst_text
from dualsweep.analysis.trials import SweepRecord, Trial

#: MLflow refuses a tag longer than 8,000 characters; some stores count bytes.
LIMIT = 7000
NO_PRICES = Prices()
#: Bytes of the rows of prices, so that the front's table has room beside them.
_PRICES = 2500
_SPACE = "\u00a0"


def describe(
    record: SweepRecord,
    front: Front,
    *,
    hypervolume: float | None,
    reference_point: tuple[float, ...] | None,
    prices: Prices = NO_PRICES,
    recommendation: Recommendation | None = None,
    charts_link: str = "",
    models: Mapping[str, str] | None = None,
    pictures: Sequence[str] = (),
) -> str:
    """Return the description as Markdown of at most 7,000 bytes; rows that do not fit are counted instead.

    `models` are the addresses of the models of the front's trials, by trial id; `pictures` are artifacts of the sweep's run.
    """
    links = [f"[interactive front]({run_link(record.experiment_id, record.parent_run_id, 'artifacts/front.html')})"]
    if charts_link:
        links.append(f"[Pareto front in MLflow's charts]({charts_link})")
    lines = [escape(front.note), "", " · ".join(links)]
    if hypervolume is not None and reference_point is not None:
        place = zip(record.objectives, reference_point, strict=True)
        where = ", ".join(f"`{_code(name)}` {number(value)}" for name, value in place)
        lines += ["", f"Hypervolume {about(record)}**{number(hypervolume)}** against the reference point {where}."]
    if record.amortised is not None:
        lines += ["", escape(sentence(record))]
    if front.least_violating is not None:
        lines += ["", f"Least violating: {_trial_link(record, front.least_violating)}"]
    lines += ["", " ".join(f"![{name}]({picture_link(record.parent_run_id, name)})" for name in pictures)] if pictures else []
    if recommendation is not None:
        lines += _advice(record, prices, recommendation)
    if front.trials:
        lines += ["", "### The front"]
    if models:
        lines += ["", _how_to_sample(front, models)]
    if front.trials:
        over = " over the trainings of a trial" if record.replicated else ""
        lines += ["", escape(f"± is half of a 95 % interval{over}; of a slack, its standard error.")]
        lines += ["", *_table(record, front, LIMIT - len("\n".join(lines).encode()) - 80)]
    return "\n".join(lines)


def _how_to_sample(front: Front, models: Mapping[str, str]) -> str:
    """By the model of a trial on the front, or else any."""
    addresses = [models[trial.trial_id] for trial in front.trials if trial.trial_id in models] or list(models.values())
    return (
        f"The front's models sample: `mlflow.pyfunc.load_model('{_code(addresses[0])}').predict(table)`, one row with "
        "`num_samples` (and `seed`) for each batch; the run of each trial on the front has its own under `model`."
    )


def _advice(record: SweepRecord, prices: Prices, recommendation: Recommendation) -> list[str]:
    """Which point to take, and what the budgets of the points that are named cost."""
    lines = ["", "### Which point to take", ""]
    roles = [
        f"{', '.join(recommendation.words_of(trial)) or 'nearest'}: {_trial_link(record, trial)}"
        for trial in recommendation.named
    ]
    lines += [" · ".join(roles), ""] if roles else []
    lines += [f"- {_prose(reason)}" for reason in recommendation.reasons]
    shown = [price for trial in recommendation.named for price in prices.of(trial.trial_id)]
    if not shown:
        return lines
    head = ["trial", "budget", "multiplier", "by the values", "in words"]
    lines += ["", "### What budgets cost", "", _line(head), "|---" * len(head) + "|"]
    room = _PRICES
    for price in shown:
        multiplier = number(price.price) + (f" ± {2 * price.error:.2g}" if price.error else "")
        cells = [price.trial_id, price.budget.label, _unbroken([multiplier]), _unbroken([shown_range(price)]), price.sentence]
        row = _line(list(map(_prose, cells)))
        room -= len(row.encode())
        if room < 0:
            break
        lines.append(row)
    troubles = [prices.troubles[trial.trial_id] for trial in recommendation.named if trial.trial_id in prices.troubles]
    return [*lines, "", _prose(" ".join([*troubles, prices.summary()]))]


def escape(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line, also inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return re.sub(r"[\t\n\v\f\r ]+", " ", text)


def _code(text: str) -> str:
    # Inside code nothing is escaped, so the two characters that would end the cell or the code are replaced.
    return _one_line(text).replace("`", "'").replace("|", "¦")


def _prose(text: str) -> str:
    """Return text that Markdown shows as it stands but for names in back quotes, which become code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a back quote that nothing closes
        return escape(text)
    return "".join(escape(part) if place % 2 == 0 else f"`{_code(part)}`" for place, part in enumerate(parts))


def _trial_link(record: SweepRecord, trial: Trial) -> str:
    return f"[{escape(trial.trial_id)}]({run_link(record.experiment_id, trial.run_id)})"


def _table(record: SweepRecord, front: Front, room: int) -> list[str]:
    names = record.constraint_names
    many = len(names) > MANY_CONSTRAINTS
    ends = ["worst slack"] if many else list(names)
    head = ["trial", *(f"`{_code(name)}`" for name in (*record.searched, *record.objectives, *ends))]
    head += ["feasible", *(["P(feasible)"] if record.replicated else [])]
    lines = [_line(head), "|---" * len(head) + "|"]
    room -= len("\n".join(lines).encode())
    for place, trial in enumerate(front.trials):
        row = _row(record, trial, many)
        room -= len(row.encode()) + 1
        if room < 0:
            return [*lines, "", f"… and {len(front.trials) - place} more in `trials.csv`."]
        lines.append(row)
    return lines


def _row(record: SweepRecord, trial: Trial, many: bool) -> str:
    outcomes = {outcome.name: _unbroken(outcome_parts(outcome)) for outcome in trial.constraints}
    ends = [worst_text(trial)] if many else [outcomes.get(name, MISSING) for name in record.constraint_names]
    cells = [
        *(setting(trial.params.get(name, MISSING)) for name in record.searched),
        *(ranged(trial, name) for name in record.objectives),
        *ends,
        verdict(trial),
        *([chance(trial)] if record.replicated else []),
    ]
    return _line([_trial_link(record, trial), *map(escape, cells)])


def _unbroken(parts: Sequence[str]) -> str:
    """Join the parts so that a narrow column breaks between them, not within."""
    return " ".join(part.replace(" ", _SPACE) for part in parts if part)


def _line(cells: Sequence[str]) -> str:
    # MLflow draws tables without any space between columns, and Markdown drops ordinary spaces.
    return "|" + "".join(f" {cell}{_SPACE} |" for cell in cells)

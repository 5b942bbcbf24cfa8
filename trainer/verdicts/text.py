"""Verdicts as people read them: lines for a terminal, Markdown for MLflow, plain data for files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dualsweep.trainer.verdicts.verdict import Verdict

#: Evidence that is told in one line, in this order; a line is left out where the verdict has none of it.
_LINES = (
    ("value", "{value:.4g}, budget {budget:.4g}"),
    (
        "slack",
        "{slack:+.3g} ± {slack_error:.1g} at the end, {training_slack:+.3g} ± {training_slack_error:.1g} in the last fifth",
    ),
    ("held out", "slack {held_out_slack:+.3g} ± {held_out_error:.1g} on {images:.0f} held-out images"),
    ("multiplier", "{multiplier:.3g} over the last fifth, at most {multiplier_peak:.3g} at {points:.0f} points"),
    (
        "autocorrelation",
        "{oscillation_trough:+.2f} half a period on, {oscillation_peak:+.2f} a whole one on, "
        "{oscillation_periods:.1f} periods seen",
    ),
    ("trend", "the slack changes by {closing:+.2g} ± {closing_error:.1g} a step"),
    ("rise", "{linearity:.0%} of the multiplier's variation is a straight line"),
    ("last slack", "{last_slack:+.3g} in training, {points:.0f} points"),
)
COLOURS: dict[str, str] = {
    **dict.fromkeys(("met", "active"), "green"),
    **dict.fromkeys(("inactive", "falling"), "cyan"),
    **dict.fromkeys(("rising", "oscillating", "noisy", "undecided"), "yellow"),
    **dict.fromkeys(("violated", "runaway", "infeasible"), "red"),
    "unknown": "magenta",
}


def evidence_lines(verdict: Verdict) -> list[str]:
    """The evidence in a few lines, each with what it is about; of figures that are not known there is no line."""
    lines = []
    for about, form in _LINES:
        try:
            line = f"{about}: {form.format(**verdict.evidence)}".replace("± nan", "± unknown")
        except KeyError:
            continue
        if "nan" not in line:
            lines.append(line)
    return lines


def markdown(
    title: str, status: str, reason: str, verdicts: Sequence[Verdict], told: Sequence[str] = (), objective: str = ""
) -> str:  # fmt: skip
    """All verdicts of a run as a Markdown page, what else is told of it, as of its shares of classes, last."""
    parts = [f"# {title}", f"{status.replace('_', ' ')}: {reason}", objective]
    for verdict in verdicts:
        parts.append(f"## {verdict.name}: {verdict.word}\n\n{verdict.sentence}")
        if verdict.suggestion:
            parts.append(f"**{verdict.suggestion}**")
        parts.append("\n".join(f"- {line}" for line in evidence_lines(verdict)))
    parts.append("\n".join(f"- {line}" for line in told))
    return "\n\n".join(part for part in parts if part) + "\n"


def to_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Plain data; numbers that are not finite are None, which JSON can say."""
    return [{**each.to_json(), "evidence": {key: _finite(value) for key, value in each.evidence.items()}} for each in verdicts]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

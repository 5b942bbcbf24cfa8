"""What a sweep's folder says of the whole, `review.json`: its front and the trial to take."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualsweep.sweeps.records.folder_kind import REVIEW, is_sweep_folder
from dualsweep.sweeps.records.trial_record import TrialRecord, trial_name
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.result import Result, read_result
from dualsweep.trainer.storage import is_local, local_path, write_file


def keep_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Writes what a review found, over what an earlier one did."""
    write_file(folder / REVIEW, json.dumps({**summary_in(folder), **summary}, indent=2) + "\n")


def summary_in(folder: Path) -> dict[str, Any]:
    """What the last review found; empty where there was none."""
    return read_own(folder / REVIEW, _mapping) or {}


def amortised_in(folder: Path) -> Result | None:
    """How the amortised training of the sweep had ended when it was last reviewed; None without one."""
    return read_own(folder / REVIEW, _amortised)


def _amortised(text: bytes) -> Result | None:
    kept = _mapping(text).get("amortised")
    return None if kept is None else read_result(json.dumps(kept).encode())


def _mapping(text: bytes) -> dict[str, Any]:
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise TypeError(f"a summary must be a mapping, but got {type(plain).__name__}")
    return plain


def recommended_folder(folder: Path, named: str = "") -> Path:
    """The folder of the training that a sweep is known by: of the recommended trial, else of the one that `said_of` tells.

    `named` is how the user names the sweep, where that is not its folder on this machine.

    Raises:
        InputError: the sweep has not been reviewed, or no trial is on its front.
    """
    kept = summary_in(folder)
    records = {each.id: each for each in TrialRecord.load_all(folder)}
    name = next((each for each in _candidates(kept) if each in records), None)
    if name is None:
        why = (kept.get("recommended") or {}).get("knee_reason") or "it has not been reviewed"
        sweep = masked(named.rstrip("/") or str(folder))
        example = shlex.quote(f"{sweep}/trials/{next(iter(records), '0000')}")
        remedy = f"name one trial, {example}, or first: dualsweep front {shlex.quote(sweep)}"
        raise InputError([Diagnostic(("RUN",), "must have a trial to recommend", f"{sweep}: {why}", remedy, "command line", 1)])
    return folder / "trials" / records[name].training


def trial_folder(sweep: Path, trial: str) -> Path:
    """The folder of a trial by its number or name, `7` or `0007`; of one of several trainings that of the first sound one, unless
    its name goes on with another, `0007/seed-1`.

    Raises:
        InputError: the sweep has no such trial that has ended.
    """
    records = {each.id: each for each in TrialRecord.load_all(sweep)}
    named, _, below = trial.partition("/")
    name = trial_name(int(named)) if named.isdecimal() else named
    if name not in records:
        known = ", ".join(list(records)[:8]) or "none"
        rule, remedy = "must be a trial of the sweep that has ended", f"name one of {known}"
        raise InputError([Diagnostic(("--trial",), rule, f"{show(trial)} for {sweep}", remedy, "command line", 1)])
    return sweep / "trials" / (f"{name}/{below}" if below else records[name].training)


def _candidates(kept: Mapping[str, Any]) -> list[str | None]:
    """The recommended trial, the one nearest to what is asked, then those of the front, the first objective's best first."""
    recommended = kept.get("recommended") or {}
    return [recommended.get("trial"), recommended.get("nearest"), *kept.get("front", [])]


def said_of(folder: Path, named: str = "") -> str:
    """Which training of a sweep's folder is meant, and why, in a line; `named` as in `recommended_folder`.

    Raises:
        InputError: as `recommended_folder`.
    """
    place: Path | str = recommended_folder(folder, named)
    if named and not is_local(named):
        place = f"{masked(named.rstrip('/'))}/{Path(place).relative_to(folder)}"
    best, nearest, *_ = [*_candidates(summary_in(folder)), None]
    own = "none is recommended; this one is the first of the front"
    why = "the recommended trial" if best else "none meets what is asked; this one comes nearest" if nearest else own
    return f"{place}: {why}"


def model_of(place: str, named: str = "") -> str:
    """Where the model of a run is: of a sweep's folder the recommended trial's checkpoint; any other place is its own.

    `named` as in `recommended_folder`.

    Raises:
        InputError: no trial is recommended.
    """
    if not is_local(place) or not is_sweep_folder(folder := local_path(place)):
        return place
    trial = recommended_folder(folder, named)
    if trial.is_dir():
        return str(trial)
    record = next(each for each in TrialRecord.load_all(folder) if each.id in trial.parts)
    return record.result.checkpoint or str(trial)  # trials of a sweep whose output is a URI write there

"""The files that MLflow gets of a training, made or brought to this machine when it has ended: `OUTPUT/artifacts/0007/`."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dualsweep.sweeps.records.explained import RECIPE, VERDICTS, Explained, write
from dualsweep.sweeps.tracking.brought import brought
from dualsweep.sweeps.tracking.histories import histories
from dualsweep.trainer.evaluation.draws_file import DRAWS
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import DATA, RESULT, write_file

#: How multipliers and slacks moved. Drawing takes longer than all else at a trial's end: a sweep does so when it is delivered.
TRAJECTORIES = "trajectories.png"
#: What a training writes that is kept with its run in MLflow.
_BROUGHT = ("samples.png", "notes.txt", DRAWS, DATA)
#: And of these, what a trial of several trainings shows of one.
_SHOWN = (RECIPE, "samples.png", TRAJECTORIES, DATA)


def write_artifacts(folder: Path, place: str, explained: Explained) -> list[Path]:
    """Writes into `folder` what became of a training whose own files lie at `place`, without its trajectories; returns them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRAJECTORIES).unlink(missing_ok=True)  # of what it was when it had ended before
    write(explained, folder)
    write_file(folder / RESULT, json.dumps(explained.result.to_json(), indent=2))
    for file in _BROUGHT:
        content = brought(place, file)
        if content is not None:
            write_file(folder / file, content)
    return [each for each in sorted(folder.iterdir()) if each.is_file()]


def draw_trajectories(points: Iterable[MetricPoint], title: str, folder: Path) -> list[Path]:
    """Draws the multipliers and slacks of a training's points into `folder`, where its recipe may lie, which tells the
    equalities; returns the file, or none where there are none.
    """
    from dualsweep.analysis.figures.trajectories import trajectories_png  # matplotlib, for those who draw

    multipliers, slacks = histories(points)
    if not multipliers:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    recipe = read_own(folder / RECIPE, lambda text: Recipe.stored(text.decode()))
    equalities = recipe.equalities if recipe is not None else ()
    return [write_file(folder / TRAJECTORIES, trajectories_png(multipliers, slacks, title=title, equalities=equalities))]


def write_shown(folder: Path, result: Result, seed: int) -> list[Path]:
    """A trial of several trainings shows the files of the one with this seed, where it wrote any, beside its own result."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / RESULT, json.dumps(result.to_json(), indent=2))
    shown = [each for each in sorted((folder / f"seed-{seed}").glob("*")) if each.name in _SHOWN]
    return [folder / RESULT, *(Path(shutil.copy(each, folder)) for each in shown)]


def dataset_of(folder: Path) -> dict[str, Any] | None:
    """What a training was trained on, of its artifacts' folder; None of one without data, or that broke off before its result."""
    return read_own(folder / DATA, _dataset)


def _dataset(text: bytes) -> dict[str, Any]:
    told = json.loads(text)
    return {key: told[key] for key in ("source", "name", "recipe", "examples", "shape", "digest")} | {
        "classes": told.get("classes", {})
    }


def verdicts_of(folder: Path) -> dict[str, str]:
    """The words for each constraint of a trial of several trainings, as tags; the most frequent first where they differ."""
    counts: dict[str, Counter[str]] = {}
    for file in sorted(folder.glob(f"seed-*/{VERDICTS}")):
        for name, word in read_own(file, _words) or ():
            counts.setdefault(name, Counter())[word] += 1
    return {f"dualsweep.verdict.{name}": ", ".join(word for word, _ in words.most_common()) for name, words in counts.items()}


def _words(text: bytes) -> list[tuple[str, str]]:
    return [(str(each["name"]), str(each["word"])) for each in json.loads(text)]

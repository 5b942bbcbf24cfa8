"""Hundreds of bad inputs, each with its message: `corpus.yaml` beside this file.

    python -m tests.bad_inputs.test_corpus

writes the messages of today into it; what then differs is read before it is kept.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.sweeps.here import dualsweep_here

CORPUS = Path(__file__).with_name("corpus.yaml")
RECIPE: dict[str, Any] = {
    "name": "tiny", "formulation": "constrained_training", "model": {"unet": {"channels": [8, 16]}},
    "schedule": {"timesteps": 50}, "data": {"source": "digits"},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.3}], "train": {"steps": 60, "batch_size": 16},
}  # fmt: skip
SWEEP: dict[str, Any] = {
    "name": "budgets", "recipe": "recipe.yaml",
    "search": {"dual.step_size": {"log_uniform": [0.01, 0.1]}, "constraints.four.at_most": {"uniform": [0.1, 0.5]}},
    "trials": 4,
}  # fmt: skip


class Bad(NamedTuple):
    """`given` by `kind`: recipe or sweep, keys in place of the base's (REMOVED: without one); file, a text; option, a `--set`."""

    kind: str
    given: Any
    says: list[str]


def corpus() -> list[Bad]:
    read = yaml.safe_load(CORPUS.read_text(encoding="utf-8"))
    return [Bad(kind, each["given"], each["says"]) for kind, entries in read.items() for each in entries]


def said(bad: Bad, folder: Path) -> list[str]:
    """What `check` answers, by line, without the name of the working directory."""
    options = ["--set", bad.given] if bad.kind == "option" else []
    _write(folder / "recipe.yaml", RECIPE, bad.given if bad.kind == "recipe" else {})
    if bad.kind == "sweep":
        _write(folder / "sweep.yaml", SWEEP, bad.given)
    elif bad.kind == "file":
        (folder / "file.yaml").write_text(bad.given, encoding="utf-8", newline="")
    file = {"sweep": "sweep.yaml", "file": "file.yaml"}.get(bad.kind, "recipe.yaml")
    done = dualsweep_here("check", file, *options, folder=folder)
    assert done.returncode == 2 and not done.stdout, done.stdout + done.stderr
    return done.stderr.replace(str(folder), "HERE").splitlines()


def _write(file: Path, base: dict[str, Any], edit: dict[str, Any]) -> None:
    whole = {**copy.deepcopy(base), **copy.deepcopy(edit)}
    kept = {key: value for key, value in whole.items() if value != "REMOVED"}
    file.write_text(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize("bad", corpus(), ids=lambda bad: f"{bad.kind}-{str(bad.given)[:60]}")
def test_it_is_refused_with_its_message(bad: Bad, tmp_path: Path) -> None:
    assert said(bad, tmp_path) == bad.says


def test_there_are_hundreds_each_once() -> None:
    given = [(bad.kind, repr(bad.given)) for bad in corpus()]
    assert len(given) == len(set(given)) >= 200


def test_every_message_has_a_place_a_rule_what_was_received_and_a_way_out() -> None:
    for bad in corpus():
        for line in bad.says:
            place, got, rest = line.partition(", but got ")
            assert got and ": " in place and "; " in rest, line


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        entries: dict[str, list[dict[str, Any]]] = {}
        for bad in corpus():
            entries.setdefault(bad.kind, []).append({"given": bad.given, "says": said(bad, Path(folder))})
    CORPUS.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000), encoding="utf-8")


if __name__ == "__main__":
    main()

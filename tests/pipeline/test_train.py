"""`dualsweep train` on a real local Ray: JSON, interruption, verdicts, samples. One training serves most."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml

from dualsweep.trainer.checkpoint import CheckpointFolder
from tests.pipeline.conftest import (
    RECIPE,
    assert_nothing_left,
    here,
    interrupt,
    run,
    start,
    wait_for,
    without_time,
    working_directory,
)

pytestmark = pytest.mark.ray

#: Nobody reaches this budget, nor does the multiplier its cap before the run ends.
ARGUMENTS = ["--set", "dual.every=2", "--set", "constraints.four.at_most=0.001"]
ARGUMENTS += ["--set", "evaluation.metrics=[class_shares, 'analysis.metrics:brightness']"]


class Trained(NamedTuple):
    """A working directory with a training in `one` and its JSON file, what the command said, and the JSON."""

    folder: Path
    said: str
    result: dict[str, Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    with working_directory(tmp_path_factory.mktemp("train")) as folder:
        assert "recipe `tiny` is good" in run(folder, "check", "recipe.yaml", *ARGUMENTS)
        said = run(folder, "train", "recipe.yaml", *ARGUMENTS, "--output", "one", "--json", "one.json")
        yield Trained(folder, said, json.loads((folder / "one.json").read_text()))


def points(folder: Path) -> dict[tuple[int, bool], dict[str, float]]:
    """Metrics by step; the final evaluation stands at the last step, beside the last training point."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {(each["step"], each["final"]): each["metrics"] for each in lines}


def test_the_json_file_and_the_output_folder(trained: Trained) -> None:
    folder, said, result = trained
    assert "objective" in said and "output: " in said
    assert {"status", "objective", "constraints", "steps", "seconds", "checkpoint"} <= result.keys()
    assert result["constraints"]["four"].keys() >= {"value", "budget", "slack", "multiplier", "kind"}
    assert result["constraints"]["four"]["slack"] == pytest.approx(0.001 - result["constraints"]["four"]["value"])
    shown = np.load(folder / "one" / "samples.npy").mean()
    assert points(folder / "one")[60, True]["eval/brightness"] == pytest.approx(shown, abs=1e-5)
    assert (folder / "one" / "samples.png").stat().st_size > 500 and (folder / "one" / "trajectories.png").exists()


@pytest.mark.dear  # engine/test_loop.py has the bits, test_broken_off.py the interrupt, and faults/ kills that cost no bit
def test_interrupted_by_ctrl_c_and_continued_is_bit_for_bit_the_uninterrupted_run(trained: Trained) -> None:
    folder = trained.folder
    process = start(folder, "train", "recipe.yaml", *ARGUMENTS, "--output", "parts")
    wait_for(lambda: CheckpointFolder(str(folder / "parts" / "checkpoints")).newest(), process)
    said = interrupt(process)
    assert process.returncode == 130 and "continue" in said, said
    assert not (folder / "parts" / "result.json").exists()
    run(folder, "train", "recipe.yaml", *ARGUMENTS, "--output", "parts", "--json", "parts.json")
    whole, parts = points(folder / "one"), points(folder / "parts")
    assert parts.keys() == whole.keys()
    assert all(without_time(parts[key]) == without_time(whole[key]) for key in whole)
    ends = [CheckpointFolder(str(folder / name / "checkpoints")).latest() for name in ("one", "parts")]
    assert ends[0] and ends[1]
    for group, tensors in ends[0].groups.items():
        assert all(torch.equal(value, ends[1].groups[group][name]) for name, value in tensors.items())


def test_a_finished_run_is_not_run_again_nor_taken_for_another_recipes(trained: Trained) -> None:
    folder = trained.folder
    said = run(folder, "train", "recipe.yaml", *ARGUMENTS, "--output", "one", "--json", "again.json")
    assert json.loads((folder / "again.json").read_text()) == trained.result
    assert "step 10" in trained.said and "step 10" not in said
    run(folder, "train", "recipe.yaml", *ARGUMENTS, "--output", "one", "--strict", code=3)
    said = run(folder, "train", "recipe.yaml", *ARGUMENTS, "--set", "train.steps=40", "--output", "one", code=2)
    assert "another recipe" in said


def test_it_ends_with_verdicts_and_explain_gives_the_same_from_the_folder(trained: Trained) -> None:
    folder, said, result = trained
    four, five = result["verdicts"]
    assert (four["name"], four["word"], five["name"]) == ("four", "rising", "five")
    assert four["sentence"] in said and four["suggestion"] in said and f"slack: {four['evidence']['slack']:+.3g}" in said
    assert json.loads((folder / "one" / "verdicts.json").read_text()) == result["verdicts"]
    assert "## four: rising" in (folder / "one" / "explain.md").read_text()
    again = here(folder, "explain", "one", "--json", "explained.json")
    explained = json.loads((folder / "explained.json").read_text())
    assert all(each.startswith(("`four`: loss ", "`five`: loss ")) and " share 0" in each for each in explained.pop("shares"))
    assert explained == {"status": result["status"], "verdicts": result["verdicts"], "prices": []}
    assert all(line in said for line in again.splitlines())


def test_samples_come_from_the_checkpoint(trained: Trained) -> None:
    folder = trained.folder
    here(folder, "sample", "one", "--count", "5", "--steps", "4", "--output", "five")
    here(folder, "sample", "one", "--count", "3", "--steps", "4", "--sampler", "ddpm", "--output", "three")
    samples = np.load(folder / "five" / "samples.npy")
    assert samples.shape == (5, 1, 8, 8) and np.isfinite(samples).all()
    assert len(list((folder / "five").glob("0*.png"))) == 5 and np.load(folder / "three" / "samples.npy").shape == (3, 1, 8, 8)
    own = np.load(folder / "one" / "samples.npy")
    np.testing.assert_allclose(samples, own[:5], atol=1e-5)  # the same seed and sampler as the run's own evaluation


@pytest.mark.dear  # a trial that fails, in `test_broken_off`, stands for it
def test_it_says_which_of_many_examples_is_bad(trained: Trained) -> None:
    """Too many to be read before the run, which a dry run of some of them would have refused."""
    folder, parts = trained.folder, {"model": {"call": "parts:good"}, "evaluation": {"samples": 0, "loss_draws": 16}}
    indices = {"name": "some", "data": {"indices": [0, 1, 2, 4]}, "at_most": 0.3}
    plain = {**RECIPE, **parts, "data": {"call": "parts:Broken"}, "constraints": [indices]}
    (folder / "nan.yaml").write_text(yaml.safe_dump(plain))
    told = here(folder, "train", "nan.yaml", "--output", "nan", code=2)
    assert "nan.yaml:" in told and "data.call: must hold finite numbers" in told and not (folder / "nan").exists()
    said = run(folder, "train", "nan.yaml", "--no-dry-run", "--output", "nan", "--json", "nan.json", code=1)
    assert_nothing_left(folder)
    failed = json.loads((folder / "nan.json").read_text())
    assert (failed["status"], failed["objective"], failed["checkpoint"]) == ("failed", None, None)
    assert f"dualsweep: failed: {failed['reason']}" in said and "Traceback" not in said
    found = re.search(r"data\.call: .* finite.* nan .*item (\d+) of parts:Broken|item (\d+) of parts:Broken", failed["reason"])
    assert found is not None and int(next(filter(None, found.groups()))) % 7 == 3, failed["reason"]
    assert not (folder / "nan" / "result.json").exists(), "the same command with a mended part must run"

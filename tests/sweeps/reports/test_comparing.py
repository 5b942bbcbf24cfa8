"""`dualsweep compare` as it is typed: files, exit codes, and what is said of bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mlflow import MlflowClient

from tests.analysis.made_up import log_parent, log_trial, made_up_trials, new_store
from tests.sweeps.here import dualsweep_here
from tests.sweeps.test_cli import dualsweep


def test_two_sweeps_are_compared_from_their_store_alone(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    client, runs = MlflowClient(uri), []
    for sampler, count in (("tpe", 3), ("gp", 2)):
        runs.append(log_parent(uri, experiment))
        client.log_param(runs[-1], "sampler.name", sampler)
        for trial in made_up_trials(count):
            run = log_trial(uri, experiment, runs[-1], replace(trial, status="converged"))
            client.log_param(run, "train.batch_size", 8)
    done = dualsweep("compare", *runs, "--output", "out", "--json", "here.json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.html", "compare.png", "compare.md", "compare.json"}
    made = json.loads((tmp_path / "here.json").read_text())
    assert made == json.loads((tmp_path / "out/compare.json").read_text())
    assert [(group["label"], group["sweeps"][0]["costs"]["samples"]) for group in made["groups"]] == [
        ("tpe", [12000.0, 24000.0, 36000.0]), ("gp", [12000.0, 24000.0]),
    ]  # fmt: skip
    assert "since they name none" in done.stdout.replace("\n", " ")

    for arguments, said in (
        ((runs[0], "digits-minorit"), "digits-minority"),
        ((runs[0],), "at least two sweeps, but got 1"),
        ((*runs, "--group", "seed"), "must be auto, sampler or sweep, but got 'seed'"),
    ):
        refused = dualsweep_here("compare", *arguments, "--output", "none", folder=tmp_path)
        assert refused.returncode == 2 and said in refused.stderr and not (tmp_path / "none").exists()

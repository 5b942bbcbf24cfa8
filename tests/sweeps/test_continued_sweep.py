"""A whole continued sweep through the runner, trained in this process, with a kill in its midst; MLflow has the lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.records.trial_record import TrialRecord
from tests.stores import empty_store
from tests.sweeps.in_process import RECIPE, Killed, sweep


def test_a_continued_sweep_that_was_killed(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plain: dict[str, Any] = {
        "name": "s", "recipe": RECIPE, "search": {"constraints.four.at_most": {"uniform": [0.3, 0.6]}}, "trials": 3,
        "continuation": {"steps": 10}, "sampler": "random", "mlflow": {"tracking_uri": empty_store(tmp_path)},
    }  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(Killed):
        sweep(tmp_path, kill_at=2)
    kept = TrialRecord.load_all(tmp_path / "out")
    assert [each.continued_from for each in kept] == [None, "0000"]
    assert [each.result.steps for each in kept] == [20, 10]
    [start] = sweep(tmp_path)  # the third alone
    records = TrialRecord.load_all(tmp_path / "out")
    neighbour = records[2].continued_from
    assert neighbour in ("0000", "0001") and start == records[int(neighbour)].result.checkpoint
    lineage = {each.trial_id: each.continued_from for each in read_sweep(plain["mlflow"]["tracking_uri"], "s").trials}
    assert lineage == {"0000": None, "0001": "0000", "0002": neighbour}
    verdicts = json.loads((tmp_path / "out" / "artifacts" / "0002" / "result.json").read_text())
    assert verdicts["steps"] == 10 and verdicts["constraints"]["four"]["multiplier"] >= 0

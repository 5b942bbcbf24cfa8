"""Tags that are longer than MLflow takes: written in parts and read back whole, from a real SQLite store too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import RunTag

from dualsweep.analysis.bounds import bounds_in, bounds_tag
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.long_tags import LONGEST, in_parts, joined
from tests.analysis.made_up import new_store


def of_length(length: int) -> str:
    return json.dumps("x" * (length - 2))


@pytest.mark.parametrize("length", [2, LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST, 2 * LONGEST + 1, 100_000])
def test_what_is_written_in_parts_is_read_whole(length: int) -> None:
    tags = {"dualsweep.budgets": of_length(length), "dualsweep.status": "done"}
    written = in_parts(tags)
    assert max(map(len, written.values())) <= LONGEST and (len(written) == 2) == (length <= LONGEST)
    read = joined(written)
    assert {name: read[name] for name in tags} == tags


def test_a_shorter_one_after_a_longer_one_leaves_nothing_of_it(tmp_path: Path) -> None:
    """In a store, which keeps the parts that are no longer written."""
    uri, experiment = new_store(tmp_path)
    client = MlflowClient(uri)
    run = client.create_run(experiment).info.run_id
    for length in (30_000, 12_000, 100, 20_000):
        text = of_length(length)
        client.log_batch(run, tags=[RunTag(*each) for each in in_parts({"dualsweep.params": text}).items()])
        assert joined(client.get_run(run).data.tags)["dualsweep.params"] == text


def test_words_are_left_to_be_cut_and_lost_parts_are_told_by_the_reader() -> None:
    assert in_parts({"dualsweep.reason": "x" * 9000}) == {"dualsweep.reason": "x" * 9000}
    written = in_parts(bounds_tag({f"budget/c{number}": number / 7 for number in range(600)}))
    assert written["dualsweep.bounds"] == f"in {len(written) - 1} parts"
    assert len(bounds_in(joined(written), "r")) == 600
    del written["dualsweep.bounds.2"]
    with pytest.raises(ReviewError, match=r"must be a JSON object of constraints and their budgets, but got 'in \d parts'"):
        bounds_in(joined(written), "r")

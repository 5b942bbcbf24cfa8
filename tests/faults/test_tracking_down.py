"""MLflow can't be reached during a whole sweep: training doesn't notice, and nothing is lost once it is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from dualsweep.analysis.server import ui
from tests.cluster.live.conftest import free_ports
from tests.pipeline.conftest import assert_nothing_left, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_a_sweep_without_mlflow_ends_with_its_front_and_the_same_command_delivers_it(folder: Path) -> None:
    [port] = free_ports(1)
    plain = yaml.safe_load((folder / "sweep.yaml").read_text())
    plain |= {"trials": 1, "mlflow": {"tracking_uri": f"http://127.0.0.1:{port}"}}
    plain["search"]["constraints.*.at_most"] = {"uniform": [5.0, 6.0]}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
    said = run(folder, "sweep", "sweep.yaml", "--json", "r.json")
    assert_nothing_left(folder)
    assert said.count("cannot be written to") == 1 and said.count("were not delivered to MLflow") == 1, said
    first = json.loads((folder / "r.json").read_text())
    assert first["front"] == ["0000"] and first["hypervolume"] is not None
    assert (folder / "runs" / "tiny-sweep" / "front.html").stat().st_size > 1000 and "front.html" in said

    with ui(f"sqlite:///{folder}/server.db", artifacts_destination=str(folder / "artifacts"), port=port):
        said = run(folder, "sweep", "sweep.yaml", "--json", "again.json")
        assert "starts" not in said and "not delivered" not in said and "cannot be written" not in said
        assert json.loads((folder / "again.json").read_text()) == first
        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("tiny-sweep")
        assert experiment is not None
        runs = {each.data.tags["dualsweep.kind"]: each for each in client.search_runs([experiment.experiment_id])}
        assert {kind: each.info.status for kind, each in runs.items()} == {"sweep": "FINISHED", "trial": "FINISHED"}
        trial = runs["trial"].info.run_id
        assert [each.step for each in client.get_metric_history(trial, "objective")] == [*range(5, 61, 5), 60]
        reviewed = {"pareto/front": 1.0, "pareto/rank": 1.0}
        assert runs["trial"].data.metrics == pytest.approx(first["trials"][0]["metrics"] | reviewed)
        assert runs["trial"].data.tags["dualsweep.front"] == "true"
        wanted = {"trial": {"recipe.yaml", "samples.png", "trajectories.png", "result.json"}}
        wanted |= {"sweep": {"front.html", "front.png", "trials.csv"}}
        for kind, names in wanted.items():
            assert names <= {each.path for each in client.list_artifacts(runs[kind].info.run_id)}, kind

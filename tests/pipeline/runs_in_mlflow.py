"""What the tests of sweeps ask of the runs that a sweep has left in MLflow."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import Run

CURVES = {"objective", "lagrangian", "value/max", "violation/max", "feasible"}
CURVES |= {f"{kind}/{name}" for kind in ("value", "slack", "multiplier") for name in ("four", "five")}
#: The charts that a run's page opens with.
COURSE = {"course/objective", *(f"course/{kind} {name}" for kind in ("slack", "multiplier") for name in ("four", "five"))}


def runs_of(store: str, experiment: str = "tiny-sweep") -> tuple[MlflowClient, Run, dict[str, Run]]:
    """The sweep's one parent run, and its children by trial id."""
    client = MlflowClient(store)
    known = client.get_experiment_by_name(experiment)
    assert known is not None
    runs = client.search_runs([known.experiment_id])
    [parent] = [each for each in runs if each.data.tags["dualsweep.kind"] == "sweep"]
    children = {each.data.tags["dualsweep.trial"]: each for each in runs if each.data.tags["dualsweep.kind"] == "trial"}
    assert all(each.data.tags["mlflow.parentRunId"] == parent.info.run_id for each in children.values())
    below = [each for each in runs if each.data.tags["dualsweep.kind"] == "replicate"]
    for each in below:
        assert each.data.tags["mlflow.parentRunId"] == children[each.data.tags["dualsweep.trial"]].info.run_id
        children[f"{each.data.tags['dualsweep.trial']}/seed-{each.data.tags['dualsweep.seed']}"] = each
    assert len(runs) == 1 + len(children), "a run that is there twice"
    return client, parent, children


def artifacts(client: MlflowClient, run: Run) -> set[str]:
    return {each.path for each in client.list_artifacts(run.info.run_id)}


def steps(client: MlflowClient, run: Run, metric: str) -> list[int]:
    return [each.step for each in client.get_metric_history(run.info.run_id, metric)]


def curves(client: MlflowClient, run: Run) -> dict[str, list[int]]:
    """At which steps each metric that every training has stands in a run."""
    return {metric: steps(client, run, metric) for metric in (CURVES - {"feasible"}) | {"eval/frechet"}}


def assert_whole_curve(curve: dict[str, list[int]], last: int = 60) -> None:
    """A point every 5 steps, none of them twice, and the final evaluation on the last step."""
    whole = {metric: [*range(5, last + 1, 5), last] for metric in curve}
    assert curve == {**whole, "eval/frechet": [last]}

"""Addresses inside the MLflow UI, relative to where it is served."""

from __future__ import annotations

#: A page that is opened afresh shows MLflow's menus for chat models, unless its address says what it is.
MODE = "workflowType=machine_learning"


def run_link(experiment_id: str, run_id: str, tab: str = "") -> str:
    """A run's page, or one of its tabs: `artifacts/front.html`, say."""
    return f"#/experiments/{experiment_id}/runs/{run_id}{f'/{tab}' if tab else ''}?{MODE}"


def view_link(experiment_id: str, key: str) -> str:
    """A saved view of an experiment's runs, as charts."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}&compareRunsMode=CHART&{MODE}"


def picture_link(run_id: str, artifact: str) -> str:
    """An artifact itself, as an image in Markdown names it."""
    return f"get-artifact?path={artifact}&run_uuid={run_id}"

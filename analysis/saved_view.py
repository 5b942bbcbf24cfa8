"""A saved view of the sweep's experiment in MLflow's own charts, where a plain click opens a run.

MLflow keeps a view as an experiment tag holding the compressed state of its page; the format is internal to
MLflow's UI (as of 3.17) and a version that does not know it shows its ordinary page instead.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
import zlib
from typing import TYPE_CHECKING

from analysis.links import view_link
from analysis.trials import SweepRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "mlflow.sharedViewState."
#: Without this tag a fresh MLflow opens the experiment in its GenAI mode, which has no charts of runs.
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
_KEY_LENGTH = 16
_SECTION = "dualsweep"
_SCATTERS_SHOWN = 4


def save_view(client: MlflowClient, record: SweepRecord) -> str:
    """Save the view of a sweep in its experiment, if it is not there yet, and return its link in the UI."""
    key = record.parent_run_id[:_KEY_LENGTH]
    tags = client.get_experiment(record.experiment_id).tags
    if _KIND_TAG not in tags:
        client.set_experiment_tag(record.experiment_id, _KIND_TAG, _KIND)
    state = _packed(_page_state(record, _searched_params(client, record)))
    known = json.loads(tags.get(_TAG + key, "{}"))
    if known.get("state") != state:
        now = int(time.time() * 1000)
        view = {
            "name": f"dualsweep {record.experiment_name} {key[:6]}",
            "createdAt": known.get("createdAt", now),
            "updatedAt": now,
            "state": state,
        }
        client.set_experiment_tag(record.experiment_id, _TAG + key, json.dumps(view))
    return view_link(record.experiment_id, key)


def _packed(state: dict[str, object]) -> str:
    text = json.dumps(state, separators=(",", ":"), sort_keys=True)
    return "deflate;" + base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _searched_params(client: MlflowClient, record: SweepRecord) -> list[str]:
    """Return the searched parameters that MLflow can put on an axis: those a trial logged by that name."""
    if not record.trials:
        return []
    logged = client.get_run(record.trials[0].run_id).data.params
    return [name for name in record.searched if name in logged]


def _page_state(record: SweepRecord, params: list[str]) -> dict[str, object]:
    first, direction = next(iter(record.objectives.items()))
    # One diverged trial would stretch the axes until the rest is a dot.
    shown = f"tags.`mlflow.parentRunId` = '{record.parent_run_id}' AND tags.`dualsweep.status` != 'diverged'"
    return {
        "searchFilter": shown,
        "orderByKey": f"metrics.`{first}`",
        "orderByAsc": direction == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            "tags.`dualsweep.status`",
            "tags.`dualsweep.front`",
            *(f"metrics.`{name}`" for name in (*record.objectives, "feasible")),
            *(f"params.`{name}`" for name in params),
        ],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {},
        "compareRunSections": [_section()],
        "compareRunCharts": _charts(record, params),
    }


def _section() -> dict[str, object]:
    return {
        "uuid": _SECTION,
        "name": "Trade-offs",
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 480,
    }


def _charts(record: SweepRecord, params: list[str]) -> list[dict[str, object]]:
    objectives, names = list(record.objectives), record.constraint_names
    pairs = list(itertools.combinations(objectives, 2))[:_SCATTERS_SHOWN]
    if not pairs and names:
        pairs = [(objectives[0], "violation/max")]
    charts: list[dict[str, object]] = [{"type": "SCATTER", "xaxis": _metric(x), "yaxis": _metric(y)} for x, y in pairs]
    if names:
        # The multiplier is the slope of the front in the budget: shown as colour over the trade-off.
        charts.append(
            {
                "type": "CONTOUR",
                "xaxis": _metric(f"value/{names[0]}"),
                "yaxis": _metric(objectives[0]),
                "zaxis": _metric(f"multiplier/{names[0]}"),
            }
        )
    metrics = [*objectives, *(f"slack/{name}" for name in names[:4])]
    charts.append({"type": "PARALLEL", "selectedParams": params, "selectedMetrics": metrics, "showAllRuns": True})
    common = {"runsCountToCompare": 100, "metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    return [{"uuid": f"{_SECTION}-{place}", **common, **chart} for place, chart in enumerate(charts)]


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}

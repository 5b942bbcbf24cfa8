"""`dualsweep explain`: the verdicts of a run that has ended, from its folder, a sweep's folder, or MLflow alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dualsweep.sweeps.journal import EVENTS
from dualsweep.sweeps.records.explained import RECIPE, Explained, Points
from dualsweep.sweeps.records.folder_kind import has_trained, is_sweep_folder
from dualsweep.sweeps.records.sweep_summary import recommended_folder
from dualsweep.sweeps.reports.beside_trials import Wanted, beside_folder, beside_mlflow
from dualsweep.sweeps.reports.named_numbers import named_numbers, refused
from dualsweep.sweeps.tracking.metrics_file import read_points
from dualsweep.sweeps.tracking.spool import FOLDER, points_in
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import read_result
from dualsweep.trainer.storage import RESULT
from dualsweep.trainer.verdicts.class_share import class_shares_of
from dualsweep.trainer.verdicts.text import COLOURS, evidence_lines

if TYPE_CHECKING:
    from mlflow import MlflowClient

_RUN_ID_LENGTH = 32
_KINDS = ("trial", "replicate", "training")


def explain_run(run: str, tracking_uri: str | None, wanted: Wanted = MappingProxyType({})) -> Explained:
    """The verdicts of `run`: an output folder, a trial's folder in a sweep's, or the id of a trial's run in MLflow.

    Of a sweep's folder the recommended trial is meant. `wanted` are shares of the samples by constraint, for which a sweep's
    trials tell budgets; 1/K for each class of K where left out.

    Raises:
        InputError: it is none of these, or has not ended.
        ReviewError: there is no such MLflow store.
    """
    folder = Path(run).absolute()
    trials = next((each for each in folder.parents[:2] if each.name == "trials"), folder)
    below, sweep = folder.relative_to(trials), trials.parent
    spool = sweep / FOLDER / f"{'-'.join(below.parts)}.jsonl"  # 0007, or 0007-seed-1 of 0007/seed-1
    if trials != folder and spool.exists():
        if several := sorted(each.name for each in folder.glob("seed-*")):
            raise _refused(run, f"name one of its trainings: {run.rstrip('/')}/{several[0]}")
        explained = _explained(run, sweep / "artifacts" / below, f"{sweep.name} {' '.join(below.parts)}", points_in(spool))
        if len(below.parts) > 1:  # one training of several: budgets are priced by their means
            return explained
        return beside_folder(explained, sweep, below.name, wanted)
    if is_sweep_folder(folder):
        return explain_run(str(recommended_folder(folder)), tracking_uri, wanted)
    if folder.is_dir():
        return _explained(run, folder, folder.name, read_points(folder))
    if len(run) == _RUN_ID_LENGTH and set(run) <= set("0123456789abcdef"):
        return _from_mlflow(run, tracking_uri, wanted)
    raise _refused(run, "name a folder that `dualsweep train` wrote, SWEEP/trials/0000 of a sweep's, or a run id of 32 digits")


def _explained(run: str, folder: Path, title: str, points: Points) -> Explained:
    if not ((folder / RESULT).exists() and (folder / RECIPE).exists()):
        raise _refused(run, _way_out(run, folder))
    result = read_own(folder / RESULT, read_result)
    recipe = read_own(folder / RECIPE, lambda text: Recipe.stored(text.decode()))
    if result is None or recipe is None:
        raise _refused(run, "the same command again makes a damaged file anew; or take another run")
    return Explained.of(title, points, result, recipe)


def _way_out(run: str, folder: Path) -> str:
    """What to name or do in place of a folder without a result."""
    place = run.rstrip("/")
    if not folder.is_dir():  # a trial's, of which nothing is there before its end
        return "end it with the same command first"
    if trials := sorted((folder / "artifacts").glob("*")):
        return f"name one trial: {place}/trials/{trials[0].name}"
    if (folder / EVENTS).exists() or has_trained(folder):
        return "end it with the same command first"
    runs = sorted(each.name for each in folder.iterdir() if (each / RESULT).exists() or is_sweep_folder(each))
    return (
        f"name one of the runs in it, e.g. {place}/{runs[0]}"
        if runs
        else "name a run's output; one that has not ended is ended by the same command"
    )


def _from_mlflow(run_id: str, tracking_uri: str | None, wanted: Wanted) -> Explained:
    from dualsweep.analysis.store import open_client
    from dualsweep.sweeps.reports.place import store_of

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # read when MLflow is imported
    uri = store_of(tracking_uri)
    client = open_client(uri)
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException:
        raise _refused(run_id, f"{uri} has no such run; name its store with --tracking-uri") from None
    if "dualsweep.replicates" in run.data.tags:
        raise _refused(run_id, "name one of its trainings' runs, which are below it")
    with tempfile.TemporaryDirectory() as folder:
        if run.data.tags.get("dualsweep.kind") not in _KINDS or not _download(client, run_id, folder):
            raise _refused(run_id, "name the run of a trial that has ended, not that of a sweep")
        explained = _explained(
            run_id, Path(folder), str(run.info.run_name), _logged_points(client, run_id, list(run.data.metrics))
        )
    tags = run.data.tags
    if tags["dualsweep.kind"] != "trial" or not {"mlflow.parentRunId", "dualsweep.trial"} <= set(tags):
        return explained
    return beside_mlflow(explained, uri, tags["mlflow.parentRunId"], tags["dualsweep.trial"], wanted)


def _download(client: MlflowClient, run_id: str, folder: str) -> bool:
    """Brings the result and the recipe of a run into a folder; says whether they are there.

    Raises:
        InputError: the store of artifacts is out of reach.
    """
    from dualsweep.analysis.store import bring

    try:
        return bring(client, run_id, (RESULT, RECIPE), folder)
    except Exception as error:  # every store has an error of its own
        remedy = f"its result and recipe, MLflow's artifacts, are out of reach from here ({masked(first_line(error))})"
        raise _refused(run_id, f"{remedy}; or name the training's folder") from None


def _logged_points(client: MlflowClient, run_id: str, metrics: Sequence[str]) -> Points:
    """The points as they were logged: the metrics of one point have its step and its time, which no other point has."""
    points: dict[tuple[int, int], dict[str, float]] = {}
    for name in metrics:
        if name.startswith(metric_names.COURSE):
            continue
        for each in client.get_metric_history(run_id, name):
            points.setdefault((each.step, each.timestamp), {})[name] = each.value
    return [MetricPoint.from_json({"step": step, "metrics": points[step, time]}) for step, time in sorted(points)]


def wanted_shares(option: str, text: str | None, run: str, explained: Explained) -> dict[str, float]:
    """What `--share NAME=VALUE,…` asks for.

    Raises:
        InputError: it is not of that form, no share, or of no constraint whose classes' share was measured.
    """
    if text is None:
        return {}
    wanted = named_numbers(option, text)
    names = [each.name for each in class_shares_of(explained.recipe, explained.result)]
    for name, share in wanted.items():
        if name not in names:
            rule = f"must be of constraints on the loss of classes whose share was measured ({', '.join(names) or 'none'})"
            raise refused(option, rule, f"{name} of {run}", "name one, or measure shares with evaluation.metrics: [class_shares]")
        if not 0.0 < share < 1.0:
            raise refused(option, "must be between 0 and 1", f"{share:g} for {name}", "write 0.1 for a tenth of the samples")
    return wanted


def _refused(run: str, remedy: str) -> InputError:
    return InputError([Diagnostic(("RUN",), "must be a training that has ended", repr(run), remedy, "command line", 1)])


def show(explained: Explained, console: Console) -> None:
    """Prints how the run ended, and a line for each constraint with its suggestion and evidence beneath."""
    result = explained.result
    console.print(f"{result.status.replace('_', ' ')}: {result.reason}", highlight=False, markup=False)
    if explained.objective:
        console.print(explained.objective, highlight=False, markup=False)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for verdict in explained.verdicts:
        table.add_row(
            Text(f"  {verdict.name}", "bold"), Text(verdict.word, f"bold {COLOURS[verdict.word]}"), Text(verdict.sentence)
        )
        if verdict.suggestion:
            table.add_row("", "", Text(f"→ {verdict.suggestion}", "bold"))
        for line in evidence_lines(verdict):
            table.add_row("", "", Text(line, "dim"))
    if explained.verdicts:
        console.print(table)
    for line in (*explained.shares, *explained.goals, *explained.prices):
        console.print(line, highlight=False, markup=False, soft_wrap=True)

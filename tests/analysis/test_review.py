"""The review's files, the table, and publication into a real MLflow store."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
import zlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image
from sqlalchemy import create_engine, text

from dualsweep.analysis.description import LIMIT, describe, escape
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.front import find_front
from dualsweep.analysis.preference import Limit, Preference
from dualsweep.analysis.prices.shadow import shadow_prices
from dualsweep.analysis.publish import publish
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.recommendation.recommend import recommend
from dualsweep.analysis.review import review
from dualsweep.analysis.thumbnails import _picture, thumbnails
from dualsweep.analysis.trials import SweepRecord
from tests.analysis.made_up import HOSTILE, front_text, log_parent, log_trial, made_up_sweep, made_up_trials, new_store
from tests.analysis.page import text_in


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    folder = tmp_path_factory.mktemp("published")
    uri, experiment = new_store(folder)
    parent = log_parent(uri, experiment)
    for trial in made_up_trials(14):
        log_trial(uri, experiment, parent, trial)
    record = read_sweep(uri, parent)
    publish(uri, record, review(record, folder / "out"))
    yield uri, parent, folder


def test_publishes_tags_and_metrics_of_every_trial(published: tuple[str, str, Path]) -> None:
    uri, parent, _ = published
    client, record = MlflowClient(uri), read_sweep(uri, parent)
    front = find_front(record)
    assert front.trials and all(
        trial.marked["front"] == ("true" if trial.trial_id in front.ids else "false") for trial in record.trials
    )
    for trial in record.trials:
        data = client.get_run(trial.run_id).data
        rank = front.ranks[trial.trial_id]
        assert data.tags["dualsweep.rank"] == ("none" if rank is None else str(rank))
        assert data.tags["dualsweep.feasible"] == (trial.standing or "unknown")
        assert data.metrics["pareto/front"] == float(trial.trial_id in front.ids)
        assert data.metrics.get("pareto/rank") == rank
        assert trial.steps == (1500 if trial.metrics else None)  # what the review logs is not the training's


def test_publishes_metrics_artifacts_and_a_description_of_the_sweep(published: tuple[str, str, Path]) -> None:
    uri, parent, _ = published
    client, record = MlflowClient(uri), read_sweep(uri, parent)
    front, run = find_front(record), client.get_run(parent)
    assert run.data.metrics["front/size"] == len(front.trials) and run.data.metrics["hypervolume"] > 0
    assert {file.path for file in client.list_artifacts(parent)} == {"front.html", "front.png", "trials.csv"}
    description = run.data.tags["mlflow.note.content"]
    for trial in front.trials:
        assert (
            f"[{trial.trial_id}](#/experiments/{record.experiment_id}/runs/{trial.run_id}?workflowType=machine_learning)"
            in description
        )


def test_publishing_twice_changes_nothing(published: tuple[str, str, Path]) -> None:
    uri, parent, folder = published
    client, record = MlflowClient(uri), read_sweep(uri, parent)
    before = client.get_run(parent).data, client.get_experiment(record.experiment_id).tags
    made = review(record, folder / "out")
    files = [path.read_bytes() for path in (made.front_html, made.front_png, made.trials_csv)]
    publish(uri, record, made)
    again = review(read_sweep(uri, parent), folder / "out")
    assert [path.read_bytes() for path in (again.front_html, again.front_png, again.trials_csv)] == files
    after = client.get_run(parent).data, client.get_experiment(record.experiment_id).tags
    assert (before[0].tags, before[0].metrics, before[1]) == (after[0].tags, after[0].metrics, after[1])
    assert len(client.get_metric_history(parent, "hypervolume")) == 1
    assert len(client.list_artifacts(parent)) == 3


def test_a_trial_that_leaves_the_front_loses_its_tag(published: tuple[str, str, Path], tmp_path: Path) -> None:
    uri, _ = new_store(tmp_path)
    parent = log_parent(uri, "1")
    trials = made_up_trials(2)
    log_trial(uri, "1", parent, trials[0])
    record = read_sweep(uri, parent)
    publish(uri, record, review(record, tmp_path / "out"))
    best = replace(trials[0], trial_id="0001", metrics=dict(trials[0].metrics) | {"objective": 0.0, "value/max": 0.0})
    log_trial(uri, "1", parent, best)
    record = read_sweep(uri, parent)
    publish(uri, record, review(record, tmp_path / "out"))
    assert [trial.marked["front"] for trial in read_sweep(uri, parent).trials] == ["false", "true"]
    assert MlflowClient(uri).get_run(parent).data.metrics["front/size"] == 1


def test_the_saved_view_is_what_mlflow_unpacks(published: tuple[str, str, Path]) -> None:
    uri, parent, _ = published
    record = read_sweep(uri, parent)
    tags = MlflowClient(uri).get_experiment(record.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    view = json.loads(tags[f"mlflow.sharedViewState.{parent[:16]}"])
    kind, _, packed = view["state"].partition(";")
    state = json.loads(zlib.decompress(b64decode(packed)))
    assert kind == "deflate" and parent in state["searchFilter"]
    assert view["name"] == "Pareto front"
    types = [chart["type"] for chart in state["compareRunCharts"]]
    assert types == ["SCATTER"] * 4 + ["CONTOUR"] * 2 + ["PARALLEL"]  # the objectives, and the first against each constraint
    axes = {(chart["xaxis"]["key"], chart["yaxis"]["key"]) for chart in state["compareRunCharts"][:6]}
    assert {("objective", "value/max"), ("value/four", "objective"), ("value/seven", "objective")} <= axes
    assert {f"tags.`dualsweep.{name}`" for name in ("status", "front", "feasible", "missed", "rank", "knee")} <= set(
        state["selectedColumns"]
    )
    assert state["compareRunCharts"][-1]["selectedParams"] == ["dual.step_size"]  # the one MLflow knows by name


def test_an_mlflow_that_takes_no_saved_view_gets_everything_else(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    parent = log_parent(uri, experiment)
    for trial in made_up_trials(12):
        log_trial(uri, experiment, parent, trial)
    # A store that takes experiment tags as short as MLflow's were before it had saved views.
    with create_engine(uri).begin() as connection:
        refuse = "SELECT RAISE(ABORT, 'value too long')"
        connection.execute(text(
            f"CREATE TRIGGER short BEFORE INSERT ON experiment_tags WHEN length(new.value) > 500 BEGIN {refuse}; END"
        ))  # fmt: skip
    record = read_sweep(uri, parent)
    assert publish(uri, record, review(record, tmp_path / "out")) is None
    run = MlflowClient(uri).get_run(parent)
    assert (
        "front.html" in run.data.tags["mlflow.note.content"] and "viewStateShareKey" not in run.data.tags["mlflow.note.content"]
    )
    assert {trial.marked["front"] for trial in read_sweep(uri, parent).trials} == {"true", "false"}


def test_thumbnails_are_small_and_the_fronts_come_first(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    parent, trials = log_parent(uri, experiment), made_up_trials(8)
    Image.new("L", (600, 300), 128).save(tmp_path / "samples.png")
    for trial in trials[:6]:
        MlflowClient(uri).log_artifact(log_trial(uri, experiment, parent, trial), str(tmp_path / "samples.png"))
    broken = log_trial(uri, experiment, parent, trials[6])
    MlflowClient(uri).log_text(broken, "no picture", "samples.png")
    log_trial(uri, experiment, parent, trials[7])
    record = read_sweep(uri, parent)
    made = thumbnails(uri, record, find_front(record))
    assert set(made) == {trial.trial_id for trial in trials[:6]}
    assert next(iter(made)) == min(find_front(record).ids)
    picture = Image.open(io.BytesIO(b64decode(made["0000"].removeprefix("data:image/webp;base64,"))))
    assert picture.size == (264, 132)
    page = review(record, tmp_path / "out", thumbnails=made)
    assert made["0000"] in text_in(page.front_html.read_text()) and page.samples_png is not None
    assert Image.open(page.samples_png).height == 234


def test_the_spreadsheet_has_every_trial_in_order(tmp_path: Path) -> None:
    record = made_up_sweep(30)
    made = review(record, tmp_path / "new" / "folder")
    with made.trials_csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:10] == [
        "trial", "run_id", "status", "feasible", "front", "rank", "objective", "value/max", "dual.step_size",
        "constraints.*.at_most",
    ]  # fmt: skip
    assert {"value/four", "budget/four", "slack/four", "slack_error/four", "multiplier/four", "seconds"} <= set(rows[0])
    assert {row["trial"] for row in rows} == {trial.trial_id for trial in record.trials}
    ranks = [float(row["rank"] or "inf") for row in rows]
    assert ranks == sorted(ranks)
    assert [row["trial"] for row in rows if row["front"] == "true"] == sorted(made.front_ids)
    failed = next(row for row in rows if row["status"] == "failed")
    assert (failed["feasible"], failed["objective"], failed["front"]) == ("", "", "false")
    by_id = {trial.trial_id: trial for trial in record.trials}
    assert all(float(r["objective"]) == by_id[r["trial"]].metric("objective") for r in rows if r["objective"])


def test_a_sweep_with_nothing_feasible_is_reviewed_all_the_same(tmp_path: Path) -> None:
    record = made_up_sweep(12)
    worse = tuple(replace(trial, standing=trial.standing and "violated") for trial in record.trials)
    record = replace(record, trials=worse)
    made = review(record, tmp_path)
    assert made.front_ids == () and made.hypervolume is None and made.reference_point is None
    assert made.front.least_violating is not None
    name = made.front.least_violating.trial_id
    assert f"Trial {name} violates least" in made.front_html.read_text()
    assert "violated, by" in front_text(record, made.front)
    shown = describe(record, made.front, hypervolume=None, reference_point=None)
    assert f"Least violating: [{name}]" in shown


def test_an_empty_sweep_is_reviewed_all_the_same(tmp_path: Path) -> None:
    record = SweepRecord("1", "s", "p", {"objective": "minimize", "value/max": "maximize"})
    made = review(record, tmp_path)
    assert made.front_ids == () and made.hypervolume is None and made.history == ()


def test_the_sweeps_own_reference_point_is_used(tmp_path: Path) -> None:
    record = replace(made_up_sweep(12), reference_point=(1.0, 1.0))
    assert review(record, tmp_path).reference_point == (1.0, 1.0)
    with pytest.raises(ReviewError, match="2 objectives"):
        review(replace(record, reference_point=(1.0,)), tmp_path)


def test_the_table_shows_each_constraint_or_the_worst_of_many() -> None:
    record = made_up_sweep(14)
    text = front_text(record, find_front(record), width=120)
    assert max(map(len, text.splitlines())) <= 120
    trial = find_front(record).trials[0]
    four = next(outcome for outcome in trial.constraints if outcome.name == "four")
    assert trial.trial_id in text and f"{four.value:.4g} ≤ {four.budget:.4g}" in text and "λ" in text
    many = made_up_sweep(14, names=[f"class{n}" for n in range(9)])
    text = front_text(many, find_front(many))
    assert "worst slack" in text and "(class0)" in text and "λ" not in text
    assert "worst slack" in front_text(record, find_front(record), width=80)


def test_the_description_fits_mlflows_limit_with_prices_and_a_recommendation() -> None:
    names = [f"{'long' * 15}{number}" for number in range(9)]
    for record in (made_up_sweep(1000), made_up_sweep(60, names=names)):
        front, wish = find_front(record), Preference(best="objective", meets=(Limit("value/max", "at_most", 0.0),))
        recommendation = recommend(replace(record, prefer=wish), front)
        prices = shadow_prices(record, front, recommendation.named)
        text = describe(record, front, hypervolume=0.1, reference_point=(1.0, 1.0), prices=prices, recommendation=recommendation)
        assert len(text.encode()) <= LIMIT and "### What budgets cost" in text and "comes nearest" in text
        assert escape(prices.summary()) in text and "### The front" in text
        assert "\\`" not in text and f"`{record.constraint_names[0]}`" in text


def test_the_description_fits_mlflows_limit_and_is_safe() -> None:
    record = made_up_sweep(1000)
    text = describe(record, find_front(record), hypervolume=0.1, reference_point=(1.0, 1.0))
    assert len(text.encode()) <= LIMIT and "more in `trials.csv`" in text
    hostile = replace(record, trials=tuple(replace(t, params={HOSTILE: HOSTILE}) for t in record.trials[:30]))
    rows = [
        line
        for line in describe(hostile, find_front(hostile), hypervolume=None, reference_point=None).splitlines()
        if line.startswith("|")
    ]
    cells = {line.replace("\\|", "").count("|") for line in rows}
    assert cells == {9} and not any("<script" in line.replace("\\<", "") for line in rows[2:])
    assert escape("a\n|b*") == r"a \|b\*"


def test_a_server_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    there, work = tmp_path / "there", tmp_path / "work" / "below"
    there.mkdir()
    work.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(there / "samples.png")
    trial = replace(made_up_trials(1)[0], run_id="../../outside", artifacts=there.as_uri())
    assert _picture(f"sqlite:///{tmp_path}/mlflow.db", 0, trial, work)
    assert {each.name for each in tmp_path.iterdir()} == {"there", "work"}


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    attacks = ["=1+1", "+1+A1", "-2+3", "@SUM(1)", "\t=1", " =1", "\r\n=1", "\uff1d1", '"=1', "|calc", "%0"]
    trials = [
        replace(trial, reason=attack, params={attack: attack, "n": -0.5, "text": "-0.5"})
        for trial, attack in zip(made_up_trials(len(attacks)), attacks, strict=True)
    ]
    record = replace(made_up_sweep(len(attacks)), trials=tuple(trials))
    made = review(record, tmp_path)
    head, *rows = csv.reader(io.StringIO(made.trials_csv.read_bytes().decode(), newline=""))
    cells = {cell for row in [head, *rows] for cell in row}
    odd = {each for each in cells if unicodedata.normalize("NFKC", each).strip("\"'\t\r\n ")[:1] in tuple("=+-@|%")}
    assert {each[0] for each in odd if not each.lstrip("-").replace(".", "").replace("e-", "").isdigit()} == {"'"}
    assert {f"'{attack}" for attack in attacks} <= cells
    assert {row[head.index("n")] for row in rows} == {row[head.index("text")] for row in rows} == {"-0.5"}


def test_ids_are_texts_in_the_csv_file_and_numbers_are_numbers(tmp_path: Path) -> None:
    """As a reader takes it that goes by the quotation marks: to any other, `0001` is 1."""
    record = made_up_sweep(12)
    made = review(record, tmp_path)
    with made.trials_csv.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file, quoting=csv.QUOTE_NONNUMERIC)
    cells = [dict(zip(head, row, strict=True)) for row in rows]
    assert {row["trial"] for row in cells} == {trial.trial_id for trial in record.trials} and "0001" in {
        row["trial"] for row in cells
    }
    assert all(isinstance(row["objective"], float) for row in cells)

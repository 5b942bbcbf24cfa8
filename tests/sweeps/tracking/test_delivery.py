"""From the spool to a store: what is sent, in which requests, and what is noted of it, whatever the store answers.

The store is a client of ours that keeps to MLflow's limits; `test_tracking.py` has real ones.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from mlflow.store.entities.paged_list import PagedList
from PIL import Image

from dualsweep.sweeps.tracking import delivery
from dualsweep.sweeps.tracking.delivery import Delivery
from dualsweep.sweeps.tracking.ledger import Ledger
from dualsweep.sweeps.tracking.spool import FOLDER, Spool


class Store:
    """What MLflow's client does for `Delivery`, in memory; `before` sees every request and may refuse it."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.runs: dict[str, Any] = {}
        self.points: dict[str, dict[tuple[str, int, float], None]] = {}
        self.artifacts: list[tuple[str, str, str | None]] = []
        self.requests: Counter[str] = Counter()
        self.before: Callable[[str, Any], None] = lambda request, sent: None

    def _asked(self, request: str, sent: Any = None) -> None:
        self.requests[request] += 1
        self.before(request, sent)

    def create_run(self, experiment: str, started: int | None, tags: dict[str, str], name: str) -> Any:
        self._asked("create_run", name)
        run_id = f"run-{next(self._numbers)}"
        info = SimpleNamespace(run_id=run_id, lifecycle_stage="active", start_time=started, name=name, status="RUNNING")
        self.runs[run_id] = SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(tags), params={}))
        self.points[run_id] = {}
        return self.runs[run_id]

    def get_run(self, run_id: str) -> Any:
        self._asked("get_run")
        if run_id not in self.runs:
            raise MlflowException("no such run", RESOURCE_DOES_NOT_EXIST)
        return self.runs[run_id]

    def search_runs(
        self, experiments: list[str], wanted: str, max_results: int = 1000, page_token: str | None = None
    ) -> PagedList[Any]:
        self._asked("search_runs")
        pairs = [each.split(" = ") for each in wanted.split(" and ")]
        asked = {key.removeprefix("tags.").strip("`"): value.strip("'") for key, value in pairs if key.startswith("tags")}
        began = next((int(value) for key, value in pairs if key == "attributes.start_time"), None)
        tagged = [run for run in self.runs.values() if asked.items() <= run.data.tags.items()]
        start = int(page_token or 0)
        there = [run for run in tagged if began in (None, run.info.start_time)][start : start + min(max_results, 2)]
        return PagedList(there, str(start + 2) if start + 2 < len(tagged) else None)

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        self.runs[run_id].data.tags[key] = value

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        assert len(metrics) <= 1000 and len(params) <= 100 and len(tags) <= 100
        self._asked("log_batch", [*metrics, *params, *tags])
        if run_id not in self.runs:
            raise MlflowException("no such run", RESOURCE_DOES_NOT_EXIST)
        run = self.runs[run_id]
        for param in params:
            assert param.key not in run.data.params, "MLflow never changes a param"
            run.data.params[param.key] = param.value
        run.data.tags |= {each.key: each.value for each in tags}
        self.points[run_id] |= {(each.key, each.step, each.value): None for each in metrics}  # one of each, in their order

    def update_run(self, run_id: str, status: str) -> None:
        self.runs[run_id].info.status = status

    def set_terminated(self, run_id: str, status: str, time_ms: int) -> None:
        self.runs[run_id].info.status = status

    def log_artifact(self, run_id: str, path: str, folder: str | None) -> None:
        self._asked("log_artifact", path)
        self.artifacts.append((run_id, Path(path).name, folder))

    log_artifacts = log_artifact

    def history(self, name: str) -> list[tuple[str, int, float]]:
        return list(self.points[self.named(name)])

    def named(self, name: str) -> str:
        [found] = [run_id for run_id, run in self.runs.items() if run.info.name == name]
        return found


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(delivery, "client_of", lambda uri: made)
    monkeypatch.setattr(delivery, "experiment_of", lambda client, uri, name: "1")
    return made


def opened(folder: Path, on_refused: Callable[[str], None] = pytest.fail) -> Delivery:
    """A delivery as a start of the command makes it, with what an earlier one has noted."""
    return Delivery("fake://", Ledger.open(folder, "fake://", "faces"), folder / FOLDER, on_refused)


def spool(folder: Path, name: str) -> Spool:
    return Spool(folder / FOLDER / f"{name}.jsonl")


def filled(folder: Path, name: str, steps: range, size: int = 1) -> None:
    into = spool(folder, name)
    for step in steps:
        into.point(step, {f"m/{number}": float(step) for number in range(size)})


@pytest.mark.parametrize("seed", range(2))
def test_points_of_any_sizes_arrive_once_each_and_in_order(seed: int, store: Store, tmp_path: Path) -> None:
    """Requests of at most 1,000 metrics and 100 tags or params are asserted by the store."""
    source = random.Random(seed)
    into, expected = spool(tmp_path, "sweep"), []
    for step in range(60):
        names = [f"m/{number}" for number in range(source.choice([1, 3, 400, 999, 1000, 1001, 2500]))]
        into.point(step, dict.fromkeys(names, float(step)))
        expected += [(name, step, float(step)) for name in names]
        into.tags({f"t{step}-{number}": "x" for number in range(source.choice([0, 1, 150]))})
    made = opened(tmp_path)
    assert made.waiting() == 120
    made.deliver()
    assert store.history("faces") == expected and made.waiting() == 0
    asked = store.requests.total()
    made.deliver()
    assert store.requests.total() == asked  # nothing waits: the store isn't asked


def test_requests_are_as_large_as_a_store_takes(store: Store, tmp_path: Path) -> None:
    filled(tmp_path, "sweep", range(2000))
    filled(tmp_path, "0000", range(100), size=50)
    opened(tmp_path).deliver()
    assert store.requests["log_batch"] == 2 + 5


@pytest.mark.parametrize("request_number", range(1, 7))
def test_a_store_that_fails_at_any_request_gets_the_rest_later(request_number: int, store: Store, tmp_path: Path) -> None:
    filled(tmp_path, "sweep", range(3), size=700)
    filled(tmp_path, "0000", range(2))
    count = itertools.count(1)

    def fail(request: str, sent: Any) -> None:
        if next(count) == request_number:
            raise MlflowException("busy", TEMPORARILY_UNAVAILABLE)

    store.before = fail
    with pytest.raises(MlflowException, match="busy"):
        opened(tmp_path).deliver()
    opened(tmp_path).deliver()  # another process, with the ledger as it was left
    assert store.history("faces") == [(f"m/{n}", step, float(step)) for step in range(3) for n in range(700)]
    assert store.history("trial 0000") == [("m/0", 0, 0.0), ("m/0", 1, 1.0)]
    assert len(store.runs) == 2


@pytest.mark.parametrize("error_code", [TEMPORARILY_UNAVAILABLE, INVALID_PARAMETER_VALUE])
@pytest.mark.parametrize("request_number", range(1, 19))
def test_the_same_delivery_sends_again_all_that_a_failed_request_held(
    request_number: int, error_code: int, store: Store, tmp_path: Path
) -> None:
    """Also where a batch is refused, and sent record by record."""
    for name, many in (("sweep", 150), ("0000", 1)):
        spool(tmp_path, name).params({f"p{number}": number for number in range(many)})
        filled(tmp_path, name, range(2))
        spool(tmp_path, name).tags({"asked": "x"})
    count = itertools.count(1)

    def fail(request: str, sent: Any) -> None:
        if next(count) == request_number and (request == "log_batch" or error_code == TEMPORARILY_UNAVAILABLE):
            raise MlflowException("busy", error_code)

    store.before = fail
    made = opened(tmp_path)
    with contextlib.suppress(MlflowException):
        made.deliver()
    made.deliver()
    assert made.has_all() and len(store.runs) == 2
    for title, many in (("faces", 150), ("trial 0000", 1)):
        data = store.runs[store.named(title)].data
        assert data.params == {f"p{number}": str(number) for number in range(many)}
        assert data.tags["asked"] == "x" and [step for _, step, _ in store.history(title)] == [0, 1]


def test_a_run_that_was_created_and_not_noted_is_found_again(store: Store, tmp_path: Path) -> None:
    filled(tmp_path, "sweep", range(2))
    filled(tmp_path, "0001", range(2))
    first = opened(tmp_path)
    first.deliver()
    sweep_id = first.ledger.sweep_id
    first.ledger.runs = {}
    first.ledger.save()
    again = opened(tmp_path)
    again.deliver()
    assert again.ledger.sweep_id == sweep_id and len(store.runs) == 2
    assert store.history("trial 0001") == [("m/0", 0, 0.0), ("m/0", 1, 1.0)]


def test_what_the_store_will_never_take_is_left_out_alone_and_told_once(store: Store, tmp_path: Path) -> None:
    def refuse(request: str, sent: Any) -> None:
        if request == "log_batch" and any(getattr(each, "step", None) == 3 for each in sent):
            raise MlflowException("no threes\nand a trace", INVALID_PARAMETER_VALUE)

    told: list[str] = []
    store.before = refuse
    filled(tmp_path, "sweep", range(6))
    made = opened(tmp_path, told.append)
    made.deliver()
    assert [step for _, step, _ in store.history("faces")] == [0, 1, 2, 4, 5]
    assert told == ["MLflow refused a record of run sweep, which is left out: no threes"]
    assert made.waiting() == 0


def test_a_deleted_trial_is_begun_anew_with_all_of_it_and_its_sweep_is_kept(store: Store, tmp_path: Path) -> None:
    for name in ("sweep", "0000", "0000-seed-1"):
        filled(tmp_path, name, range(3))
    made = opened(tmp_path)
    made.deliver()
    sweep, old = store.named("faces"), store.named("trial 0000")
    del store.runs[old]
    filled(tmp_path, "0000", range(3, 5))
    made.deliver()
    new = store.named("trial 0000")
    assert new != old and store.named("faces") == sweep
    assert [step for _, step, _ in store.points[new]] == list(range(5))


@pytest.mark.parametrize("content", ["", "another"])
def test_a_spool_that_was_cut_or_is_another_is_delivered_whole(content: str, store: Store, tmp_path: Path) -> None:
    """The ledger's offset is then in the middle of a line, or beyond the end: what stands before it is no less new."""
    filled(tmp_path, "0000", range(20))
    opened(tmp_path).deliver()
    file = tmp_path / FOLDER / "0000.jsonl"
    file.write_text("")
    if content:
        spool(tmp_path, "0000").tags({"a": "b" * 300})
    filled(tmp_path, "0000", range(20, 60))
    again = opened(tmp_path)
    assert not again.has_all()
    again.deliver()
    assert [step for _, step, _ in store.history("trial 0000")] == list(range(60)) and again.has_all()


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_what_is_no_file_among_spools_is_set_aside(kind: str, store: Store, tmp_path: Path) -> None:
    filled(tmp_path, "0000", range(2))
    odd = tmp_path / FOLDER / "0001.jsonl"
    odd.mkdir() if kind == "folder" else odd.symlink_to("nowhere")
    opened(tmp_path).deliver()
    assert [step for _, step, _ in store.history("trial 0000")] == [0, 1]
    assert not odd.is_symlink() and not odd.exists()


def test_the_sweep_comes_first_and_each_training_below_its_trial(store: Store, tmp_path: Path) -> None:
    for name in ("0002-seed-1", "0002", "amortised", "sweep", "0000"):
        filled(tmp_path, name, range(1))
    made = opened(tmp_path)
    assert made.names() == ["sweep", "0000", "0002", "0002-seed-1", "amortised"]
    made.deliver()
    run = {each.info.name: each for each in store.runs.values()}
    sweep, trial, training = run["faces"], run["trial 0002"], run["trial 0002 seed 1"]
    assert sweep.data.tags == {"dualsweep.kind": "sweep", "dualsweep.sweep": made.ledger.sweep_id}
    assert (trial.data.tags["dualsweep.kind"], trial.data.tags["mlflow.parentRunId"]) == ("trial", sweep.info.run_id)
    assert (training.data.tags["dualsweep.kind"], training.data.tags["dualsweep.seed"]) == ("replicate", "1")
    assert training.data.tags["mlflow.parentRunId"] == trial.info.run_id
    amortised = run["amortised front"].data.tags
    assert (amortised["dualsweep.kind"], amortised["mlflow.parentRunId"]) == ("amortised", sweep.info.run_id)


def test_params_that_have_another_value_now_go_into_a_tag(store: Store, tmp_path: Path) -> None:
    spool(tmp_path, "sweep").params({"trials": 12, "seed": 0})
    made = opened(tmp_path)
    made.deliver()
    spool(tmp_path, "sweep").params({"trials": 20, "seed": 0, "later": True})
    opened(tmp_path).deliver()
    data = store.runs[store.named("faces")].data
    assert data.params == {"trials": "12", "seed": "0", "later": "true"}
    assert data.tags["dualsweep.changed_params"] == '{"trials": "20"}'


@pytest.mark.parametrize(
    ("later", "changed"),
    [
        ([{"trials": 12}], '{"seed": "1"}'), ([{"trials": 12, "seed": 0}], "{}"),
        ([{"trials": 30}], '{"trials": "30", "seed": "1"}'), ([{"trials": 12}, {"seed": 2}, {"other": 1}], '{"seed": "2"}'),
    ],
)  # fmt: skip
def test_the_tag_of_changed_params_has_what_differs_now(
    store: Store, tmp_path: Path, later: list[dict[str, int]], changed: str
) -> None:
    """A sweep's params come in several records, which may be sent apart."""
    for params in [{"trials": 12, "seed": 0}, {"trials": 20, "seed": 1}, *later]:
        spool(tmp_path, "sweep").params(params)
        opened(tmp_path).deliver()
    made = store.runs[store.named("faces")].data
    assert json.loads(made.tags["dualsweep.changed_params"]) == json.loads(changed)


def test_a_tag_of_changed_params_that_a_person_has_spoilt_is_written_anew(store: Store, tmp_path: Path) -> None:
    spool(tmp_path, "sweep").params({"trials": 12})
    opened(tmp_path).deliver()
    data = store.runs[store.named("faces")].data
    data.tags["dualsweep.changed_params"] = "none"
    spool(tmp_path, "sweep").params({"trials": 20})
    opened(tmp_path).deliver()
    assert data.tags["dualsweep.changed_params"] == '{"trials": "20"}'


def test_no_request_is_larger_than_a_server_takes(store: Store, tmp_path: Path) -> None:
    """A million bytes of JSON: text with quotes and letters like `ä` is there longer than it is."""
    text = ('{"constraints.ä": 1}, ' * 400)[:5000]
    sizes: list[int] = []

    def measure(request: str, sent: Any) -> None:
        sizes.append(sum(len(json.dumps({"key": each.key, "value": each.value})) for each in sent) if sent else 0)

    store.before = lambda request, sent: measure(request, sent) if request == "log_batch" else None
    spool(tmp_path, "sweep").tags({f"t{number}": text for number in range(250)})
    spool(tmp_path, "sweep").params({f"p{number}": text for number in range(250)})
    opened(tmp_path).deliver()
    assert max(sizes) < 1_000_000 and len(store.runs[store.named("faces")].data.params) == 250


def test_artifacts_come_after_everything_else_and_again_after_a_failure(store: Store, tmp_path: Path) -> None:
    (tmp_path / "grid.png").write_text("x")
    (tmp_path / "page.html").write_text("x")
    told: list[str] = []
    into = spool(tmp_path, "sweep")
    for name in ("grid.png", "gone.png", "page.html"):
        into.artifact(tmp_path / name, "pictures")
    filled(tmp_path, "0000", range(2))
    count = itertools.count()

    def fail(request: str, sent: Any) -> None:
        if request == "log_artifact" and next(count) == 1:
            raise MlflowException("disk full", TEMPORARILY_UNAVAILABLE)

    store.before = fail
    with pytest.raises(MlflowException, match="disk full"):
        opened(tmp_path, told.append).deliver()
    assert len(store.history("trial 0000")) == 2  # points have arrived
    assert opened(tmp_path).waiting() == 1  # the page
    opened(tmp_path, told.append).deliver()
    sweep = store.named("faces")
    assert store.artifacts == [(sweep, "grid.png", "pictures"), (sweep, "page.html", "pictures")]
    assert told == [f"the artifact {tmp_path / 'gone.png'} is no longer there, and is left out"]


def ended(folder: Path) -> Path:
    """Where the picture of a training that has ended is to lie; only its spool says how its multiplier moved."""
    picture, into = folder / "artifacts" / "0000" / "trajectories.png", spool(folder, "0000")
    for step in range(0, 50, 10):
        into.point(step, {"multiplier/four": step / 100, "slack/four": 0.1 - step / 100})
    into.artifact(picture)
    into.end("FINISHED")
    return picture


def test_trajectories_are_drawn_from_the_spool_when_they_are_delivered(store: Store, tmp_path: Path) -> None:
    picture = ended(tmp_path)
    assert not picture.exists()
    opened(tmp_path).deliver()
    assert Image.open(picture).size == (1152, 806) and np.asarray(Image.open(picture).convert("L")).std() > 3
    assert store.artifacts == [(store.named("trial 0000"), "trajectories.png", None)] and opened(tmp_path).has_all()


def test_trajectories_that_the_disk_refuses_are_told_and_hold_nothing_up(store: Store, tmp_path: Path) -> None:
    picture, told = ended(tmp_path), list[str]()
    picture.parent.parent.write_text("no folder")
    opened(tmp_path, told.append).deliver()
    assert told == [f"{picture} cannot be written (Not a directory), and is left out"]
    assert store.artifacts == [] and opened(tmp_path).has_all()


@pytest.mark.parametrize("way", ["file", "link", "folder", "ledger"])
def test_nothing_beside_the_output_is_sent_whatever_a_spool_says(store: Store, tmp_path: Path, way: str) -> None:
    secret, output = tmp_path / "id_rsa", tmp_path / "run"
    secret.write_text("secret")
    (output / "a").mkdir(parents=True)
    (output / "a" / "link").symlink_to(secret)
    into, told = spool(output, "sweep"), list[str]()
    into.artifact({"file": secret, "link": output / "a" / "link", "folder": output / "a", "ledger": output / "b"}[way])
    if way == "ledger":
        (output / "b").touch()
        opened(output).deliver()
        store.artifacts.clear()
        ledger = opened(output).ledger
        ledger.entry("sweep").artifacts = [(str(secret), None)]
        ledger.save()
    opened(output, told.append).deliver()
    assert store.artifacts == [] and len(told) == 1 and told[0].endswith(f"lies outside {output}, and is left out")


def test_broken_lines_are_passed_over_and_not_waited_for(store: Store, tmp_path: Path) -> None:
    filled(tmp_path, "sweep", range(1))
    path = tmp_path / FOLDER / "sweep.jsonl"
    with path.open("a") as file:
        file.write('{"kind": "po\n[]\n')
    filled(tmp_path, "sweep", range(1, 2))
    with path.open("a") as file:
        file.write("half a line that is still being writ")
    made = opened(tmp_path)
    made.deliver()
    assert [step for _, step, _ in store.history("faces")] == [0, 1]
    assert made.waiting() == 0


def test_values_that_are_not_finite_are_counted_at_their_step_and_named(store: Store, tmp_path: Path) -> None:
    spool(tmp_path, "sweep").point(7, {"a": float("nan"), "b": float("-inf"), "c": 1.0})
    opened(tmp_path).deliver()
    run = store.named("faces")
    assert list(store.points[run]) == [("c", 7, 1.0), ("nonfinite", 7, 2.0)]
    assert store.runs[run].data.tags["dualsweep.nonfinite"] == "a = nan, b = -inf"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_the_last_status_counts(status: str, store: Store, tmp_path: Path) -> None:
    into = spool(tmp_path, "sweep")
    into.begin()
    into.end("FAILED")
    into.begin()
    opened(tmp_path).deliver()
    assert store.runs[store.named("faces")].info.status == "RUNNING"
    into.end(status)
    opened(tmp_path).deliver()
    assert store.runs[store.named("faces")].info.status == status


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("constraints.four.at_most", "constraints.four.at_most"), ("constraints.[*].at_most", "constraints.___.at_most"),
        ("value/vier é", "value/vier é"), ("/a//../b/./", "a/b"), ("..", "_"), ("", "_"), ("x" * 300, "x" * 250),
    ],
)  # fmt: skip
def test_names_become_paths_that_a_store_takes(key: str, name: str, store: Store, tmp_path: Path) -> None:
    spool(tmp_path, "sweep").params({key: 1})
    opened(tmp_path).deliver()
    assert list(store.runs[store.named("faces")].data.params) == [name]

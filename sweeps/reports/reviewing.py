"""The review of a sweep for people: table, figures, links; from the sweep's end, or rebuilt from MLflow alone."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from dualsweep.analysis.amortised import sentence
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.figures.front_html import base_url_of
from dualsweep.analysis.front import find_front
from dualsweep.analysis.hypervolume import about
from dualsweep.analysis.links import run_link
from dualsweep.analysis.publish import publish, record_preference
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.review import Review, review
from dualsweep.analysis.saved_view import saved_view_link
from dualsweep.analysis.server import front_link, ui
from dualsweep.analysis.store import check_store, open_client
from dualsweep.analysis.table import front_table
from dualsweep.analysis.thumbnails import thumbnails
from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps.interrupts import terminate_like_interrupt
from dualsweep.sweeps.mirrored.driving import brought, driving
from dualsweep.sweeps.planning.preferring import read_option
from dualsweep.sweeps.records.folder_kind import is_sweep_folder
from dualsweep.sweeps.records.run_of_file import is_yaml_file
from dualsweep.sweeps.records.sweep_summary import keep_summary, summary_in
from dualsweep.sweeps.reports.place import Place, place_of, sweep_place
from dualsweep.sweeps.tracking.mlflow_settings import prepare
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import lasting_path
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.storage import as_file_name, check_writable, is_local, local_path


class Reviewed(NamedTuple):
    """A sweep, its review, and the link of its saved view in the MLflow UI, None where this MLflow takes none, or no writing."""

    record: SweepRecord
    review: Review
    view: str | None


def get_ready() -> None:
    """Imports what a review takes, seconds of MLflow, torch and diffusers: while trials start nobody waits for it."""
    with suppress(Exception):  # a broken installation is told where it is needed
        for each in ("sweeps.tracking.models", "trainer.engine.sample_command", "trainer.exporting.folder"):
            import_module(f"dualsweep.{each}")


def review_of(tracking_uri: str, sweep: str, folder: Path, console: Console, prefer: str | None = None) -> Reviewed:
    """Reads a sweep from MLflow, writes its figures into `folder` and puts the review and the front's models into MLflow.

    `prefer` (`--prefer`) takes the place of the preference that the sweep records, there too. Where the store refuses to be
    written to, as for one who may only read, it is said and the review is only in its files.

    Raises:
        ReviewError: no such store or sweep.
        InputError: `prefer` is no preference for this sweep.
    """
    prepare()
    record = read_sweep(tracking_uri, sweep)
    if prefer is not None:
        measured = sorted({name for trial in record.trials for name in trial.metrics})
        record = replace(record, prefer=read_option(prefer, list(record.objectives), measured))
    pictures = thumbnails(tracking_uri, record, find_front(record))
    made = review(record, folder, base_url=base_url_of(tracking_uri), thumbnails=pictures)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    try:
        return Reviewed(record, made, _store(tracking_uri, record, made, prefer is not None, say))
    except Exception as error:  # each store, and each one's store of artifacts, has errors of its own
        why = masked(first_line(error))
        say(f"the review is in {folder}, but could not be stored in MLflow ({why}); the same command tries it again")
        return Reviewed(record, made, None)


def _store(tracking_uri: str, record: SweepRecord, made: Review, new_preference: bool, say: Callable[[str], None]) -> str | None:
    """Puts the preference, the front's models and the review into MLflow; returns the link of the saved view."""
    from dualsweep.sweeps.tracking.models import log_models  # MLflow and torch take seconds

    if new_preference:
        record_preference(tracking_uri, record)
    return publish(tracking_uri, record, made, models=log_models(tracking_uri, made.front, say))


def show(record: SweepRecord, made: Review, console: Console, view: str = "") -> None:
    """Prints the front's table, its hypervolume, where the figures are and the whole link of the saved view."""
    console.print()
    console.print(front_table(record, made.front, width=console.width))
    if made.hypervolume is not None and made.reference_point is not None:
        point = ", ".join(f"{name} {value:.4g}" for name, value in zip(record.objectives, made.reference_point, strict=True))
        console.print(f"\nhypervolume {about(record)}{made.hypervolume:.4g} against {point}", highlight=False, soft_wrap=True)
    if record.amortised is not None:
        console.print(f"\n{sentence(record)}", highlight=False, soft_wrap=True)
    for line in advice(made):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"front: {made.front_html}  {made.front_png.name}  {made.trials_csv.name}", highlight=False, soft_wrap=True)
    if view:
        console.print(f"view:  {view}", highlight=False, soft_wrap=True)


def advice(made: Review) -> list[str]:
    """Which point to take and what its budgets cost, for the terminal."""
    chosen = made.recommendation.trial or made.recommendation.nearest
    prices = made.prices.of(chosen.trial_id) if chosen is not None else ()
    lines = [*made.recommendation.reasons, *(price.sentence for price in prices if price.believed)]
    trouble = made.prices.troubles.get(chosen.trial_id) if chosen is not None else None
    doubts = [*(price.sentence for price in prices if not price.believed), *([trouble] if trouble else [])]
    return ["", *lines, *doubts, made.prices.summary()] if lines else []


def summary(made: Review) -> dict[str, Any]:
    """The front's part of a `--json` file."""
    return {
        "front": list(made.front_ids),
        "hypervolume": made.hypervolume,
        "reference_point": list(made.reference_point) if made.reference_point is not None else None,
        "recommended": made.recommendation.to_json(),
        "prices": [price.to_json() | {"trouble": made.prices.troubles.get(price.trial_id)} for price in made.prices.prices],
    }


def rebuild(name: str, store: str | None, output: Path | None, console: Console, prefer: str | None = None) -> dict[str, Any]:
    """`dualsweep front`.

    Raises:
        ReviewError: no such store or sweep.
        InputError: `prefer` is no preference for this sweep, or `output` cannot be written.
    """
    if output is not None:
        check_writable(str(output))
    copy = brought(name)
    place = sweep_place(copy, store)
    with _summary_of(name, copy, place, prefer, console) as own:
        reviewed = review_of(place.uri, place.run, output or written_to(name, store), console, prefer)
        told = summary(reviewed.review)
        note = _kept(own, told)
    show(reviewed.record, reviewed.review, console, full_link(place.uri, reviewed.view))
    if note:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    return told


def _kept(own: Path | None, told: dict[str, Any]) -> str:
    """Keeps the summary in a sweep's folder; a line where that refuses it, as one that may only be read does."""
    try:
        if own is not None:
            keep_summary(own, told)
    except OSError as error:
        return f"note:  {own} cannot be written ({error.strerror}), so what it recommends by itself is as before"
    return ""


@contextmanager
def _summary_of(name: str, copy: str, place: Place, prefer: str | None, console: Console) -> Iterator[Path | None]:
    """The folder whose summary is to say what is found; None where it says it already, or there is none.

    Behind a URI the summary is a driver's: one is taken up for it where the sweep has none yet, or another point is preferred.

    Raises:
        InputError: a sweep runs there, which writes its own at its end.
    """
    if is_local(name):
        yield _own_folder(name, place)
    elif prefer is None and summary_in(local_path(copy)):
        yield None
    else:
        with driving(name, lambda text: console.print(text, highlight=False, soft_wrap=True)) as driven:
            yield driven.folder


def written_to(name: str, store: str | None) -> Path:
    """Where `front` writes unless told: the sweep's own folder where that is known, else one by the sweep's name."""
    if not is_local(name):
        return lasting_path(str(Path("runs") / as_file_name(posixpath.basename(masked(name).rstrip("/")))))
    place = sweep_place(name, store)
    return _own_folder(name, place) or lasting_path(str(Path("runs") / as_file_name(place.experiment or place.run)))


def _own_folder(name: str, place: Place) -> Path | None:
    """The output folder of a sweep that is named by it, or by a file that belongs to it."""
    if is_yaml_file(name):
        return place.folder
    return local_path(name) if is_sweep_folder(local_path(name)) else None


def full_link(tracking_uri: str, view: str | None) -> str:
    """A saved view's address in the UI of a tracking URI, which is `dualsweep ui` for a local store; empty without a view."""
    return f"{base_url_of(tracking_uri)}/{view}" if view else ""


def serve(name: str | None, store: str | None, port: int, console: Console) -> None:
    """`dualsweep ui`: runs until it is interrupted.

    Raises:
        ReviewError: the port is taken, or there is no such sweep or training.
    """
    place = place_of(name and brought(name), store)
    terminate_like_interrupt()
    check_store(place.uri)  # MLflow's server would make one at a mistyped path
    with ui(place.uri, port=port) as server:
        console.print(f"MLflow: {server.base_url}", highlight=False, soft_wrap=True)
        if place.is_training:
            _print_link(server.base_url, place, console)
        elif place.run:
            _print_links(server.base_url, place, console)
        if server.process is None:
            return
        try:
            console.print("Ctrl-C ends it", highlight=False)
            while server.process.poll() is None:
                time.sleep(0.5)
        except KeyboardInterrupt:
            console.print("stopped")
            return
    if server.process is not None:
        raise ReviewError(f"The MLflow UI must go on until Ctrl-C, but its server at {server.base_url} ended by itself.")


def _print_link(base_url: str, place: Place, console: Console) -> None:
    """The page of a training's run."""
    from mlflow.exceptions import MlflowException

    try:
        experiment = open_client(place.uri).get_run(place.run).info.experiment_id
    except MlflowException:
        remedy = "Name the store that has it with --tracking-uri, or log it anew by its command."
        raise ReviewError(f"The training's run must be in the store, but {place.run} is not in {place.uri}. {remedy}") from None
    console.print(f"run:    {base_url.rstrip('/')}/{run_link(experiment, place.run)}", highlight=False, soft_wrap=True)


def _print_links(base_url: str, place: Place, console: Console) -> None:
    record = read_sweep(place.uri, place.run)
    console.print(f"front:  {front_link(base_url, record)}", highlight=False, soft_wrap=True)
    view = saved_view_link(open_client(place.uri), record)
    if view:
        console.print(f"charts: {base_url.rstrip('/')}/{view}", highlight=False, soft_wrap=True)

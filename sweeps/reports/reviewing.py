"""The review of a sweep for people: table, figures, links; from the sweep's end, or rebuilt from MLflow alone."""

from __future__ import annotations

import json
import posixpath
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from dualsweep.analysis.amortised import sentence
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.figures.front_html import base_url_of
from dualsweep.analysis.front import find_front
from dualsweep.analysis.publish import publish, record_preference
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.review import Review, review
from dualsweep.analysis.saved_view import saved_view_link
from dualsweep.analysis.server import front_link, ui
from dualsweep.analysis.store import open_client
from dualsweep.analysis.table import front_table
from dualsweep.analysis.thumbnails import thumbnails
from dualsweep.analysis.tracking_uri import tracking_uri
from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps.interrupts import terminate_like_interrupt
from dualsweep.sweeps.mirrored.driving import brought
from dualsweep.sweeps.planning.preferring import read_option
from dualsweep.sweeps.records.folder_kind import is_sweep_folder
from dualsweep.sweeps.records.sweep_summary import keep_summary
from dualsweep.sweeps.tracking.ledger import FILE as LEDGER
from dualsweep.sweeps.tracking.ledger import SWEEP
from dualsweep.sweeps.tracking.mlflow_settings import prepare
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import lasting_path
from dualsweep.trainer.storage import as_file_name, is_local, local_path


class Reviewed(NamedTuple):
    """A sweep, its review, and the link of its saved view in the MLflow UI, None where this MLflow takes none."""

    record: SweepRecord
    review: Review
    view: str | None


def review_of(tracking_uri: str, sweep: str, folder: Path, console: Console, prefer: str | None = None) -> Reviewed:
    """Reads a sweep from MLflow, writes its figures into `folder` and puts the review and the front's models into MLflow.

    `prefer` (`--prefer`) takes the place of the preference that the sweep records, there too.

    Raises:
        ReviewError: no such store or sweep.
        InputError: `prefer` is no preference for this sweep.
    """
    prepare()
    from dualsweep.sweeps.tracking.models import log_models  # MLflow and torch take seconds

    record = read_sweep(tracking_uri, sweep)
    if prefer is not None:
        measured = sorted({name for trial in record.trials for name in trial.metrics})
        record = replace(record, prefer=read_option(prefer, list(record.objectives), measured))
        record_preference(tracking_uri, record)
    pictures = thumbnails(tracking_uri, record, find_front(record))
    made = review(record, folder, base_url=base_url_of(tracking_uri), thumbnails=pictures)
    models = log_models(tracking_uri, made.front, lambda text: console.print(text, highlight=False, soft_wrap=True))
    return Reviewed(record, made, publish(tracking_uri, record, made, models=models))


def show(record: SweepRecord, made: Review, console: Console, view: str = "") -> None:
    """Prints the front's table, its hypervolume, where the figures are and the whole link of the saved view."""
    console.print()
    console.print(front_table(record, made.front, width=console.width))
    if made.hypervolume is not None and made.reference_point is not None:
        point = ", ".join(f"{name} {value:.4g}" for name, value in zip(record.objectives, made.reference_point, strict=True))
        console.print(f"\nhypervolume {made.hypervolume:.4g} against {point}", highlight=False, soft_wrap=True)
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
        InputError: `prefer` is no preference for this sweep.
    """
    place, own = brought(name), _own_folder(name)
    uri, sweep = place_of(place, store)
    reviewed = review_of(uri, sweep, output or written_to(name, store), console, prefer)
    show(reviewed.record, reviewed.review, console, full_link(uri, reviewed.view))
    told = summary(reviewed.review)
    if own is not None:
        keep_summary(own, told)
    return told


def written_to(name: str, store: str | None) -> Path:
    """Where `front` writes unless told: the sweep's own folder where that is named, else one by the sweep's name."""
    called = posixpath.basename(masked(name).rstrip("/")) if not is_local(name) else place_of(name, store)[1]
    return _own_folder(name) or lasting_path(str(Path("runs") / as_file_name(called)))


def _own_folder(name: str) -> Path | None:
    return local_path(name) if is_local(name) and is_sweep_folder(local_path(name)) else None


def full_link(tracking_uri: str, view: str | None) -> str:
    """A saved view's address in the UI of a tracking URI, which is `dualsweep ui` for a local store; empty without a view."""
    return f"{base_url_of(tracking_uri)}/{view}" if view else ""


def serve(name: str | None, store: str | None, port: int, console: Console) -> None:
    """`dualsweep ui`: runs until it is interrupted.

    Raises:
        ReviewError: the port is taken, or there is no such sweep.
    """
    uri, sweep = place_of(name and brought(name), store)
    terminate_like_interrupt()
    with ui(uri, port=port) as server:
        console.print(f"MLflow: {server.base_url}", highlight=False, soft_wrap=True)
        if sweep:
            _print_links(server.base_url, uri, sweep, console)
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


def _print_links(base_url: str, tracking_uri: str, sweep: str, console: Console) -> None:
    record = read_sweep(tracking_uri, sweep)
    console.print(f"front:  {front_link(base_url, record)}", highlight=False, soft_wrap=True)
    view = saved_view_link(open_client(tracking_uri), record)
    if view:
        console.print(f"charts: {base_url.rstrip('/')}/{view}", highlight=False, soft_wrap=True)


def place_of(name: str | None, written: str | None) -> tuple[str, str]:
    """The tracking URI and the sweep's name, from a sweep file, a sweep's folder, or what was given.

    Raises:
        ReviewError: a folder that is no sweep's, or whose sweep has not reached MLflow yet, or whose store has a login.
    """
    if name is not None and is_local(name) and local_path(name).is_dir():
        return _place_in(local_path(name), written)
    if name is not None and name.endswith((".yaml", ".yml")):
        from dualsweep.sweeps.planning.load import load_plan

        plan = load_plan(name, store=written or None)
        return store_of(written) if written else plan.tracking_uri, plan.experiment
    return store_of(written), name or ""


def _place_in(folder: Path, written: str | None) -> tuple[str, str]:
    file = folder / LEDGER
    if not file.is_file():
        remedy = "Name the output folder of a sweep, its file, or its experiment."
        raise ReviewError(f"A folder must be a sweep's, but got {folder}, where no sweep was tracked. {remedy}")
    kept = json.loads(file.read_text(encoding="utf-8"))
    run = (kept["runs"].get(SWEEP) or {}).get("run_id")
    if run is None:
        remedy = "End it, or go on with it while MLflow answers."
        raise ReviewError(f"A sweep must be in MLflow, but that of {folder} has not reached {kept['uri']} yet. {remedy}")
    if not written and "***" in kept["uri"]:
        remedy = "Name the store with --tracking-uri."
        raise ReviewError(f"A folder keeps no password, but the store {kept['uri']} of {folder} needs one. {remedy}")
    return store_of(written or kept["uri"]), run


def store_of(written: str | None) -> str:
    """The tracking URI that is meant (see `dualsweep.analysis.tracking_uri`)."""
    return tracking_uri(written)

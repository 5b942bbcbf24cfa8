"""The models of the front's trials in MLflow: each trial's run gets an artifact `model` that `mlflow.pyfunc.load_model` takes.

It holds the delivered (averaged) weights, not what training would need to go on. A trial that leaves the front keeps its model;
its tags tell. A run that has one, by its tag `dualsweep.model`, is left alone.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from dualsweep.analysis.front import Front
from dualsweep.analysis.store import download, open_client
from dualsweep.analysis.trials import Trial
from dualsweep.sweeps.tracking.leaving import without_secrets
from dualsweep.sweeps.tracking.pyfunc import save
from dualsweep.trainer.checks.model_files import ADAPTER
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.storage import MARKER, RESULT, as_described, described, filesystem, inside
from dualsweep.trainer.trust import is_own, remember

FOLDER = "model"
TAG = "dualsweep.model"
#: The ends of names of files that may tell a place with a login. Others are what the model reads back, its captions, classes and
#: tokenizers, and stay to the byte.
_PLACES = (".yaml", "config.json", "model_index.json")
#: Whose own files hold all of the weights: what lies under `training/` is then only for going on.
_WHOLE = ("unet/config.json", "transformer/config.json", ADAPTER)
_WEIGHTS = ("training/weights.safetensors", "training/average.safetensors")


def log_models(tracking_uri: str, front: Front, say: Callable[[str], None]) -> dict[str, str]:
    """Give each trial on the front its model; returns their addresses by trial id, and says which checkpoints are gone.

    Raises:
        ReviewError: there is no store at the tracking URI.
    """
    client = open_client(tracking_uri)
    made: dict[str, str] = {}
    gone = []
    for trial in front.trials:
        uri = f"runs:/{trial.run_id}/{FOLDER}"
        if trial.model == uri or _log(client, tracking_uri, trial, uri):
            made[trial.trial_id] = uri
        else:
            gone.append(trial.trial_id)
    if gone:
        shown = ", ".join(gone[:8]) + (f" and {len(gone) - 8} more" if len(gone) > 8 else "")
        say(f"no model was logged for trial{'s' if len(gone) > 1 else ''} {shown}: the checkpoint cannot be reached from here")
    return made


def _log(client: MlflowClient, tracking_uri: str, trial: Trial, uri: str) -> bool:
    """Upload a trial's model; says whether its checkpoint was there."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(tracking_uri, trial, Path(folder))
        if checkpoint is None or not _deliver(checkpoint, Path(folder) / "checkpoint"):
            return False
        save(Path(folder) / FOLDER, Path(folder) / "checkpoint")
        client.log_artifacts(trial.run_id, str(Path(folder) / FOLDER), FOLDER)
    client.set_tag(trial.run_id, TAG, uri)
    return True


def _checkpoint(tracking_uri: str, trial: Trial, folder: Path) -> str | None:
    """Where the trial's checkpoint is, from its artifact `result.json`; None where it is not, or was never logged."""
    try:
        result = json.loads(download(tracking_uri, trial, RESULT, str(folder)).read_bytes())
        place = result.get("checkpoint")
    except Exception:  # no such artifact, for which every store has an error of its own, or no JSON
        return None
    from dualsweep.trainer.checkpoint import locate  # loads torch, which takes seconds

    try:
        return locate(str(place)) if place else None
    except (OSError, ValueError):
        return None


def _deliver(checkpoint: str, into: Path) -> bool:
    """Copy what sampling needs of a checkpoint; says whether all of it was there."""
    files, root = filesystem(checkpoint)
    try:
        listed: dict[str, Any] = json.loads(files.cat_file(inside(files, root, MARKER)))
        paths = {name: inside(files, root, name) for name in listed}
        whole = any(name in listed for name in _WHOLE)
        needed = [name for name in listed if not name.startswith("training/") or (not whole and name in _WEIGHTS)]
        own = is_own(checkpoint)  # and so is its copy then
        read = {name: files.cat_file(paths[name]) for name in needed}
        content = {name: without_secrets(name, data) if name.endswith(_PLACES) else data for name, data in read.items()}
        for name, data in content.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(data)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, TrainingError):
        return False
    if own:
        remember(content, checkpoint)
    (into / MARKER).write_text(json.dumps({name: described(data) for name, data in content.items()}))
    return all(as_described(data, listed[name]) for name, data in read.items())

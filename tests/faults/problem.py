"""The small sweep that is disturbed, and what it has come to: in its own records, in its checkpoints and in MLflow."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from safetensors.torch import load_file

from dualsweep.sweeps import load_plan
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer.checkpoint import CheckpointFolder
from tests.pipeline.conftest import PARTS, RECIPE, trained_here
from tests.pipeline.runs_in_mlflow import runs_of

#: Training steps last so long, in seconds, that a trial takes some seconds and a random moment is one of its steps.
PACE = 0.03
_RECIPE = {
    **RECIPE,
    "model": {"call": "parts:good"},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.3}],
    "dual": {"step_size": 0.01},
    "train": {"steps": 200, "batch_size": 16, "lr": 2e-3, "log_every": 10},
    "evaluation": {"samples": 0, "loss_draws": 16, "metrics": []},
    "checkpoint": {"every": 20},
    "resources": {"retries": 5},
}
_SWEEP = {
    "name": "tiny-sweep",
    "recipe": "recipe.yaml",
    "search": {"dual.step_size": {"choice": [0.01, 0.02, 0.03, 0.04]}},
    "sampler": {"name": "grid", "seed": 1},
    "concurrency": 1,
}


def put_sweep(folder: Path, hosting: str, workers: int, trials: int, steps: int, store: str) -> None:
    """Writes the sweep, its recipe and the module `parts` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    train = {**_RECIPE["train"], "steps": steps}  # type: ignore[dict-item]  # a dictionary
    sweep = {**_SWEEP, "hosting": hosting, "trials": trials, "mlflow": {"tracking_uri": store}}
    resources = {**_RECIPE["resources"], "workers": workers}  # type: ignore[dict-item]  # a dictionary
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**_RECIPE, "train": train, "resources": resources}))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    # Workers of a cluster that was joined run elsewhere, with a copy of this folder.
    parts = PARTS.replace('Path("calls")', f"Path({str(folder / 'calls')!r})").replace(
        'Path("slow")', f"Path({str(folder / 'slow')!r})"
    )
    # Nodes in namespaces number their processes each from 1.
    parts = parts.replace("{os.getpid()}", "{os.uname().nodename}:{os.getpid()}")
    (folder / "parts.py").write_text(parts.replace("0.15 if", f"{PACE} if"))
    (folder / "slow").touch()


@dataclass(frozen=True)
class Outcome:
    """What a sweep has come to.

    `statuses` and `multipliers` are each trial's, `weights` the SHA-256 of all tensors of its last checkpoint, `points` what
    MLflow shows: (trial, metric, step) with its value and how often it stands there, without clocks' metrics.
    """

    statuses: Mapping[str, str]
    multipliers: Mapping[str, Mapping[str, float]]
    weights: Mapping[str, str]
    points: Mapping[str, int]

    @classmethod
    def of(cls, folder: Path, store: str) -> Self:
        statuses, multipliers, weights = {}, {}, {}
        for file in sorted((folder / "runs/tiny-sweep/records").glob("*.json")):
            result = json.loads(file.read_text())["result"]
            statuses[file.stem] = result["status"]
            multipliers[file.stem] = {name: each["multiplier"] for name, each in result["constraints"].items()}
            weights[file.stem] = digest(folder / "runs/tiny-sweep/trials" / file.stem / "checkpoints")
        return cls(statuses, multipliers, weights, _points(store))

    def same_training(self, other: Outcome) -> bool:
        """Whether trials ended alike, with the same multipliers and weights to the bit."""
        return (self.statuses, self.multipliers, self.weights) == (other.statuses, other.multipliers, other.weights)

    def lost(self, reference: Outcome) -> int:
        """Points of the reference that are not here, or have another value."""
        return sum((Counter(set(reference.points)) - Counter(set(self.points))).values())

    def doubled(self, reference: Outcome) -> int:
        """Points that stand here more often than in the reference."""
        return sum(max(0, count - max(1, reference.points.get(point, 0))) for point, count in self.points.items())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def trained_alone(folder: Path, place: Path) -> tuple[dict[str, str], dict[str, float]]:
    """The weights, as `Outcome` has them, and the multiplier of each trial of a sweep that has ended, trained in this process."""
    weights, multipliers = {}, {}
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        here.syspath_prepend(str(folder))
        here.delitem(sys.modules, "parts", raising=False)
        (folder / "slow").unlink()
        plan = load_plan("sweep.yaml")
        for record in TrialRecord.load_all(folder / "runs" / plan.name):
            [*_, last] = trained_here(plan.trial_recipe(record.params), place / record.id)
            weights[record.id] = digest(place / record.id / "checkpoints")
            multipliers[record.id] = last["metrics"]["multiplier/four"]
    return weights, multipliers


def digest(checkpoints: Path) -> str:
    """The SHA-256 of all tensors of the newest checkpoint."""
    newest = CheckpointFolder(str(checkpoints)).newest()
    digested = hashlib.sha256()
    for file in sorted(Path(newest or "").glob("training/*.safetensors")) if newest else []:
        for name, tensor in sorted(load_file(file).items()):
            digested.update(f"{file.stem} {name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digested.update(tensor.contiguous().view(-1).numpy().tobytes())
    return digested.hexdigest()


def _points(store: str) -> dict[str, int]:
    client, _, children = runs_of(store)
    counts: Counter[str] = Counter()
    for trial, run in children.items():
        for metric in run.data.metrics:
            if not metric.startswith(("system/", "pareto/")):
                history = client.get_metric_history(run.info.run_id, metric)
                counts.update(f"{trial} {metric} {each.step} {each.value!r}" for each in history)
    return dict(counts)

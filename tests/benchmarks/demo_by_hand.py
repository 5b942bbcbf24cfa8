"""The demo's trials as one would write them without dualsweep: Ray Tune, OptunaSearch and MLflow around one's own training loop.

The same network, schedule, optimiser, batches from the λ-mixture, dual ascent and number of steps; at the end the losses over as
many draws, as many samples by as many steps, their class shares by a classifier, and a picture. It leaves out the review,
figures, verdicts, checkpoints, and any way to continue.

    python -m tests.benchmarks.demo_by_hand FOLDER
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MINORITIES = (4, 5, 7)
STEPS, BATCH, DUAL_EVERY, LOG_EVERY = 400, 64, 5, 10
DRAWS, SAMPLES, SAMPLE_STEPS = 4096, 500, 20


def data() -> list[Any]:
    """The objective's images and those of each minority, in [-1, 1]."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = torch.tensor(digits.images / 8 - 1, dtype=torch.float32)[:, None], digits.target
    rng = np.random.default_rng(0)
    kept = [rng.permutation(np.flatnonzero(labels == c)) for c in range(10)]
    kept = [rows[: len(rows) // 10] if c in MINORITIES else rows for c, rows in enumerate(kept)]
    return [images[np.concatenate(kept)], *(images[kept[c]] for c in MINORITIES)]


def train(config: dict[str, Any]) -> None:
    import mlflow
    import numpy as np
    import torch
    from diffusers import DDIMScheduler
    from ray import tune

    parts, average, losses, history = trained(config)
    rng = np.random.default_rng(1)
    average.eval()
    with torch.no_grad():
        final = [
            np.mean([losses(average, rows[rng.integers(len(rows), size=256)]).mean().item() for _ in range(DRAWS // 256)])
            for rows in parts
        ]
        sampler = DDIMScheduler(200, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
        sampler.set_timesteps(SAMPLE_STEPS)
        samples = torch.randn(SAMPLES, 1, 8, 8)
        for t in sampler.timesteps:
            samples = sampler.step(average(samples, t).sample, t, samples).prev_sample
    largest = float(max(value - final[0] for value in final[1:]))
    metrics: dict[str, float] = {"objective": float(final[0]), "value_max": largest, **judged(samples)}
    log(mlflow, config, history, metrics, samples)
    tune.report(metrics)


def trained(config: dict[str, Any]) -> tuple[list[Any], Any, Callable[..., Any], list[tuple[int, dict[str, float]]]]:
    """The data of each part, the averaged network, the losses [B] of a network on examples, and the points by step."""
    import numpy as np
    import torch
    from diffusers import DDPMScheduler, UNet2DModel
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    parts, rng = data(), np.random.default_rng(0)
    schedule = DDPMScheduler(200, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    model = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), add_attention=False,
    )  # fmt: skip
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.0, fused=True)

    def losses(network: torch.nn.Module, x: torch.Tensor) -> Any:
        noise, t = torch.randn_like(x), torch.randint(0, 200, (len(x),))
        target = schedule.get_velocity(x, noise, t)
        return ((network(schedule.add_noise(x, noise, t), t).sample - target) ** 2).flatten(1).mean(1)

    multipliers, sums, counts = np.full(3, 0.1), np.zeros(4), np.zeros(4)
    history: list[tuple[int, dict[str, float]]] = []
    for step in range(STEPS):
        coefficients = np.array([1 - multipliers.sum(), *multipliers])  # budgets are relative to the objective
        shares = np.abs(coefficients) / np.abs(coefficients).sum()
        sizes = np.maximum(np.floor(shares * BATCH).astype(int), [1, 8, 8, 8])
        sizes[0] = max(1, BATCH - sizes[1:].sum())
        part = np.repeat(np.arange(4), sizes)
        x = torch.cat([rows[rng.integers(len(rows), size=size)] for rows, size in zip(parts, sizes, strict=True)])
        values = losses(model, x)
        weights = (coefficients / np.abs(coefficients).sum() / sizes)[part]
        optimizer.zero_grad()
        (values @ torch.tensor(weights, dtype=torch.float32)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 50) * max(0.02, min(1.0, (STEPS - step) / 280))
        optimizer.step()
        average.update_parameters(model)
        plain = values.detach().numpy()
        sums += np.bincount(part, plain, 4)
        counts += np.bincount(part, minlength=4)
        if (step + 1) % DUAL_EVERY == 0:
            means = sums / counts
            slack = config["budget"] - (means[1:] - means[0])
            falling = 0.5 * (1.0 + math.cos(math.pi * step / STEPS))
            multipliers = np.maximum(0.0, multipliers - falling * config["step_size"] * slack)
            sums, counts = np.zeros(4), np.zeros(4)
            if (step + 1) % LOG_EVERY == 0:
                named = {f"slack/{c}": v for c, v in zip(MINORITIES, slack, strict=True)}
                named |= {f"multiplier/{c}": v for c, v in zip(MINORITIES, multipliers, strict=True)}
                history.append((step + 1, {"objective": means[0], **named}))

    return parts, average, losses, history


def judged(samples: Any) -> dict[str, float]:
    """The share of each minority among the samples, by a classifier of the whole data."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    digits = load_digits()
    judge = SVC(gamma=0.001).fit(digits.data, digits.target)
    classes = judge.predict(np.clip((samples.numpy().reshape(len(samples), -1) + 1) * 8, 0, 16))
    return {f"share/{c}": float((classes == c).mean()) for c in MINORITIES}


def log(mlflow: Any, config: dict[str, Any], history: list[Any], metrics: dict[str, float], samples: Any) -> None:
    """One run with all points in one call, and the samples as a picture."""
    import matplotlib
    from mlflow.entities import Metric

    matplotlib.use("agg")
    from matplotlib import pyplot

    mlflow.set_tracking_uri(config["store"])
    mlflow.set_experiment("by-hand")
    with mlflow.start_run() as run:
        mlflow.log_params(config)
        points = [Metric(name, float(value), 0, step) for step, row in history for name, value in row.items()]
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points)
        mlflow.log_metrics({name: float(value) for name, value in metrics.items() if math.isfinite(value)})
        grid = samples[:64, 0].reshape(8, 8, 8, 8).permute(0, 2, 1, 3).reshape(64, 64)
        pyplot.imsave(Path(config["pictures"]) / f"{run.info.run_id}.png", grid.numpy(), cmap="gray")
        mlflow.log_artifact(str(Path(config["pictures"]) / f"{run.info.run_id}.png"))


def main(folder: Path) -> None:
    import mlflow
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    store = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(store)
    mlflow.create_experiment("by-hand", artifact_location=str(folder / "artifacts"))
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    search = OptunaSearch(metric=["objective", "value_max"], mode=["min", "min"], sampler=optuna.samplers.TPESampler(seed=0))
    space = {
        "step_size": tune.loguniform(0.05, 0.25),
        "budget": tune.uniform(-0.06, 0.08),
        "store": store,
        "pictures": str(folder),
    }
    results = tune.Tuner(
        tune.with_resources(train, {"CPU": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(search_alg=search, num_samples=12, max_concurrent_trials=2, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()
    ray.shutdown()
    sys.exit(results.num_errors > 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())

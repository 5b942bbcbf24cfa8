"""What a trial costs beside its training: ours, plain Tune functions that reuse their actors, and Ray Train inside Tune.

    python -m tests.benchmarks.bench_trial_start [--trials 40] [--nested 4] [--most 6]

Each trial is the same training of about a second (digits, no samples, 64 loss draws, no figures; a checkpoint at its end), one
at a time; ours has its tracking and its study on. Seconds a trial are from the end of the first to the end of the last, over
those after the first. Sides take turns until the ratio's 95 % interval is within 5 %, at most `--most` times. Exits with 1
where a row fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks.rows import RUNS, Interval, holds
from tests.isolated import prefix

RECIPE: dict[str, Any] = {
    "name": "second",
    "formulation": "constrained_training",
    "model": {"unet": {"channels": [8, 16]}},
    "schedule": {"timesteps": 50},
    "data": {"source": "digits", "keep": {4: 0.1}},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.3}],
    "dual": {"step_size": 0.05},
    "train": {"steps": 60, "batch_size": 16, "lr": 2e-3},
    "evaluation": {"samples": 0, "loss_draws": 64, "metrics": [], "grid": 0},
    "feasibility": {"draws": 64},
}
SWEEP: dict[str, Any] = {
    "name": "seconds", "recipe": "recipe.yaml", "search": {"constraints.four.at_most": {"uniform": [0.1, 0.6]}},
    "sampler": {"name": "random", "seed": 0}, "concurrency": 1,
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db", "trajectories": False},
}  # fmt: skip
#: What the ratio's interval must reach.
OVER_PLAIN, OVER_NESTED, CPU_BESIDE = 1.2, 0.2, 0.3


def busy() -> float:
    """CPU seconds that this machine has spent on all but waiting."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(numbers[:3]) + sum(numbers[5:7])) / os.sysconf("SC_CLK_TCK")


def ours(count: int) -> list[tuple[float, float]]:
    """When each trial of a sweep had ended, and the machine's CPU seconds then."""
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    Path("sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "trials": count}))
    process = subprocess.Popen([sys.executable, "-m", "dualsweep", "sweep", "sweep.yaml"], stdout=subprocess.DEVNULL)
    ends: list[tuple[float, float]] = []
    records = Path("runs/seconds/records")
    running = True
    while running:
        running = process.poll() is None  # asked first: the last record is there before the end
        done = len(list(records.glob("*.json"))) if records.exists() else 0
        ends += [(time.monotonic(), busy())] * (done - len(ends))
        time.sleep(0.01)
    assert process.returncode == 0 and len(ends) == count
    return ends


def train(budget: float, folder: str) -> float:
    """The same training in this process; its objective."""
    import torch

    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.dual.coordinator import InProcess
    from dualsweep.trainer.engine.dual_side import controller_of
    from dualsweep.trainer.engine.host import LocalHost
    from dualsweep.trainer.engine.worker import run_worker
    from dualsweep.trainer.recipe.recipe import Recipe

    torch.set_num_threads(1)
    recipe = Recipe.model_validate({**RECIPE, "constraints": [{**RECIPE["constraints"][0], "at_most": budget}]})
    result = run_worker(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(f"{folder}/checkpoints")), folder)
    assert result is not None and result.objective is not None
    return result.objective


def tuned(count: int, nested: bool) -> list[tuple[float, float]]:
    """The same of Tune's trials: functions that train, or that start a Train run for it, as Ray's guide has it."""
    import ray
    from ray import tune

    ends: list[tuple[float, float]] = []

    class Ends(tune.Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ends.append((time.monotonic(), busy()))

    def in_place(config: dict[str, Any]) -> None:
        tune.report({"objective": train(config["budget"], tempfile.mkdtemp())})

    def within(config: dict[str, Any]) -> None:
        import ray.train
        from ray.train.torch import TorchTrainer
        from ray.tune.integration.ray_train import TuneReportCallback

        def worker(config: dict[str, Any]) -> None:
            ray.train.report({"objective": train(config["budget"], tempfile.mkdtemp())})

        told: list[Any] = [TuneReportCallback()]
        run = ray.train.RunConfig(name=f"nested-{time.time_ns()}", storage_path=tempfile.mkdtemp(), callbacks=told)
        TorchTrainer(
            worker, train_loop_config=config, scaling_config=ray.train.ScalingConfig(num_workers=1), run_config=run
        ).fit()

    ray.init(address="local", include_dashboard=nested, log_to_driver=False)
    trainable = tune.with_resources(within, {"CPU": 0, "memory": 2**29}) if nested else tune.with_resources(in_place, {"CPU": 1})
    tune.Tuner(
        trainable,
        param_space={"budget": tune.uniform(0.1, 0.6)},
        tune_config=tune.TuneConfig(num_samples=count, max_concurrent_trials=1, reuse_actors=not nested),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), callbacks=[Ends()], verbose=0),
    ).fit()
    ray.shutdown()
    assert len(ends) == count
    return ends


def alone(count: int) -> list[tuple[float, float]]:
    """The trainings and nothing beside them, in one process."""
    ends = []
    for _ in range(count):
        train(0.3, tempfile.mkdtemp())
        ends.append((time.monotonic(), busy()))
    return ends


SIDES = {"ours": ours, "plain": lambda count: tuned(count, False), "nested": lambda count: tuned(count, True), "alone": alone}


def side(name: str, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of a trial of one side, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="dualsweep-bench-", ignore_cleanup_errors=True) as folder:
        command = [
            *(prefix() or []),
            sys.executable,
            "-m",
            "tests.benchmarks.bench_trial_start",
            "--side",
            name,
            "--trials",
            str(count),
        ]
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": root, "DUALSWEEP_NETNS": "1"},
            check=True,
            stdout=subprocess.PIPE,
        )
        ends = json.loads(done.stdout.splitlines()[-1])
    (first, used), (last, used_last) = ends[0], ends[-1]
    return (last - first) / (count - 1), (used_last - used) / (count - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--nested", type=int, default=4)
    parser.add_argument("--most", type=int, default=6)
    parser.add_argument("--side", choices=SIDES)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(SIDES[options.side](options.trials)))
        return
    training, training_cpu = side("alone", options.trials)
    nested, _ = side("nested", options.nested)
    print(
        f"the training alone: {training:.2f} s, {training_cpu:.2f} CPU-s a trial; Train inside Tune: {nested:.2f} s a trial",
        flush=True,
    )
    ratios, beside, within = list[float](), list[float](), list[float]()
    for _ in range(options.most):
        (mine, cpu), (plain, _) = side("ours", options.trials), side("plain", options.trials)
        ratios.append(mine / plain)
        within.append(mine / nested)
        beside.append(cpu - training_cpu)
        print(f"ours {mine:.2f} s, {cpu:.2f} CPU-s a trial; plain Tune functions {plain:.2f} s", flush=True)
        if len(ratios) > 1 and Interval.of(ratios).half_width <= RUNS:
            break
    kept = [
        Interval.of(ratios).holds("seconds a trial over plain Tune functions'", f"<= {OVER_PLAIN}", RUNS),
        holds("seconds a trial over those of Train inside Tune", statistics.median(within), f"<= {OVER_NESTED}"),
        holds("CPU seconds a trial beside its training", statistics.median(beside), f"<= {CPU_BESIDE}"),
    ]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()

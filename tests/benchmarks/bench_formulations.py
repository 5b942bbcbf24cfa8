"""The formulations on the digits, each against its baseline: one table, mean and spread over seeds.

    python -m tests.benchmarks.bench_formulations [--seeds 3] [--quick] [--only alignment …] [--output runs/bench-formulations]

Every run is a shipped recipe with a few keys set. All run in this process with one torch thread, one after the other, from
pretrained models that are made first, once for all seeds. Running it again continues it; finished runs are not run again.
`--quick` takes a tenth of the steps, to see that it works; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.terms.losses import Noised, weighted_errors

ROOT = Path(__file__).parent.parent.parent
WEIGHTS = (0.5, 1.0, 1.5, 2.0, 3.0)
THRESHOLDS = (0.25, 0.5, 1.0)
BRIGHTNESS = "constraints=[{{name: brightness, reward: brightness, at_least: {}}}]"
FIXED = ("dual.rule=fixed", "dual.start=1.0")
FLOW = "rollout.flow={look_ahead: none, lr: 5.0e-3}"
PRETRAINED = {
    "digits-without-nines": ("pretraining", ()),
    "digits-358": ("class-model", ()),
    "digits-359": ("class-model", ("objective.data.classes=[3, 5, 9]",)),
    "digits-046": ("class-model", ("objective.data.classes=[0, 4, 6]",)),
    "digits-bright": ("alignment", (BRIGHTNESS.format(1.0),)),
}
#: Each comparison's runs: a shipped recipe, and what is set over it.
RUNS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "fine-tuning": {"constrained": ("fine-tuning", ()), "unconstrained": ("fine-tuning", ("dual.rule=fixed",))},
    "alignment": {
        "constrained": ("alignment", ()),
        **{f"weights {each}": ("alignment", ("dual.rule=fixed", f"dual.start={each}")) for each in WEIGHTS},
    },
    "thresholds": {f"threshold {each}": ("alignment", (BRIGHTNESS.format(each),)) for each in THRESHOLDS},
    "and": {"constrained": ("composition-and", ()), "equal weights": ("equal-weights", ())},
    "or": {"constrained": ("composition-or", ()), "equal weights": ("composition-or", ("dual.rule=fixed",))},
    "combined": {"constrained": ("combined-alignment", ())},
    "black box": {
        "policy gradient": ("black-box", FIXED),
        "DAG": ("black-box", (*FIXED, "rollout.gradient=dag", FLOW)),
        "DAG-KL": ("black-box", (*FIXED, "rollout.gradient=dag_kl", FLOW)),
    },
}
Results = Mapping[str, Result]


class Bench:
    """Runs that are kept in a folder, from pretrained models that are kept there too."""

    def __init__(self, output: Path, quick: bool) -> None:
        self.output, self.quick = output, quick

    def result(self, name: str, recipe: str, sets: tuple[str, ...], seed: int) -> Result:
        folder = self.output / f"seed-{seed}" / name.replace(" ", "-")
        if (folder / "result.json").exists():
            return Result.from_json(json.loads((folder / "result.json").read_text()))
        spec = self._recipe(recipe, (*sets, f"seed={seed}"))
        host = LocalHost(InProcess(controller_of(spec)), CheckpointFolder(str(folder / "checkpoints")))
        result = run_worker(spec, host, str(folder), str(self.output / "judges"))
        assert result is not None
        values = {each: (round(one.value, 4), round(one.slack_error, 4)) for each, one in result.constraints.items()}
        print(f"seed {seed} {name}: {result.status}, {values}, {result.seconds:.0f} s", flush=True)
        return result

    def _recipe(self, name: str, sets: tuple[str, ...]) -> Recipe:
        """The recipe, with its pretrained models where this benchmark keeps them."""
        file = ROOT / f"sweeps/recipes/{name}.yaml"
        shipped, _ = load_recipe(file, sets)
        places = {"model.load": shipped.model.load, **{f"models.{each}.load": one.load for each, one in shipped.models.items()}}
        moved = [f"{key}={self._pretrained(Path(load).parts[1])}" for key, load in places.items() if load is not None]
        if self.quick:
            steps = max(1, shipped.train.steps // 10 // shipped.dual.every) * shipped.dual.every
            moved += [f"train.steps={steps}", "evaluation.loss_draws=128", "evaluation.samples=32"]
        return load_recipe(file, [*sets, *moved, "checkpoint.every=1000000"])[0]

    def _pretrained(self, name: str) -> str:
        recipe, sets = PRETRAINED[name]
        return str(self.result(name, recipe, (f"name={name}", *sets), seed=0).checkpoint)


def kept(result: Result) -> float:
    """Of the classes that the pretrained model knew, how many the samples still hold: at least 2 % of them each."""
    return sum(result.metrics[f"eval/share/{label}"] >= 0.02 for label in range(9))


def fine_tuning(runs: Results) -> dict[str, float]:
    return {
        f"{what}, {name}": value
        for name, run in runs.items()
        for what, value in (
            ("classes kept of 9", kept(run)), ("share of the 9s, %", 100 * run.metrics["eval/share/9"]),
            ("Fréchet distance", run.metrics["eval/frechet"]), ("closeness over budget", worst(run)),
        )
    }  # fmt: skip


def worst(result: Result) -> float:
    """The largest violation of a constraint, in standard errors; met within 2."""
    return max(-each.slack / each.slack_error for each in result.constraints.values())


def alignment(runs: Results) -> dict[str, float]:
    constrained = runs["constrained"]
    feasible = [run.objective for name, run in runs.items() if name != "constrained" and worst(run) <= 2]
    rows = {"KL, constrained": constrained.objective, "worst violation in standard errors": worst(constrained)}
    rows |= {f"KL, {name}": run.objective for name, run in runs.items() if name != "constrained"}
    rows |= {f"worst violation, {name}": worst(run) for name, run in runs.items() if name != "constrained"}
    return {**rows, "least KL of fixed weights that meet both": min(feasible, default=np.nan), **multipliers(constrained)}


def multipliers(result: Result) -> dict[str, float]:
    return {f"multiplier of {name}": each.multiplier for name, each in result.constraints.items()}


def thresholds(runs: Results) -> dict[str, float]:
    rows: dict[str, float] = {}
    for name, run in runs.items():
        each = run.constraints["brightness"]
        rows |= {f"KL, {name}": run.objective, f"multiplier, {name}": each.multiplier, f"reward, {name}": each.value}
    return rows


def composition(runs: Results) -> dict[str, float]:
    rows: dict[str, float] = {}
    for name, run in runs.items():
        values = [each.value for each in run.constraints.values()]
        rows |= {f"largest, {name}": max(values), f"largest - smallest, {name}": max(values) - min(values)}
    return {**rows, **multipliers(runs["constrained"])}


#: The timestep from which KLs of mixtures are summed, as in composition-and.yaml.
FIRST = 60


@torch.no_grad()
def mixture(runs: Results) -> dict[str, float]:
    """As `composition`, and the KLs of the three models to the mixture, both noised to timestep `FIRST`, in nats."""
    rows = composition(runs)
    for name, run in runs.items():
        values = np.array(
            [forward_kl(str(run.checkpoint), str(each.load)) for each in recipe_of(str(run.checkpoint)).models.values()]
        )
        rows |= {f"largest KL, {name}": values.max(), f"largest - smallest KL, {name}": values.max() - values.min()}
    return rows


def forward_kl(trained: str, source: str) -> float:
    """KL(q || p) of the frozen model in the checkpoint `source` to the one in `trained`, on the samples of q's own run."""
    (p, schedule, *_), (q, *_) = restore(trained), restore(source)
    x = torch.from_numpy(np.load(Path(source).parent.parent / "samples.npy")).repeat(4, 1, 1, 1)
    timesteps = schedule.config.num_train_timesteps
    t = FIRST + torch.arange(len(x)) % (timesteps - FIRST)
    noised = Noised(schedule, x, torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), t)
    errors = weighted_errors(schedule, p(noised.noisy, t), q(noised.noisy, t), t, "elbo", FIRST)
    return float(errors.mean() * (timesteps - FIRST) / timesteps)


def combined(runs: Results) -> dict[str, float]:
    run = runs["constrained"]
    away, reward = (run.constraints[name] for name in ("bright", "local-contrast"))
    other = run.objective + away.value
    return {
        "KL to the pretrained": run.objective, "KL to the bright": other,
        "difference of KLs, % of the larger": 100 * abs(away.value) / max(run.objective, other),
        "reward violation, %": 100 * reward.violation / abs(reward.budget),
        "reward violation in standard errors": reward.violation / reward.slack_error, **multipliers(run),
    }  # fmt: skip


def black_box(runs: Results) -> dict[str, float]:
    """At the same number of evaluations of the reward: none looks ahead."""
    rows: dict[str, float] = {}
    for name, run in runs.items():
        size = run.constraints["size"].value
        found = {"KL": run.objective, "size": size, "KL + size": run.objective + size}
        rows |= {f"{what}, {name}": value for what, value in found.items()}
    return rows


ROWS: dict[str, Callable[[Results], dict[str, float]]] = {
    "fine-tuning": fine_tuning, "alignment": alignment, "thresholds": thresholds, "and": composition, "or": mixture,
    "combined": combined, "black box": black_box,
}  # fmt: skip


def table(rows: Mapping[str, list[dict[str, float]]]) -> None:
    for name, seeds in rows.items():
        print(f"\n{name} ({len(seeds)} seeds)")
        for key in seeds[0]:
            values = np.array([each[key] for each in seeds])
            spread = f" ± {values.std(ddof=1):.3g}" if len(values) > 1 else ""
            print(f"  {key:<48} {values.mean():10.4g}{spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-formulations")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.output / "quick" if options.quick else options.output, options.quick)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in options.only}
    for seed in range(1 if options.quick else options.seeds):
        for name in options.only:
            results = {run: bench.result(f"{name} {run}", *what, seed) for run, what in RUNS[name].items()}
            rows[name].append(ROWS[name](results))
    table(rows)


if __name__ == "__main__":
    main()

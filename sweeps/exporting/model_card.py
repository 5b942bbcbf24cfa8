"""The card of an exported model, `README.md`: how to sample it, what was asked of it, and what became of that."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import dualsweep
from dualsweep.sweeps.records.explained import Explained
from dualsweep.trainer.amortised.front import AmortisedFront, FrontPoint
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.masking import masked_in
from dualsweep.trainer.exporting.folder import Exported
from dualsweep.trainer.metric_names import EVALUATION, sure, tells_of_another
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import ConstraintOutcome

_TASK = {True: "text-to-image", False: "unconditional-image-generation"}
_ASKED = {"at_most": "at most", "at_least": "at least", "equals": "equal to", "minimax": "the largest least"}

#: Those of diffusers' DDIMPipeline unless it is told.
_STEPS = 50


def model_card(
    exported: Exported, recipe: Recipe, explained: Explained | None, multipliers: Mapping[str, float] | None,
    front: AmortisedFront | None = None,
) -> str:  # fmt: skip
    """The card in Markdown; `explained` is None of a checkpoint that its training did not deliver, `front` of a model that is not
    amortised.
    """
    task = _TASK[bool(exported.prompts)]
    own = front.last if front is not None and at_others(multipliers, front) else None
    parts = [
        f"---\nlibrary_name: diffusers\npipeline_tag: {task}\ntags: [diffusers, dualsweep, constrained]\n---",
        f"# {recipe.name}",
        f"A diffusion model that was trained under constraints ({recipe.formulation.replace('_', ' ')}) by dualsweep.",
        _sampling(exported, recipe, "by the steps that the model was evaluated by" if own else "as the model was evaluated"),
        *_outcome(recipe, explained, own),
        *(_amortised(multipliers, front) if multipliers is not None else []),
        _origin(recipe),
    ]
    return "\n\n".join(parts) + "\n"


def at_others(multipliers: Mapping[str, float] | None, front: AmortisedFront | None) -> bool:
    """Whether a model is taken at other multipliers than its recipe's, at which its training's outcome was measured."""
    if multipliers is None or front is None:
        return False
    return {name: multipliers.get(name, 0.0) for name in front.last} != dict(front.last)


def _sampling(exported: Exported, recipe: Recipe, how: str) -> str:
    sampling = recipe.sampling
    text = (
        "## Sampling\n\n```python\nfrom diffusers import DiffusionPipeline\n\n"
        'pipeline = DiffusionPipeline.from_pretrained(FOLDER, custom_pipeline=FOLDER, trust_remote_code=True)\n'
        "pipeline(batch_size=16).images\n```\n\n"
        f"`pipeline.py` samples {how}: {exported.steps} steps of `{sampling.sampler}`"
        f"{_of_noise(recipe)}. It needs torch and diffusers{' with transformers' if exported.prompts else ''}, nothing else."
    )  # fmt: skip
    text += _others(exported)
    if exported.prompts:
        text += f" Its prompts unless others are given: {', '.join(f'`{each}`' for each in exported.prompts[:8])}."
    if exported.pipeline is None:
        return text
    # diffusers takes 50 steps unless told, and refuses more than there are timesteps.
    call = f"pipeline(num_inference_steps={exported.timesteps})" if exported.timesteps < _STEPS else "pipeline()"
    if exported.prompts:
        size = f", height={exported.size[0]}, width={exported.size[1]}" if exported.size is not None else ""
        led = f"num_inference_steps={exported.steps}, guidance_scale={exported.guidance:g}"
        led += f", negative_prompt={_quoted(exported.negative)}" if exported.negative is not None else ""
        call = f"pipeline({_quoted(exported.prompts[0])}, {led}{size})"
    weak = " It takes guidance below 1 for none." if exported.prompts and exported.guidance < 1 else ""
    return (
        f"{text}\n\nWithout `pipeline.py`, `DiffusionPipeline.from_pretrained(FOLDER)` is diffusers' own {exported.pipeline}, "
        f"and samples by its scheduler: `{call}`.{weak} Figures below are those of `pipeline.py`."
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _others(exported: Exported) -> str:
    """What the call takes beside the number of samples."""
    taken = {"prompt": exported.prompts, "class_labels": exported.classes, "guidance_scale": exported.guided}
    words = [f"`{word}`" for word, there in taken.items() if there]
    return f" The call takes {' and '.join(words)} too." if words else ""


def _of_noise(recipe: Recipe) -> str:
    return f" with eta {recipe.sampling.eta:g}" if recipe.sampling.sampler == "rollout" else ""


def _outcome(recipe: Recipe, explained: Explained | None, own: Mapping[str, float] | None) -> list[str]:
    """What was asked, and what became of it; at its `own` multipliers, where the model is taken at others."""
    if explained is None:
        return ["## Constraints\n\nThis is a checkpoint of a training that did not end with it: there are no verdicts on it."]
    result = explained.result
    there = " at the recipe's multipliers" if own else ""
    which = f"{there}, {_at(own)}" if own else ""
    words = {each.name: each.word for each in explained.verdicts}
    relative = {each.name for each in recipe.constraints if each.relative_to is not None}
    rows = [_row(name, words.get(name, "unknown"), each, name in relative) for name, each in result.constraints.items()]
    table = "| constraint | asked | value | slack | multiplier | standing | verdict |\n|---|---|---|---|---|---|---|"
    sentences = [f"- {each.name}: {each.sentence}" for each in explained.verdicts]
    better = "largest" if recipe.maximizes else "least"
    parts = [
        f"## Constraints{which}\n\n{result.status.replace('_', ' ')}: {result.reason}.",
        f"Objective, the {better} possible under the constraints: {_figure(result.objective, result.objective_error)}.",
    ]
    if rows:
        parts += ["\n".join([table, *rows]), "\n".join(sentences)]
        parts.append("Slack is budget - value: positive is room left. A multiplier is the price of its budget in the objective.")
    return [*parts, *_measured(result.metrics, there)]


def _amortised(multipliers: Mapping[str, float], front: AmortisedFront | None) -> list[str]:
    """At which multipliers it is, how it is asked at others, and what was measured there."""
    asked = ", ".join(f'"{name}": {value:.4g}' for name, value in multipliers.items())
    parts = [
        f"## Other multipliers\n\nThe network was amortised over multipliers, and is taken here at: {_at(multipliers)}. "
        f"`pipeline.py` takes any:\n\n```python\npipeline(batch_size=16, multipliers={{{asked}}}).images\n```"
    ]
    if front is None:
        return parts
    heads = [*(f"multiplier of {name}" for name in front.names), "objective", *(f"value of {name}" for name in front.names)]
    lines = [heads, ["---"] * len(heads), *(_measured_point(point, front.names) for point in front.points)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return [*parts, f"What was measured over their range:\n\n{table}"]


def _at(multipliers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in multipliers.items())


def _measured_point(point: FrontPoint, names: Sequence[str]) -> list[str]:
    values = [_figure(point.values[name], point.value_errors[name]) for name in names]
    return [*(f"{point.multipliers[name]:.4g}" for name in names), _figure(point.objective, point.objective_error), *values]


def _row(name: str, word: str, outcome: ConstraintOutcome, relative: bool) -> str:
    budget = "" if outcome.kind == "minimax" else f" {outcome.budget:.4g}"
    asked = f"{_ASKED[outcome.kind]}{budget}{' above the objective' if relative else ''}"
    figures = [f"{outcome.value:.4g}", _figure(outcome.slack, outcome.slack_error)]
    figures.append(_figure(outcome.multiplier, outcome.multiplier_error))
    return f"| {' | '.join([name, asked, *figures, outcome.standing, word])} |"


def _figure(value: float, error: float) -> str:
    return f"{value:.4g}" if math.isnan(error) else f"{value:.4g} ± {error:.2g}"


def _measured(metrics: Mapping[str, float], there: str) -> list[str]:
    """The metrics of the samples, each with how sure it is; `there` is at which multipliers."""
    names = [each for each in metrics if each.startswith(EVALUATION) and not tells_of_another(each, metrics)]
    if not names:
        return []
    rows = [f"| {name.removeprefix(EVALUATION)} | {metrics[name]:.4g}{sure(name, metrics)} |" for name in sorted(names)]
    return ["\n".join([f"## Measured of its samples{there}\n", "| metric | value |", "|---|---|", *rows])]


def _origin(recipe: Recipe) -> str:
    """The data and the whole recipe, and what it was exported by."""
    data = recipe.data.model_dump(mode="json", exclude_none=True) if recipe.data is not None else "none"
    commit = _commit()
    where = f", in a working directory at commit {commit}" if commit else ""
    written = yaml_core.write(masked_in({"data": data})).strip()
    return (
        f"## Origin\n\n```yaml\n{written}\n```\n\nThe whole recipe is in `recipe.yaml`, seed {recipe.seed}. Exported by "
        f"dualsweep {dualsweep.__version__}{where}."
    )


def _commit() -> str | None:
    """The commit of the working directory, and whether something was changed since; None outside a repository."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"], capture_output=True, text=True, check=True,
            cwd=Path.cwd(),
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip().replace("-dirty", " with changes") or None

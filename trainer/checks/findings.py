"""What a check found beside mistakes: the data, the model and the schedule, in words, and what is seldom meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dualsweep.trainer.checks.bound_warnings import bound_warnings, swing_warnings
from dualsweep.trainer.checks.data_warnings import data_warnings
from dualsweep.trainer.checks.length_warnings import length_warnings
from dualsweep.trainer.checks.schedule_files import schedule_told, schedule_warnings
from dualsweep.trainer.checks.unused_keys import unused_warnings
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data.dataset_info import DatasetInfo, Look
from dualsweep.trainer.data.kept import kept_by_class
from dualsweep.trainer.recipe.data import Data
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe

_LISTED_CLASSES, _LISTED_FILES = 12, 3


@dataclass(frozen=True)
class Findings:
    """`data`, `model` and `schedule` in words, "" of a recipe without; `warnings` by line, which nothing is refused for."""

    data: str
    model: str
    schedule: str
    warnings: tuple[Diagnostic, ...]


def findings(recipe: Recipe, document: Document, known: DatasetInfo, parameters: str = "", schedule: str = "") -> Findings:
    """What is known of a recipe; the model's `parameters` and the `schedule` in words where they have been built."""
    odd = [
        *schedule_warnings(recipe),
        *unused_warnings(recipe, document.data),
        *length_warnings(recipe),
        *bound_warnings(recipe),
        *swing_warnings(recipe),
        *_gpu_warnings(recipe),
    ]
    if recipe.data is not None:
        odd += data_warnings(recipe, recipe.data, known, kept_by_class(recipe.data, known))
    warnings = sorted((document.locate(each) for each in odd), key=lambda warning: warning.line)
    told = data_told(recipe.data, known) if recipe.data is not None else ""
    model = ", ".join(each for each in (_model_told(recipe.model), parameters) if each)
    return Findings(told, model, schedule or schedule_told(recipe), tuple(warnings))


def _gpu_warnings(recipe: Recipe) -> Iterator[Diagnostic]:
    """GPUs that a worker takes from others and leaves idle, unless a part of the user's own computes on them."""
    if recipe.resources.gpus_per_worker > 1:
        received = f"{recipe.resources.gpus_per_worker:g}, of which a worker computes on the first"
        remedy = "write 1 and more workers, unless a part of your own computes on the others"
        yield Diagnostic(("resources", "gpus_per_worker"), "should be at most 1", received, remedy)


def data_told(data: Data, known: DatasetInfo) -> str:
    """How many examples of which classes there are and are trained on, what they are like, and what is not counted."""
    if known.total is None:
        return "known once it is loaded: say --dry-run"
    said = f"{known.total:,} examples{_like(known.look)}"
    by_class = kept_by_class(data, known)
    if by_class:
        total, fewest = sum(by_class.values()), min((each for each in by_class if by_class[each]), key=by_class.__getitem__)
        if len(by_class) <= _LISTED_CLASSES:
            classes = ", ".join(f"{name} {count:,}" for name, count in by_class.items())
        else:
            classes = f"{len(by_class):,} classes of {min(by_class.values()):,} to {max(by_class.values()):,}"
        said += f", {'' if total == known.total else f'{total:,} '}trained on: {classes}"
        said += f"; fewest of {fewest}, {by_class[fewest]:,}" if len(set(by_class.values())) > 1 else ""
    if known.attributes:
        most = sorted(known.attributes.items(), key=lambda each: (-each[1], each[0]))[:_LISTED_CLASSES]
        more = f" and {len(known.attributes) - _LISTED_CLASSES:,} more" if len(known.attributes) > _LISTED_CLASSES else ""
        said += f"; with attributes: {', '.join(f'{name} {count:,}' for name, count in most)}{more}"
    source, value = data.named
    over = source.passed_over(value)
    if over:
        more = f" and {len(over) - _LISTED_FILES:,} more" if len(over) > _LISTED_FILES else ""
        said += f"; not counted, as their names are of no image: {', '.join(over[:_LISTED_FILES])}{more}"
    return said


def _like(look: Look | None) -> str:
    """The shape, and the range, of examples that were looked at."""
    if look is None:
        return ""
    ends = f" from {look.low:.3g} to {look.high:.3g}" if look.low is not None and look.high is not None else ""
    return f" {list(look.shape)}{ends}"


def _model_told(model: Model) -> str:
    if model.unet is not None:
        return f"a new UNet of {model.unet.channels} channels"
    if model.compose is not None:
        return f"composed of {', '.join(model.compose.of)}"
    return f"{model.load or model.call}{' under an adapter' if model.lora is not None else ''}"


def told(found: Findings) -> Iterator[str]:
    """The lines that `check` prints of it."""
    for word, said in (("data", found.data), ("model", found.model), ("schedule", found.schedule)):
        if said:
            yield f"  {word:13} {said}"

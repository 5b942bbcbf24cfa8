"""Memory that runs out, told with the keys that ask for less of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from dualsweep.trainer.config.diagnostics import RulesError
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.recipe.consistency.check import check_fit
from dualsweep.trainer.recipe.model import Lora
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe

#: What was being done; of the innermost `room_for` alone is told. The terms are prepared with the frozen models' samples that
#: they need: those that rewards are scaled by, and those that stand for data.
Doing = Literal[
    "the model", "the encoding of the data", "the preparation of the terms", "a primal step", "a look at the training",
    "the evaluation",
]  # fmt: skip


@contextlib.contextmanager
def room_for(doing: Doing, recipe: Recipe) -> Iterator[None]:
    """Turns what is raised where memory runs out into words.

    Raises:
        TrainingError: memory ran out, with what to change.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise no_room(doing, recipe, error) from error


def no_room(doing: Doing, recipe: Recipe, error: BaseException) -> TrainingError:
    """What is to be said where memory ran out, with what to change."""
    said = (str(error).strip().splitlines() or ["nothing was left"])[0]
    return TrainingError(f"{doing} must fit into the memory of a worker, but got `{said}`; {_less(doing, recipe)}")


class _Way(NamedTuple):
    """Something to write instead: the keys of a section with the values, a smaller one for `below`."""

    words: str
    section: str
    values: dict[str, Any]


def _less(doing: Doing, recipe: Recipe) -> str:
    """The keys that would make it smaller, are not used yet and fit the rest, those that change no result first."""
    ways = [way.words for way in _ways(doing, recipe) if _fits(way, recipe)]
    if doing == "the encoding of the data":
        ways.append("take smaller images")
    if doing == "the model":
        ways.append("take a smaller model")
    ways.append("give the workers more (`dualsweep check --estimate` tells what each part takes)")
    return ", or ".join(ways)


def _ways(doing: Doing, recipe: Recipe) -> Iterator[_Way]:
    if doing in ("the preparation of the terms", "a look at the training", "the evaluation"):
        yield _below("evaluation", "batch_size", recipe.evaluation.batch_size)
    if (
        doing == "the preparation of the terms"
        and recipe.rollout.normalize
        and any(each.term.normalised for each in recipe.terms)
    ):
        yield _below("rollout", "normalization_samples", recipe.normalization_samples, least=16)
    if doing == "a primal step":
        yield from _of_a_step(recipe)
    if doing in ("the model", "a primal step"):
        least, most = max(2, recipe.resources.least), max(2, recipe.resources.most)
        workers = least if least == most else [least, most]
        words = f"write resources: {{workers: {workers}, parallel: fsdp}} (each has a part of the weights)"
        if recipe.resources.parallel == "ddp":
            yield _Way(words, "resources", {"workers": workers, "parallel": "fsdp"})
    if doing == "the model" and recipe.model.load is not None and recipe.model.lora is None:
        yield _Way("train adapters (model.lora)", "model", {"lora": Lora()})


def _of_a_step(recipe: Recipe) -> Iterator[_Way]:
    train, rollout = recipe.train, recipe.rollout
    pieces = min(2 * train.accumulate, train.batch_size // recipe.resources.most)
    if pieces > train.accumulate:
        words = f"set train.accumulate: {pieces} (the same batch in more pieces)"
        yield _Way(words, "train", {"accumulate": pieces})
    if recipe.terms_on("rollout") and not rollout.activation_checkpointing and not isinstance(rollout.gradient, OwnPart):
        words = "rollout.activation_checkpointing: true (activations of the sampler's steps computed again)"
        yield _Way(words, "rollout", {"activation_checkpointing": True})
    if not train.checkpointing:
        yield _Way("train.checkpointing: true (activations computed again)", "train", {"checkpointing": True})
    if train.precision == "fp32":
        yield _Way("train.precision: auto (bf16 where the GPU has it)", "train", {"precision": "auto"})
    if recipe.terms_on("rollout"):
        yield _below("rollout", "batch_size", rollout.batch_size)
    if recipe.terms_on("product"):
        yield _below("product", "samples", recipe.product.samples, least=2)
    if recipe.terms_on("data") or recipe.terms_on("product"):
        yield _below("train", "batch_size", train.batch_size)


def _below(section: str, key: str, present: int, least: int = 1) -> _Way:
    return _Way(f"set {section}.{key} below {present}", section, {key: present - 1} if present > least else {})


def _fits(way: _Way, recipe: Recipe) -> bool:
    """Whether `check` takes the recipe with it."""
    if not way.values:
        return False
    section = getattr(recipe, way.section).model_copy(update=way.values)
    try:
        check_fit(recipe.model_copy(update={way.section: section}))
    except RulesError:
        return False
    return True

"""Memory that runs out, told with the keys that ask for less of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe

#: What was being done: building the model, a primal step, or the final evaluation.
Doing = Literal["the model", "a primal step", "the evaluation"]
#: How torch words what the system refuses on the CPU.
_REFUSED = ("can't allocate memory", "not enough memory", "out of memory")


@contextlib.contextmanager
def room_for(doing: Doing, recipe: Recipe) -> Iterator[None]:
    """Turns what is raised where memory runs out into words.

    Raises:
        TrainingError: memory ran out, with what to change.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        said = (str(error).strip().splitlines() or ["nothing was left"])[0]
        raise TrainingError(f"{doing} must fit into the memory of a worker, but got `{said}`; {_less(doing, recipe)}") from error


def _is_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(words in str(error) for words in _REFUSED)


def _less(doing: Doing, recipe: Recipe) -> str:
    """The keys that would make it smaller and are not used yet, those that change no result first."""
    train, ways = recipe.train, list[str]()
    if doing == "the evaluation":
        ways.append(f"set evaluation.batch_size below {recipe.evaluation.batch_size}")
    if doing == "a primal step":
        ways.append(f"set train.accumulate: {2 * train.accumulate} (the same batch in more pieces)")
        if not train.checkpointing:
            ways.append("train.checkpointing: true (activations computed again)")
    if train.precision == "fp32":
        ways.append("train.precision: auto (bf16 where the GPU has it)")
    if doing == "a primal step":
        key, batch = ("rollout", recipe.rollout.batch_size) if recipe.terms_on("rollout") else ("train", train.batch_size)
        ways.append(f"{key}.batch_size below {batch}")
    resources = recipe.resources
    if doing != "the evaluation" and resources.parallel == "ddp" and recipe.model.compose is None:
        least, most = max(2, resources.least), max(2, resources.most)
        workers = least if least == most else [least, most]
        ways.append(f"write resources: {{workers: {workers}, parallel: fsdp}} (each has a part of the weights)")
    if doing == "the model":
        ways.append("take a smaller model, or train adapters (model.lora)")
    return ", or ".join(ways) + ", or give the workers more (`dualsweep check --estimate` tells what each part takes)"

"""Samples from a checkpoint: no Ray, no data; the averaged weights and the schedule that lie in it, and what it was made from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.checkpoint import locate, read
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.wording import first_line, show
from dualsweep.trainer.engine.dual_side import multiplier_policy_of
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.grid import sample_grid, save_png
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.models.build import build_model
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.models.schedules import own_schedule
from dualsweep.trainer.models.spaces import Space, decode_in_parts
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.storage import BadPlaceError, write_file


class Restored(NamedTuple):
    """A model with its averaged weights, its schedule, the recipe, the shape of its diffusion and that one's space; where it
    lies, and of an amortised run the multipliers by constraint that it was taken at.
    """

    predictor: Predictor
    schedule: DDPMScheduler
    recipe: Recipe
    shape: tuple[int, ...]
    space: Space
    checkpoint: str
    multipliers: Mapping[str, float] | None


def restore(checkpoint: str, multipliers: Mapping[str, float] | None = None, prompt: str | None = None) -> Restored:
    """The model that a checkpoint holds; one of text with this `prompt` in place of its own texts, where it is given.

    That of an amortised run is taken at `multipliers` by constraint (0 where left out), or at those of its recipe's budgets.

    Raises:
        TrainingError: `checkpoint` is no complete checkpoint folder or URI, or what its model was made from is gone.
    """
    shape = tuple(read(checkpoint).state["shape"])  # also says what is wrong with an incomplete one
    recipe = recipe_of(checkpoint)
    if multipliers is None:
        multipliers = multiplier_policy_of(recipe).sampled_at(checkpoint)
    spec = Model(load=checkpoint, multipliers=dict(multipliers) if multipliers is not None else None, prompt=prompt)
    schedule = own_schedule(spec)
    if schedule is None:
        raise TrainingError(f"a checkpoint must hold its schedule, but {checkpoint} has none; it was changed by hand")
    library = Library()
    predictor = build_model(spec, shape, recipe.seed, library).under(schedule).eval()
    return Restored(predictor, schedule, recipe, shape, library.space(spec), checkpoint, multipliers)


def draw(
    model: Restored, count: int, *, sampler: str | None = None, steps: int | None = None, seed: int = 0,
    batch_size: int | None = None, label: str | None = None,
) -> Tensor:  # fmt: skip
    """`count` samples [count, *shape], decoded, made `batch_size` at a time; `sampler`, `steps` and that are those of the recipe
    where they are None.

    Of a model that is given the class of every example they have the classes in turn, or all the class `label`.

    Raises:
        InputError: the model knows no class of that name.
        ValueError: more steps than the schedule has.
    """
    sampling, batch_size = model.recipe.sampling_by(sampler), batch_size or model.recipe.evaluation.batch_size
    sampling = sampling._replace(steps=steps or sampling.steps)
    samples = sample(
        model.predictor, model.schedule, range(count), model.shape, sampling=sampling, seed=seed, batch_size=batch_size,
        prompt=None if label is None else _number_of(label, model.predictor),
    )  # fmt: skip
    return decode_in_parts(model.space, samples, batch_size)


def _number_of(label: str, predictor: Predictor) -> int:
    classes = predictor.texts if predictor.by_label else ()
    if label in classes:
        return classes.index(label)
    rule, remedy = f"must be a class of the model: {', '.join(classes)}", "name one of its classes"
    if not classes:
        rule, remedy = "must go with a model that is given the class of every example (model.condition: labels)", "drop it"
    raise InputError([Diagnostic(("--label",), rule, repr(label), remedy, "command line", 1)])


def find_checkpoint(place: str) -> str:
    """The checkpoint folder meant by `place`, as `dualsweep.trainer.checkpoint.locate` finds it.

    Raises:
        InputError: there is none.
    """
    try:
        checkpoint = locate(place)
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at(("CHECKPOINT",), "command line", 1)]) from None
    if checkpoint is not None:
        return checkpoint
    rule, remedy = (
        "must be a checkpoint or a run's output folder",
        "give the path that `checkpoint` has in the run's result.json",
    )
    raise InputError([Diagnostic(("CHECKPOINT",), rule, show(place), remedy, "command line", 1)])


def generate(
    checkpoint: str, count: int, output: Path, *, sampler: str | None, steps: int | None, seed: int,
    batch_size: int | None = None, multipliers: Mapping[str, float] | None = None, label: str | None = None,
    prompt: str | None = None,
) -> Tensor:  # fmt: skip
    """Writes `count` samples as `samples.npy` [count, *shape], decoded, and, where they are images, as PNGs and one grid.

    `sampler` and `steps` are those of the checkpoint's recipe where they are None; `multipliers` and `prompt` as `restore`
    takes them, `label` as `draw` does.

    Raises:
        InputError: the model knows no class of the name `label`.
        TrainingError: `checkpoint` is no complete checkpoint, its model takes no text, or memory runs out.
        ValueError: more steps than the schedule has.
    """
    try:
        model = restore(checkpoint, multipliers, prompt)
        samples = draw(model, count, sampler=sampler, steps=steps, seed=seed, batch_size=batch_size, label=label)
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise TrainingError(
            f"samples must fit into the memory of this machine, but got `{first_line(error)}`; lower --count, or sample where "
            "there is more"
        ) from error
    output.mkdir(parents=True, exist_ok=True)
    stored = io.BytesIO()
    np.save(stored, samples.numpy())
    write_file(output / "samples.npy", stored.getvalue())
    if samples.ndim == 4:
        for position, each in enumerate(samples):
            save_png(each, output / f"{position:05d}.png")
        write_file(output / "grid.png", sample_grid(samples[:256]))
    return samples

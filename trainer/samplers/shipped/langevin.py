"""Annealed Langevin steps on the model's own prediction, as the terms on products take them (`trainer/samplers/langevin.py`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import SamplerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.recipe.product import Product
    from dualsweep.trainer.samplers.chains import Chains
    from dualsweep.trainer.samplers.recursion import Recursion
    from dualsweep.trainer.samplers.rollout import Predict
    from dualsweep.trainer.samplers.spec import Draw

#: Chains from which the sizes of the steps are taken, so that a sample does not depend on the others of its batch.
PILOT = 64


def _prepared(model: Predict, chains: Chains) -> Draw:
    from dualsweep.trainer.samplers.langevin import product_samples

    spec, sizes = _sizes(model, chains)
    return lambda predict, positions: (
        product_samples(predict, chains.schedule, spec, chains.draws(positions), sizes=sizes).samples
    )


def _written(model: Predict, chains: Chains) -> Recursion:
    from dualsweep.trainer.samplers.langevin import levels_of
    from dualsweep.trainer.samplers.recursion import of_langevin

    spec, sizes = _sizes(model, chains)
    timesteps = [each for each in levels_of(chains.schedule, spec.levels) for _ in range(spec.steps)]
    return of_langevin(timesteps, [float(each) for each in sizes], chains.schedule)


def _sizes(model: Predict, chains: Chains) -> tuple[Product, list[Tensor]]:
    """How each level is gone through, and the sizes of all steps: of chains that have the prompts or classes in turn."""
    from dualsweep.trainer.rng import in_turn
    from dualsweep.trainer.samplers.langevin import product_samples

    spec, pilot = chains.sampling.product.model_copy(update={"levels": chains.sampling.steps}), range(PILOT)
    asked = in_turn(chains.prompts, pilot)
    predict = model if asked is None else partial(model, prompts=asked)
    return spec, product_samples(predict, chains.schedule, spec, chains.draws(pilot)).sizes


SAMPLER = SamplerSpec(steps="product.levels", prepare=_prepared, written=_written, guided=False)

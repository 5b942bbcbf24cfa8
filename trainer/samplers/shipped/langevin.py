"""Annealed Langevin steps on the model's own prediction, as the terms on products take them (`trainer/samplers/langevin.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import SamplerSpec

if TYPE_CHECKING:
    from dualsweep.trainer.samplers.chains import Chains
    from dualsweep.trainer.samplers.rollout import Predict
    from dualsweep.trainer.samplers.spec import Draw

#: Chains from which the sizes of the steps are taken, so that a sample does not depend on the others of its batch.
PILOT = 64


def _prepared(model: Predict, chains: Chains) -> Draw:
    from dualsweep.trainer.samplers.langevin import product_samples

    spec = chains.sampling.product.model_copy(update={"levels": chains.sampling.steps})
    sizes = product_samples(model, chains.schedule, spec, chains.draws(range(PILOT))).sizes
    return lambda predict, positions: (
        product_samples(predict, chains.schedule, spec, chains.draws(positions), sizes=sizes).samples
    )


SAMPLER = SamplerSpec(steps="product.levels", prepare=_prepared, guided=False)

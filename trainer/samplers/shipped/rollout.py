"""The chain on which alignment is measured (`trainer/samplers/chain.py`): samples of a model that was aligned along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import SamplerSpec

if TYPE_CHECKING:
    from dualsweep.trainer.samplers.chains import Chains
    from dualsweep.trainer.samplers.rollout import Predict
    from dualsweep.trainer.samplers.spec import Draw


def _prepared(_: Predict, chains: Chains) -> Draw:
    from dualsweep.trainer.samplers.chain import steps_of
    from dualsweep.trainer.samplers.rollout import roll_out

    steps = steps_of(chains.schedule, chains.sampling.steps, chains.sampling.eta)
    return lambda predict, positions: roll_out(predict, steps, chains.noise(positions, len(steps))).samples


SAMPLER = SamplerSpec(steps="rollout.steps", prepare=_prepared)

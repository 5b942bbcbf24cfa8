"""The chain on which alignment is measured (`trainer/samplers/chain.py`): samples of a model that was aligned along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import SamplerSpec

if TYPE_CHECKING:
    from dualsweep.trainer.samplers.chain import Steps
    from dualsweep.trainer.samplers.chains import Chains
    from dualsweep.trainer.samplers.recursion import Recursion
    from dualsweep.trainer.samplers.rollout import Predict
    from dualsweep.trainer.samplers.spec import Draw


def _prepared(_: Predict, chains: Chains) -> Draw:
    from dualsweep.trainer.samplers.rollout import roll_out

    steps = _steps(chains)
    return lambda predict, positions: roll_out(predict, steps, chains.noise(positions, len(steps))).samples


def _written(_: Predict, chains: Chains) -> Recursion:
    from dualsweep.trainer.samplers.recursion import of_chain

    return of_chain(_steps(chains))


def _steps(chains: Chains) -> Steps:
    from dualsweep.trainer.samplers.chain import steps_of

    return steps_of(chains.schedule, chains.sampling.steps, chains.sampling.eta)


SAMPLER = SamplerSpec(steps="rollout.steps", prepare=_prepared, written=_written)

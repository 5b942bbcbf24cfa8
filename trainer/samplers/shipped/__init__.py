"""The shipped samplers, one file each: the words of `evaluation.sampler`. Each holds a `SAMPLER` (see
`trainer/samplers/spec.py`).

Imports nothing heavy before a sampler is used; what several share is in `samplers/`.
"""

from __future__ import annotations

from dualsweep.trainer.config.plug_ins import words

NAMES = words(__path__, ("dpmpp_2m", "ddim", "ddpm", "rollout", "langevin"))

"""The samplers by their words, each found by being a file of `shipped/`."""

from __future__ import annotations

from importlib import import_module

from dualsweep.trainer.samplers import shipped
from dualsweep.trainer.samplers.spec import SamplerSpec

SAMPLERS: dict[str, SamplerSpec] = {name: import_module(f"{shipped.__name__}.{name}").SAMPLER for name in shipped.NAMES}

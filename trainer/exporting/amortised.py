"""What `pipeline.py` needs to ask an amortised network at other multipliers than those it has taken up."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load as load_tensors

from dualsweep.trainer.checks.model_files import CONDITIONING
from dualsweep.trainer.engine.dual_side import multiplier_range_of
from dualsweep.trainer.engine.sample_command import Restored
from dualsweep.trainer.storage import read_file


def amortised(model: Restored) -> dict[str, Any] | None:
    """The form of it in the scheduler's configuration; None of a network for one set of multipliers."""
    written = read_file(model.checkpoint, CONDITIONING)
    if written is None or model.multipliers is None:
        return None
    spread = multiplier_range_of(model.recipe)
    names = list(spread.problem.names)
    return {
        "names": names, "at": _in_order(model.multipliers, names), "low": spread.low.tolist(), "high": spread.high.tolist(),
        "weights": {
            name: [list(each.shape), base64.b64encode(each.float().contiguous().numpy().tobytes()).decode()]
            for name, each in load_tensors(written).items()
        },
    }  # fmt: skip


def _in_order(multipliers: Mapping[str, float], names: list[str]) -> list[float]:
    return [float(multipliers.get(name, 0.0)) for name in names]

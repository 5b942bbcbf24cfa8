"""The objective and the constraints' expectations for given weights, from many draws, shared among workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trainer.dual.state import SlackReport
from trainer.host import Host
from trainer.problem import Estimate, Vector
from trainer.sources.source import Source


def expectations(sources: Sequence[Source], weights: Vector, host: Host, *, held_out: bool = False) -> SlackReport | None:
    """Sums over `loss_draws` draws for each term, over all workers; on rank 0 only. `weights` as in `Source.measure`."""
    measured = [source.measure(weights, held_out) for source in sources]
    gathered = host.gather(torch.from_numpy(sum(np.concatenate([each.values, each.neighbours]) for each in measured)))
    if gathered is None:
        return None
    count, total, squares, *neighbours = torch.stack(gathered).sum(0).numpy()
    return SlackReport(0, 0, count, total, squares, neighbours=np.stack(neighbours))


def held_out_metrics(estimate: Estimate, names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """`eval/objective` and `eval/value/NAME` of held-out data; a part without held-out data is left out."""
    metrics = {"eval/objective": float(estimate.mean[0])}
    metrics |= {f"eval/value/{name}": float(value) for name, value in zip(names, values, strict=True)}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}

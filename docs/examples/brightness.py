"""How bright the samples are: the mean of all their pixels in [-1, 1], and its standard error."""

from __future__ import annotations

from dualsweep.trainer.evaluation.evidence import Evidence, NotMeasured


def brightness(evidence: Evidence) -> dict[str, float]:
    """`brightness` and `brightness_error`, which MLflow shows as `eval/brightness` and `eval/brightness_error`.

    Raises:
        NotMeasured: fewer than two samples, of which there is no error.
    """
    count = len(evidence.samples)
    if count < 2:
        raise NotMeasured(f"it needs at least 2 samples, and there are {count}; raise evaluation.samples")
    means = evidence.samples.double().flatten(1).mean(1)
    return {"brightness": float(means.mean()), "brightness_error": float(means.std()) / count**0.5}

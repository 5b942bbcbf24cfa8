"""What a run takes, and where it is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Count, NotNegative, Section

#: The least and the most.
Span = Annotated[list[Count], Field(min_length=2, max_length=2)]


def _workers(value: Any) -> Any:
    """One check, and one message, for a number or a span."""
    given = value if isinstance(value, list) else [value, value]
    whole = len(given) == 2 and all(isinstance(each, int) and not isinstance(each, bool) and each >= 1 for each in given)
    if not (whole and given[0] <= given[1]):
        rule, remedy = "must be a whole number from 1, or [LEAST, MOST] of such", "write e.g. workers: 2, or workers: [1, 4]"
        raise RuleError("", rule, f"{value!r}", remedy)
    return value


class Resources(Section):
    """What one trial takes."""

    workers: Annotated[Count | Span, BeforeValidator(_workers)] = Field(
        1,
        description="Ray Train workers of a trial; [LEAST, MOST] for as many as its share of the cluster holds (docs/cluster.md)",
        examples=["2"],
    )
    cpus_per_worker: Count = Field(1, description="CPUs of a worker", examples=["1"])
    gpus_per_worker: NotNegative = Field(0.0, description="GPUs of a worker", examples=["1"])
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="what each of several workers has: `ddp`: all weights; `fsdp`: a part of the weights, of their averages and "
        "of the optimiser's memory, for models that do not fit into one",
        examples=["fsdp"],
    )
    loaders: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="processes of a worker that read ahead of the steps where data do not fit into memory; 0: what is drawn is "
        "read when it is drawn; left out: one for each CPU, 8 at most, and none for data of `call`",
        examples=["4"],
    )
    retries: Annotated[int, Field(ge=0)] = Field(
        2, description="times a trial of which a process died is started again at once", examples=["2"]
    )

    @property
    def least(self) -> int:
        """The smallest number of workers that a trial may have."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most(self) -> int:
        """The largest number of workers that a trial may have."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]


class Checkpoint(Section):
    """When a run is saved, as one unit."""

    every: Count = Field(500, description="primal steps between checkpoints (rounded up to a dual step)", examples=["500"])
    keep: Count = Field(1, description="checkpoints kept", examples=["2"])
    to: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="a folder or fsspec URI; the output folder when left out", examples=["s3://bucket/run"]
    )

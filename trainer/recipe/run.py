"""What a run takes, and where it is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dualsweep.trainer.recipe.base import Count, NotNegative, Section


class Resources(Section):
    """What one trial takes."""

    workers: Count = Field(1, description="Ray Train workers of a trial", examples=["2"])
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


class Checkpoint(Section):
    """When a run is saved, as one unit."""

    every: Count = Field(500, description="primal steps between checkpoints (rounded up to a dual step)", examples=["500"])
    keep: Count = Field(1, description="checkpoints kept", examples=["2"])
    to: str | None = Field(
        None, description="a folder or fsspec URI; the output folder when left out", examples=["s3://bucket/run"]
    )

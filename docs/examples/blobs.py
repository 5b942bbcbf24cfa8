"""Gaussian blobs about a circle in the plane, each a class of its own, by scikit-learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.data.source_spec import SourceSpec
from dualsweep.trainer.recipe.base import Count, Positive, Section

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples
    from dualsweep.trainer.recipe.source_options import SourceOptions


class BlobsSpec(Section):
    """Gaussian blobs about a circle in the plane, each a class of its own."""

    count: Count = Field(1000, description="points, over all blobs", examples=["1000"])
    blobs: Count = Field(3, description="blobs", examples=["3"])
    spread: Positive = Field(0.05, description="the standard deviation of each coordinate of a blob", examples=["0.05"])


def _counts(value: BlobsSpec) -> tuple[int, ...]:
    return tuple(value.count // value.blobs + (blob < value.count % value.blobs) for blob in range(value.blobs))


def _inspect(value: BlobsSpec, _: SourceOptions) -> DatasetInfo:
    return DatasetInfo(True, tuple(range(value.blobs)), _counts(value), value.count, (2,))


def _load(value: BlobsSpec, _: SourceOptions) -> Examples:
    import torch
    from sklearn.datasets import make_blobs

    from dualsweep.trainer.data.examples import InMemory

    angles = [2 * math.pi * blob / value.blobs for blob in range(value.blobs)]
    centres = [(0.6 * math.cos(angle), 0.6 * math.sin(angle)) for angle in angles]
    points, labels = make_blobs(_counts(value), centers=centres, cluster_std=value.spread, random_state=0)
    return InMemory(torch.from_numpy(points).float(), labels.astype("int64"), tuple(range(value.blobs)))


SOURCE = SourceSpec(
    word="blobs",
    value=BlobsSpec,
    inspect=_inspect,
    load=_load,
    description="Gaussian blobs in the plane",
    example="{blobs: 3}",
    conclusive=True,
)

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.evaluation.evidence import Evidence, NotMeasured
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.shipped import copying as module
from dualsweep.trainer.evaluation.shipped.copying import copying, examine, nearest
from dualsweep.trainer.evaluation.variants import Variants
from dualsweep.trainer.rng import Stream, generator
from tests.margins import Sampled
from tests.trainer.models.test_build import prepared
from tests.trainer.recipes import digits as recipe


def _evidence(samples: torch.Tensor, training: torch.Tensor, held_out: torch.Tensor | None = None) -> Evidence:
    everything = Rows.of(training)
    return Evidence(samples, everything, everything, None if held_out is None else Rows.of(held_out), None, ())


def _none(count: int) -> np.ndarray:
    return np.empty((count, 0), dtype=np.int64)


def _brute(images: torch.Tensor, training: torch.Tensor, own: list[int | None]) -> tuple[list[float], list[int], list[bool]]:
    """Distance, position and authenticity by the definition, one pair at a time."""

    def rms(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a.double() - b.double()).square().mean().sqrt())

    distances, positions, copied = [], [], []
    for image, mine in zip(images, own, strict=True):
        to_all = {j: rms(image, other) for j, other in enumerate(training) if j != mine}
        position = min(to_all, key=lambda j: to_all[j])
        others = [rms(training[position], other) for j, other in enumerate(training) if j not in (mine, position)]
        distances.append(to_all[position])
        positions.append(position)
        copied.append(to_all[position] <= min(others))
    return distances, positions, copied


@pytest.mark.parametrize("cells", [module.CELLS, 64])  # one chunk, and many
def test_nearest_and_copies_agree_with_brute_force(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", cells)
    source = torch.Generator().manual_seed(0)
    training = torch.randn((60, 2, 3, 3), generator=source)
    images = torch.cat([torch.randn((20, 2, 3, 3), generator=source), training[5:8] + 0.01])
    distances, positions, copied = _brute(images, training, [None] * len(images))
    neighbours = nearest(images, Rows.of(training), _none(len(images)))
    assert neighbours.position.tolist() == positions
    np.testing.assert_allclose(neighbours.distance, distances, rtol=1e-12)
    near = examine(images, Rows.of(training))
    assert near.copied.tolist() == copied
    assert near.copied[-3:].all()


@pytest.mark.parametrize("cells", [module.CELLS, 64])
def test_a_training_image_is_compared_with_the_others_only(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CELLS", cells)
    training = torch.randn((40, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    own = np.array([0, 3, 17, 39])
    distances, _, copied = _brute(training[own], training, own.tolist())
    near = examine(training[own], Rows.of(training), own)
    np.testing.assert_allclose(near.distance, distances, rtol=1e-12)
    assert near.copied.tolist() == copied


def test_distance_is_root_mean_square_per_pixel() -> None:
    """Every pixel off by 0.5 is 0.5 away, whatever the size."""
    training = torch.stack([torch.zeros(3, 5, 7), torch.ones(3, 5, 7), -torch.ones(3, 5, 7)])
    found = nearest(torch.full((1, 3, 5, 7), 0.4), Rows.of(training), _none(1))
    assert found.distance[0] == pytest.approx(0.4)


def test_exact_copies_are_at_zero_and_all_counted() -> None:
    training = torch.randn((200, 1, 8, 8), generator=torch.Generator().manual_seed(2)).clamp(-1, 1)
    metrics = copying(_evidence(training[:50].clone(), training))
    assert metrics["nearest_distance"] == 0.0
    assert metrics["nearest_distance_q05"] == 0.0
    assert metrics["copied_share"] == 1.0


def test_a_copy_of_a_doubled_training_image_counts() -> None:
    """The image's nearest other training image is its double, at zero: nothing could be closer."""
    training = torch.randn((10, 1, 4, 4), generator=torch.Generator().manual_seed(3))
    training[1] = training[0]
    assert copying(_evidence(training[:1].clone(), training))["copied_share"] == 1.0


def test_rows_name_images_of_a_larger_set() -> None:
    images = torch.arange(10.0).reshape(10, 1, 1, 1)
    training = Rows(InMemory(images), np.array([2, 5, 9]))
    neighbours = nearest(torch.tensor([[[[6.6]]], [[[2.1]]]]), training, _none(2))
    assert neighbours.position.tolist() == [1, 0]
    assert neighbours.distance.tolist() == pytest.approx([1.6, 0.1])


def test_fresh_data_are_no_copies_beside_the_reference(sampled: Sampled) -> None:
    """Samples of the same distribution as the data: distances and shares equal the reference's within sampling error."""
    source = torch.Generator().manual_seed(sampled.seed)
    training = torch.randn((1000, 1, 2, 2), generator=source)
    fresh, held_out = (torch.randn((500, 1, 2, 2), generator=source) for _ in range(2))
    for name, reference in (("held out", held_out), ("training", None)):
        metrics = copying(_evidence(fresh, training, reference))
        ratio = metrics["nearest_distance"] / metrics["nearest_distance_reference"]
        sampled.near(f"nearest distance of that of the {name}", ratio, 1.0, abs=0.2)
        error = math.sqrt(2 * 0.25 / 500)
        sampled.near(
            f"copied share beside that of the {name}", metrics["copied_share"], metrics["copied_share_reference"], abs=5 * error
        )
        sampled.between(f"copied share, {name}", metrics["copied_share"], 0.3, 0.7)  # why the share alone says little


def test_held_out_images_are_the_reference_where_there_are_any() -> None:
    training = torch.randn((50, 1, 2, 2), generator=torch.Generator().manual_seed(5))
    found = copying(_evidence(torch.zeros((3, 1, 2, 2)), training, training[:5].clone()))
    assert found["nearest_distance_reference"] == 0.0
    empty = copying(_evidence(torch.zeros((3, 1, 2, 2)), training, training[:0]))
    assert empty == copying(_evidence(torch.zeros((3, 1, 2, 2)), training))
    assert empty["nearest_distance_reference"] > 0.0


def test_what_is_held_out_is_thinned_as_what_is_trained_on_is() -> None:
    """A class of which nothing is trained on is no part of what samples are compared with."""
    data = assemble(recipe(data={"holdout": 0.2, "keep": {4: 0.1, 5: 0}}, constraints=[]))
    held_out = Evidence.of(torch.zeros(1, 1, 8, 8), data, None, Variants()).held_out
    assert held_out is not None and data.split.examples.labels is not None
    counts = np.bincount(data.split.examples.labels[held_out.rows], minlength=10)
    assert (counts[4], counts[5]) == (3, 0) and counts.sum() > 250


def _augmented(x: torch.Tensor, variants: Variants) -> torch.Tensor:
    """All variants [K * N, ...] of images x [N, C, H, W], by torch's own functions, one image's N apart."""
    most = variants.most
    wide = torch.nn.functional.pad(x, (most,) * 4, mode="reflect") if most else x
    side = x.shape[-1]
    shifts = [
        wide[..., down : down + side, right : right + side] for down in range(2 * most + 1) for right in range(2 * most + 1)
    ]
    if not variants.flip:
        return torch.cat(shifts)
    mirror = _augmented(x.flip(-1), Variants(most=most))
    return torch.cat([*shifts, mirror])


@pytest.mark.parametrize("variants", [Variants(flip=True), Variants(most=1), Variants(flip=True, most=2)])
def test_the_nearest_variant_is_that_of_all_that_are_trained_on(variants: Variants) -> None:
    source = torch.Generator().manual_seed(7)
    training, images = torch.randn((30, 2, 5, 5), generator=source), torch.randn((20, 2, 5, 5), generator=source)
    every = _augmented(training, variants)
    assert len(every) == 30 * len(variants)
    own = np.arange(20)
    for left_out in (_none(20), own[:, None]):
        own_variants = left_out + 30 * np.arange(len(variants)) if left_out.size else left_out
        known = nearest(images, Rows.of(every), own_variants)
        near = nearest(images, Rows.of(training), left_out, variants)
        np.testing.assert_allclose(near.distance, known.distance, rtol=1e-12)
        assert (near.position == known.position % 30).all() and torch.equal(near.images, known.images)


@pytest.mark.parametrize("data", [{"random_flip": True}, {"random_crop": 2}, {"random_flip": True, "random_crop": 2}])
def test_copies_of_what_is_trained_on_count_mirrored_and_shifted(tmp_path: Path, data: dict[str, Any]) -> None:
    run = prepared(recipe(data={"holdout": 0.3, **data}), tmp_path)
    assert run.data is not None
    training = Rows(run.data.examples, run.data.rows[0]).at(np.arange(50))
    for numbers in (np.zeros(50, dtype=np.int64), np.arange(50) * (len(run.variants) - 1) // 49):
        metrics = copying(Evidence.of(run.variants.of(training, numbers), run.data, None, run.variants))
        assert (metrics["nearest_distance"], metrics["copied_share"]) == (0.0, 1.0)
    fresh = run.variants.of(
        Rows(run.data.examples, run.data.held_out_rows[0]).at(np.arange(50)), np.arange(50) % len(run.variants)
    )
    metrics = copying(Evidence.of(fresh, run.data, None, run.variants))
    assert metrics["nearest_distance"] > 0.1 and metrics["copied_share"] < 0.9


@pytest.mark.parametrize(("affordable", "examined"), [(1, 100), (120, 120), (1000, 150)])
def test_fewer_samples_are_examined_where_variants_are_many(
    affordable: int, examined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 150 samples; 100 at the least."""
    source = torch.Generator().manual_seed(8)
    training, samples = torch.randn((30, 1, 4, 4), generator=source), torch.randn((150, 1, 4, 4), generator=source)
    variants = Variants(flip=True)
    monkeypatch.setattr(module, "WORK", affordable * 30 * 2 * 16)
    metrics = copying(replace(_evidence(samples, training), variants=variants))
    some = generator(0, Stream.EVALUATION).permutation(150)[:examined]
    distances = nearest(samples[some], Rows.of(training), _none(examined), variants).distance
    assert metrics["nearest_distance"] == pytest.approx(distances.mean(), rel=1e-12)


def test_plain_vectors_will_do() -> None:
    training = torch.randn((30, 2), generator=torch.Generator().manual_seed(6))
    assert copying(_evidence(training[:4] + 1e-4, training))["nearest_distance"] == pytest.approx(1e-4, rel=1e-2)


def test_too_few_training_images() -> None:
    with pytest.raises(NotMeasured, match="at least 3 training images, and there are 2"):
        copying(_evidence(torch.zeros((1, 1, 2, 2)), torch.zeros((2, 1, 2, 2))))

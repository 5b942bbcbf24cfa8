"""The global batch: sizes, unbiased weights, stratified timesteps, draws that depend on (seed, step, position) alone."""

from functools import partial

import numpy as np
import pytest
import torch

from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.rng import (
    BLOCK,
    UNIFORM_BLOCK,
    Stream,
    batches,
    generator,
    most_batches,
    normals,
    shard,
    uniforms,
)
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Mixture, Parts, allocate, own_draws, sizes
from dualsweep.trainer.sources.mixture_batch import draw as draw_counts
from dualsweep.trainer.sources.noising import _in_turn
from dualsweep.trainer.terms.timesteps import Timesteps

PARTS = Parts.of([np.arange(100), np.arange(100, 105), np.arange(105, 112)])
TRAIN = Train(steps=1, batch_size=32, floor=3)
FLOORS = np.array([1, 3, 3, 3, 3])
FIRST = np.zeros(3, dtype=np.int64)


def draw(
    coefficients: np.ndarray, parts: Parts, timesteps: int, train: Train, seed: int, step: int, first: np.ndarray = FIRST
) -> GlobalBatch:
    """As the trainer's source of data draws it, with the objective first."""
    columns = np.arange(len(coefficients))
    mixture = Mixture(columns, parts, Timesteps(timesteps), train, seed)
    return draw_counts(mixture, sizes(coefficients, columns, train), first, coefficients / coefficients.sum(), step)


def examples_of(batches: list[GlobalBatch], part: int) -> np.ndarray:
    """The rows of one part's draws by their numbers."""
    numbers = np.concatenate([each.number[each.part == part] for each in batches])
    rows = np.concatenate([each.index[each.part == part] for each in batches])
    assert sorted(numbers) == list(range(len(numbers)))
    return rows[np.argsort(numbers)]


@pytest.mark.parametrize("seed", range(20))
def test_sizes_fill_the_batch_and_keep_the_floors(seed):
    rng = np.random.default_rng(seed)
    coefficients = np.concatenate([[rng.random()], rng.exponential(rng.choice([0.01, 1.0, 100.0]), 4)])
    counts = allocate(coefficients, 64, FLOORS)
    assert counts.sum() == 64 and (counts[1:] >= 3).all() and counts[0] >= 1
    proportional = 64 * coefficients / coefficients.sum()
    if (proportional >= 4).all():
        assert (np.abs(counts - proportional) < 1).all()


def test_zero_multipliers_leave_only_the_floors():
    np.testing.assert_array_equal(allocate(np.array([1.0, 0, 0, 0]), 64, np.array([1, 2, 2, 2])), [58, 2, 2, 2])


def test_a_batch_too_small_for_its_floors_is_refused():
    with pytest.raises(ValueError, match="7 samples, but got 6"):
        allocate(np.ones(4), 6, np.array([1, 2, 2, 2]))


def test_separate_batches_grow_with_the_constraints():
    train = Train(steps=1, batch_size=64, batches="separate", constraint_batch=16)
    np.testing.assert_array_equal(sizes(np.array([1.0, 0.1, 0.2]), np.arange(3), train), [64, 16, 16])


@pytest.mark.parametrize("batches", ["mixture", "separate"])
def test_the_weighted_loss_is_the_normalised_lagrangian(batches):
    """With a loss that depends on the part alone, the batch's weighted sum is sum_i c_i l_i / sum c exactly."""
    train = Train(steps=1, batch_size=32, floor=3, batches=batches)
    coefficients, losses = np.array([1.0, 0.3, 0.05]), np.array([2.0, 5.0, 11.0])
    for step in range(5):
        batch = draw(coefficients, PARTS, 50, train, 0, step)
        assert batch.weight @ losses[batch.part] == pytest.approx(coefficients @ losses / coefficients.sum(), rel=1e-12)


def test_rows_come_from_their_part_and_times_are_stratified_within_it():
    batch = draw(np.array([1.0, 0.3, 0.2]), PARTS, 40, TRAIN, 3, 7)
    for part in range(3):
        mine = batch.part == part
        lowest = PARTS.starts[part]
        assert ((batch.index[mine] >= lowest) & (batch.index[mine] < lowest + PARTS.lengths[part])).all()
        n = mine.sum()
        strata = np.floor(np.sort(batch.timestep[mine]) * n / 40 + 1e-9)
        assert (np.abs(strata - np.arange(n)) <= 1).all()


def test_timesteps_depend_on_seed_and_step_and_examples_on_neither_step_nor_multipliers():
    one, same = draw(np.ones(3), PARTS, 40, TRAIN, 3, 7), draw(np.ones(3), PARTS, 40, TRAIN, 3, 7)
    np.testing.assert_array_equal(one.timestep, same.timestep)
    for seed, step in ((4, 7), (3, 8)):
        assert (draw(np.ones(3), PARTS, 40, TRAIN, seed, step).timestep != one.timestep).any()
    np.testing.assert_array_equal(draw(np.ones(3), PARTS, 40, TRAIN, 3, 8).index, one.index)
    assert (draw(np.ones(3), PARTS, 40, TRAIN, 4, 7).index != one.index).any()


def test_the_kth_example_of_a_part_is_the_same_whatever_the_multipliers_did():
    """Two histories of multipliers, one of which jumps: each part's draws are one sequence, begun anew by none."""
    histories = []
    for history in ([(1, 1, 1)] * 12, [(1, 0, 0), (0, 1, 0), (0.1, 0, 5), (1, 3, 0.2)] * 3):
        batches, first = [], FIRST
        for step, coefficients in enumerate(history):
            batches.append(draw(np.array(coefficients, dtype=float), PARTS, 40, TRAIN, 3, step, first))
            first = first + np.bincount(batches[-1].part, minlength=3)
        histories.append([examples_of(batches, part) for part in range(3)])
    for part, (one, other) in enumerate(zip(*histories, strict=True)):
        shared = min(len(one), len(other))
        assert shared >= 36 and (one[:shared] == other[:shared]).all() and len(set(one.tolist())) > 4, part


def test_a_sequence_is_the_same_in_whatever_pieces_it_is_taken():
    whole = uniforms(5, Stream.EXAMPLES, 2, range(3 * UNIFORM_BLOCK))
    assert whole[0] == generator(5, Stream.EXAMPLES, 2, 0).random() and len(np.unique(whole)) == len(whole)
    for numbers in (range(0), range(7, 9), range(1000, 2100), range(1023, 3000, 3), range(5, 3 * UNIFORM_BLOCK, 700)):
        np.testing.assert_array_equal(
            uniforms(5, Stream.EXAMPLES, 2, numbers), whole[numbers.start : numbers.stop : numbers.step]
        )
    assert not np.isin(uniforms(5, Stream.EXAMPLES, 3, range(100)), whole).any()


def test_every_row_is_drawn_equally_often(sampled):
    counts = np.zeros(112)
    for step in range(1200):
        batch = draw(np.ones(3), PARTS, 40, Train(steps=1, batch_size=48), sampled.seed, step, FIRST + 16 * step)
        counts += np.bincount(batch.index, minlength=112)
    expected = np.repeat([1 / 100, 1 / 5, 1 / 7], [100, 5, 7]) * 1200 * 16
    sampled.near("counts", counts / expected, 1.0, abs=0.6)
    sampled.near("mean count", (counts / expected).mean(), 1.0, abs=0.02)


def test_rows_of_groups_have_their_exact_probability():
    """Uniform numbers that lie evenly in [0, 1) pick every row of group k in proportion to 1 / (groups x rows of k), exactly."""
    parts = Parts.grouped([[np.arange(3)], [np.array([10]), np.array([20, 21]), np.arange(30, 34)]])
    even = (np.arange(1200) + 0.5) / 1200
    counts = np.bincount(parts.pick(np.ones(1200, dtype=np.int64), even))
    assert counts[10] == 400 and (counts[20:22] == 200).all() and (counts[30:34] == 100).all() and counts.sum() == 1200
    assert (np.bincount(parts.pick(np.zeros(1200, dtype=np.int64), even)) == 400).all()


@pytest.mark.parametrize("total, world", [(64, 1), (64, 3), (10, 4), (5, 7)])
def test_shards_cover_the_batch_once(total, world):
    pieces = [shard(total, rank, world) for rank in range(world)]
    assert [each for piece in pieces for each in piece] == list(range(total))
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("world", [1, 2, 3])
def test_noise_is_the_same_however_it_is_sharded(world):
    whole = normals(5, Stream.NOISE, 9, range(100), (2, 3))
    parts = [normals(5, Stream.NOISE, 9, shard(100, rank, world), (2, 3)) for rank in range(world)]
    assert torch.equal(torch.cat(parts), whole)
    for rank in range(world):
        assert torch.equal(normals(5, Stream.NOISE, 9, np.arange(rank, 100, world), (2, 3)), whole[rank::world])


def test_noise_is_standard_normal_and_independent_between_steps_and_blocks(sampled):
    draws = torch.stack([normals(sampled.seed, Stream.NOISE, step, range(2 * BLOCK), (8,)) for step in range(100)])
    sampled.near("mean", draws.mean(), 0.0, abs=0.02)
    sampled.near("standard deviation", draws.std(), 1.0, abs=0.02)
    flat = draws.reshape(200, -1)
    correlation = torch.corrcoef(flat) - torch.eye(200)
    sampled.at_most("largest correlation", correlation.abs().max(), 0.4)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_workers_have_every_worldth_draw_of_every_part(world):
    batch = draw(np.array([1.0, 0.5, 0.5]), PARTS, 40, Train(steps=1, batch_size=64), 0, 0, np.array([5, 0, 1023]))
    shares, counts = [batch.own(rank, world) for rank in range(world)], np.bincount(batch.part)
    for rank, mine in enumerate(shares):
        parts, numbers = own_draws(counts, np.array([5, 0, 1023]), rank, world)
        assert (parts == batch.part[mine]).all() and (numbers == batch.number[mine]).all()
    assert sorted(np.concatenate(shares)) == list(range(64))
    whole = np.bincount(batch.part, minlength=3)
    for rank, mine in enumerate(shares):
        assert (batch.number[mine] % world == rank).all()
        assert np.abs(np.bincount(batch.part[mine], minlength=3) - whole / world).max() < 1


@pytest.mark.parametrize("world", [2, 4, 8])
def test_a_worker_has_positions_that_lie_together_and_neighbouring_timesteps(world):
    """So it makes its own noise alone, and differences of neighbours stay differences within a stratum or two."""
    batch = draw(np.array([1.0, 1.0, 1.0]), PARTS, 4000, Train(steps=1, batch_size=192), 0, 0, np.array([3, 70, 509]))
    for rank in range(world):
        mine = batch.own(rank, world)
        assert (np.diff(mine) == 1).all()
        for part in range(3):
            gaps = np.diff(batch.timestep[mine][batch.part[mine] == part])
            assert (gaps > 0).all() and gaps.max() < 2 * 4000 / 64


@pytest.mark.parametrize("world", [2, 3, 7])
def test_every_worker_makes_as_many_batches_of_its_positions(world: int) -> None:
    for total in range(world, 70):
        for most in (2, 3, 8, 50):
            own = [shard(total, rank, world) for rank in range(world)]
            made = [batches(each, most, most_batches(total, world, most)) for each in own]
            assert {len(each) for each in made} == {most_batches(total, world, most)}
            assert [position for each in made for batch in each for position in batch] == list(range(total))
            assert all(0 < len(batch) <= most for each in made for batch in each)


def test_the_first_draws_of_many_groups_are_spread_over_all_and_stages_go_on():
    groups = [np.arange(3 * number, 3 * number + 3) for number in range(200)]
    stages = [_in_turn(groups, stage, partial(generator, 0, Stream.VALUES, 0)) for stage in (range(40), range(40, 600))]
    (_, first), (rows, group) = stages[0], (np.concatenate(each) for each in zip(*stages, strict=True))
    assert np.abs(np.bincount(first // 20, minlength=10) - 4).max() <= 1
    assert np.array_equal(rows // 3, group) and np.array_equal(np.sort(rows), np.arange(600))

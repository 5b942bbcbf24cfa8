"""Terms on noised examples. For fixed multipliers one batch from the mixture of their distributions serves them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.data.examples import Examples
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.rng import Stream, generator, shard
from dualsweep.trainer.sources.augmentation import Augmentation
from dualsweep.trainer.sources.base import Inputs, Source
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers, Mixture, Parts
from dualsweep.trainer.sources.noising import fresh, joint_draws, noised, noised_share
from dualsweep.trainer.sources.supply import Supply
from dualsweep.trainer.sources.value_accumulator import Places, ValueAccumulator
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.terms.losses import Noised
from dualsweep.trainer.terms.timesteps import of_weight
from dualsweep.trainer.transfer import sent

NOTHING = np.empty(0, dtype=np.int64)


class DataTerm(Protocol):
    """A term on noised examples. Equal terms are evaluated together."""

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Per-sample values [B] from the trained model's predictions [B, *shape] for `noised.noisy`."""
        ...


@dataclass(frozen=True)
class Population:
    """The rows of the examples from which x is drawn, trained on and held out; in groups of equal probability.

    `fresh` are those that final values are taken on where the expectation is over what the rows were drawn from, a frozen model,
    and not over the rows; empty elsewhere.
    """

    groups: tuple[Integers, ...]
    held_out: tuple[Integers, ...]
    fresh: tuple[Integers, ...] = ()

    @classmethod
    def of(cls, rows: Integers, held_out: Integers) -> Population:
        """All rows equally probable."""
        return cls((rows,), (held_out,))

    @classmethod
    def samples(cls, rows: Integers, fresh: Integers) -> Population:
        """Samples of a frozen model; none are held out."""
        return cls((rows,), (NOTHING,), (fresh,))

    @classmethod
    def balanced(cls, rows: Integers, held_out: Integers, labels: Integers) -> Population:
        """Classes equally probable, and the rows within each; those held out over the same classes, as far as they are there."""
        classes = np.unique(labels[rows])
        held = tuple(held_out[labels[held_out] == each] for each in classes)
        return cls(tuple(rows[labels[rows] == each] for each in classes), tuple(each for each in held if len(each)))


class MixtureSource(Source):
    """The λ-mixture of the distributions of its terms ([CDM] §3), or separate batches for comparison."""

    def __init__(
        self, setting: TermContext, columns: Sequence[int], terms: Sequence[DataTerm], populations: Sequence[Population],
        examples: Examples, loaders: int | None = None, prompts: Integers | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:  # fmt: skip
        """`prompts` [N] is what each example is given, of a model of several; their number where that is nothing.

        `augmentation` is what is done to draws of the data.
        """
        self.columns = tuple(columns)
        self.places = np.array(self.columns, dtype=np.int64)
        self.setting, self.forward = setting, setting.predict
        self._fetch, self._populations, self._prompts, self._augmentation = examples.fetch, populations, prompts, augmentation
        self._timesteps = of_weight(setting.schedule, setting.train.loss_weight)
        parts = Parts.grouped([each.groups for each in populations])
        self._mixture = Mixture(self.places, parts, self._timesteps, setting.train, setting.seed)
        self._terms = _together(terms)
        self._drawn = np.zeros(len(populations), dtype=np.int64)
        self._supply = Supply(examples, self._mixture, setting.host, loaders)

    def begin_step(self, step: int, coefficients: Vector) -> MixtureStep:
        first, host = self._drawn, self.setting.host
        batch = self.setting.multipliers.batch(step, coefficients, self._mixture, first)
        self._drawn = first + np.bincount(batch.part, minlength=len(first))
        mine = batch.own(host.rank, host.world)
        x, counted = self._supply.take(batch, mine, first), len(mine) > 0
        if not counted:  # networks need not bear an empty batch: another worker's draw, which counts there alone
            batch, mine = replace(batch, weight=np.zeros_like(batch.weight)), np.zeros(1, dtype=np.int64)
            x = self._fetch(batch.index[mine])
        if self._augmentation is not None:
            x = self._augmentation.of_step(x, batch, mine, first)
        share = noised_share(self.setting, batch, mine, x, step, self._given(batch, mine, step))
        return MixtureStep(self, batch, Places(step, mine, len(batch.part)), share, counted)

    def _given(self, batch: GlobalBatch, mine: Integers, step: int) -> Integers | None:
        """What each of a worker's draws is given: its own, or nothing with the probability that the recipe gives (Ho & Salimans
        2022, arXiv 2207.12598, algorithm 1)."""
        if self._prompts is None:
            return None
        own, dropout = self._prompts[batch.index[mine]], self.setting.train.condition_dropout
        if not dropout:
            return own
        dropped = generator(self.setting.seed, Stream.CONDITION, step).random(len(batch.part))[mine] < dropout
        return np.where(dropped, len(self.setting.prompts), own)

    def close(self) -> None:
        """Ends the processes that read ahead."""
        self._supply.close()

    def state(self) -> dict[str, list[int]]:
        """How many draws each part has had: where the next step goes on, whatever the multipliers were."""
        return {"drawn": self._drawn.tolist()}

    def restore(self, state: Mapping[str, list[int]]) -> None:
        """Without positions, of a checkpoint of 0.1, each part begins with its first draw, which that version did not make."""
        self._drawn = np.array(state.get("drawn", [0] * len(self._drawn)), dtype=np.int64)

    def values(self, prediction: Tensor, noised: Noised, part: np.ndarray) -> Tensor:
        """Per-sample values [B]; `part` [B] says of which term each is."""
        if len(self._terms) == 1:
            return self._terms[0][0].values(prediction, noised)
        places = [np.flatnonzero(np.isin(part, which)) for _, which in self._terms]
        values = []
        for (term, _), own in zip(self._terms, places, strict=True):
            if len(own):
                rows = sent(own, prediction.device)
                values.append(term.values(prediction[rows], noised.part(rows)).float())
            elif self.setting.together:  # its frozen model is asked all the same, for no value
                values.append(term.values(prediction[:1], noised.part(slice(0, 1)))[:0].float())
        return torch.cat(values)[sent(np.argsort(np.concatenate(places)), prediction.device)]

    @torch.no_grad()
    def measure(self, coefficients: Vector, held_out: bool, draws: range) -> list[JointDraws]:
        """The expectation is over the training data themselves, but over what held-out data and samples were drawn from.

        Of a frozen model these are other samples than those trained on, which may be known by heart.
        """
        measured = []
        for part, population in enumerate(self._populations):
            groups, column = population.held_out if held_out else population.fresh or population.groups, self.columns[part]
            in_turn = held_out or bool(population.fresh)
            drawn = fresh(self.setting, column, groups, draws, in_turn=in_turn, timesteps=self._timesteps)
            values = []
            for _, batch in noised(self.setting, column, drawn, draws, self._fetch, self._prompts, self._augmentation):
                prediction = self.forward(batch.noisy, batch.t, **batch.given)
                values.append(self.values(prediction, batch, np.full(len(batch.t), part))[:, None])
            pool = "examples" if in_turn else None
            measured += joint_draws(self.setting, [column], drawn, values, pool)
        return measured

    @torch.no_grad()
    def held_out_by_band(self, bands: int, draws: int) -> Tensor | None:
        """Sums [bands], in double, of this worker's share of `draws` of the first term on held-out data, by bands of timesteps;
        None where none of its data is held out.

        Bands are equally probable, from the cleanest timesteps on; the draws are the same each time.
        """
        groups, within = self._populations[0].held_out, range(draws)
        if not sum(map(len, groups)):
            return None
        drawn = fresh(self.setting, self.columns[0], groups, within, in_turn=True, timesteps=self._timesteps)
        sums = torch.zeros(bands, dtype=torch.float64)
        for place, batch in noised(self.setting, self.columns[0], drawn, within, self._fetch, self._prompts, self._augmentation):
            prediction = self.forward(batch.noisy, batch.t, **batch.given)
            values = self.values(prediction, batch, np.zeros(len(batch.t), dtype=np.int64)).double().cpu()
            sums.index_add_(0, torch.arange(place.start, place.stop) * bands // draws, values)
        return sums.to(self.setting.host.device)


def _together(terms: Sequence[DataTerm]) -> list[tuple[DataTerm, list[int]]]:
    """Each of the different terms, with the parts that it is of."""
    distinct: list[tuple[DataTerm, list[int]]] = []
    for part, term in enumerate(terms):
        same = next((parts for other, parts in distinct if other == term), None)
        if same is None:
            distinct.append((term, [part]))
        else:
            same.append(part)
    return distinct


class MixtureStep:
    """One batch of the mixture; `counted`: whether the values of this worker's draws at their `places` are its to report."""

    def __init__(self, source: MixtureSource, batch: GlobalBatch, places: Places, noised: Noised, counted: bool) -> None:
        self._source, self._batch, self._places, self._noised, self._counted = source, batch, places, noised, counted
        host, mine = source.setting.host, places.positions
        self._part = batch.part[mine]
        # Data-parallel training averages gradients over workers; times `world` it is the sum over the global batch.
        self._weight = sent((batch.weight[mine] * host.world).astype(np.float32), host.device)
        own = batch.multipliers[mine].astype(np.float32) if batch.multipliers is not None else None
        self._multipliers = sent(own, host.device) if own is not None else None
        self._values: list[Tensor] = []

    def loss(self, number: int, piece: int = 0) -> Tensor:
        own = shard(len(self._part), piece, self._source.setting.train.accumulate)
        # Of fewer draws than pieces some have none: one draw then counts for nothing, as networks fail on a batch of none.
        within = slice(own.start, own.stop) if len(own) else slice(0, 1)
        asked = {"multipliers": self._multipliers[within]} if self._multipliers is not None else {}
        noised = self._noised.part(within)
        prediction = self._source.forward(noised.noisy, noised.t, **noised.given, **asked)
        values = self._source.values(prediction, noised, self._part[within])
        if number == 0 and len(own):
            self._values.append(values.detach())
        weight = self._weight[within] if len(own) else torch.zeros_like(self._weight[:1])
        with torch.autocast(values.device.type, enabled=False):  # under which a product rounds the multipliers to 8 bits
            return values.float() @ weight

    def add_to(self, sums: ValueAccumulator) -> None:
        if self._counted:
            shared = self._places if self._source.setting.host.world > 1 else None
            sums.add_stratified(self._source.places[self._part], torch.cat(self._values), shared)

    def inputs(self) -> Inputs:
        rows = self._batch.index[self._places.positions]

        def fault(bad: Integers) -> str:
            drawn = rows[bad[:5]].tolist()
            return f"data must be finite, but a step drew NaN or infinity at positions {drawn}; fix or drop them"

        return Inputs.of(self._noised.x, fault)

"""The primal side of a model with weights: the model, its averaged weights, its optimiser."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, distributed, nn

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.averaged_weights import AveragedWeights
from dualsweep.trainer.engine.averaging import share_of
from dualsweep.trainer.engine.gradients import Gradients
from dualsweep.trainer.engine.moving_buffers import share_buffers
from dualsweep.trainer.engine.optimizers import recall, remembered, stepper, take_over
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.activation_checkpointing import checkpoint_activations
from dualsweep.trainer.models.compilation import compile_network
from dualsweep.trainer.models.precision import precision
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.rng import Stream, generator
from dualsweep.trainer.sources.base import AuxiliaryNetwork

#: Tensors of a checkpoint, by group and name.
Groups = dict[str, dict[str, Tensor]]


class _Reaching(torch.autograd.Function):
    """A copy of the prediction, which a term may change, whose backward pass reaches every parameter.

    DDP waits for each: without this, one that a step doesn't use would end the training. From here it has no gradient, which
    costs nothing, where DDP's own `find_unused_parameters` goes through the graph at each step.
    """

    @staticmethod
    def forward(_ctx: Any, prediction: Tensor, *_parameters: Tensor) -> Tensor:
        return prediction.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*gradients, *([None] * (len(ctx.needs_input_grad) - 1)))


class GradientPrimal:
    """One worker's weights, their averages and optimiser. An update depends on these, the surrogate and the step alone."""

    together = False

    def __init__(self, recipe: Recipe, predictor: Predictor, device: torch.device, rank: int, world: int) -> None:
        self.recipe, self.device = recipe, device
        self.rank, self.world = rank, world
        self.predictor = predictor
        if recipe.train.checkpointing:
            checkpoint_activations(self.predictor)
        if recipe.train.compile:
            compile_network(self.predictor, device)
        self.forward: nn.Module = self.predictor
        self._synchronised = world == 1
        self.parameters = self._spread()
        if not self.parameters:
            raise TrainingError("the model must have trainable parameters, but got none; check requires_grad")
        train = recipe.train
        self._stepper = stepper(self.parameters, train)
        self.optimizer = self._stepper.optimizer
        self.average = AveragedWeights(self.parameters, share_of(train.ema))
        self._rates = [float(group["lr"]) for group in self.optimizer.param_groups]  # a user's own may have several
        self._groups = len(self._rates)
        self.companions: dict[str, nn.Module] = {}
        self.precision = precision(train.precision, device, cached=not self.together)
        self._scaler = torch.amp.GradScaler(device.type, enabled=train.precision == "fp16")

    def _spread(self) -> list[nn.Parameter]:
        """Puts the model where this worker needs it; returns the parameters that it updates."""
        self.predictor.to(self.device)
        # DDP overlaps the exchange of gradients with their computation, but wants one forward pass for each backward pass.
        if self.world > 1 and all(each.term.source == "data" for each in self.recipe.terms):
            self._synchronised = True
            devices = [self.device] if self.device.type == "cuda" else None
            self.forward = nn.parallel.DistributedDataParallel(
                self.predictor, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        return [each for each in self.predictor.parameters() if each.requires_grad]

    def train_beside(self, networks: Mapping[str, AuxiliaryNetwork]) -> None:
        """Trains networks beside the model from now on: same steps, own rates; in checkpoints, not in the delivered model."""
        for name, network in networks.items():
            self.companions[name] = network.module.to(self.device)
            self._rates.append(network.lr)
            self.optimizer.add_param_group({"params": list(network.module.parameters()), "lr": network.lr})

    def predict(
        self, x: Tensor, t: Tensor, prompts: Tensor | None = None, multipliers: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """The present weights' prediction [B, *shape] for x [B, *shape] at timesteps t [B]; `prompts` [B] as `guided` takes them.

        `multipliers` [B, m] are those that each sample is asked at, where the model is conditioned on them.
        """
        exchanged = torch.is_grad_enabled() and isinstance(self.forward, nn.parallel.DistributedDataParallel)
        prediction: Tensor = (self.forward if exchanged else self.predictor)(x, t, prompts, multipliers)
        if not exchanged:
            return prediction
        reaching: Tensor = _Reaching.apply(prediction, *self.parameters)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return reaching

    def guided(
        self, x: Tensor, t: Tensor, prompts: Tensor | None = None, multipliers: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """The prediction [B, *shape] with the model's guidance, for sampling; `prompts` [B] say which prompt each sample has."""
        return self.predictor.guided(x, t, prompts, multipliers)

    def begin(self, step: int, coefficients: Vector) -> None:
        """To be called before anything of a primal step is computed: what it draws and its rate depend on the step alone.

        The Lagrangian's `coefficients` [1 + m] move the weights only through its gradient.
        """
        self._set_lr(step)
        self._seed_dropout(step)

    def update(self, surrogates: Sequence[Callable[[], Tensor]]) -> Tensor:
        """One update of the weights along the gradient of the sum of scalars, averaged over workers.

        Each is computed when the one before is done with, so that one's activations are kept at a time.

        Returns the norm of the global gradient before clipping, a scalar on the device. With a non-finite gradient nothing
        moves, which the device decides; every worker has the same norm, so all agree.
        """
        for gradients in self._gradients:
            gradients.zero()
        for number, surrogate in enumerate(surrogates, start=1):
            with self._exchanging(number == len(surrogates)):
                with self.precision:
                    loss = surrogate()
                self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if not self._synchronised:
            self._average_gradients()
        self._scaler.unscale_(self.optimizer)
        clip = self.recipe.train.clip or math.inf
        # Each network by its own norm: a companion's large gradient is not to shorten the model's step.
        norms = [gradients.shortened(clip) for gradients in self._gradients]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        void = (~norm.isfinite()).float()
        self._stepper.step(void)
        self.average.update(void)
        self._scaler.update()
        if self.world > 1:
            share_buffers(self.predictor.inner)
        return norm

    @cached_property
    def _gradients(self) -> list[Gradients]:
        """Those of each network, once all that are trained beside the model are there."""
        laid = not isinstance(self.forward, nn.parallel.DistributedDataParallel)
        own = [each for group in self.optimizer.param_groups[: self._groups] for each in group["params"]]
        return [Gradients(own, laid=laid), *self._beside()]

    def _beside(self) -> list[Gradients]:
        """Those of the networks that are trained beside the model, whose groups follow its own."""
        return [Gradients(group["params"], laid=True) for group in self.optimizer.param_groups[self._groups :]]

    def _exchanging(self, last: bool) -> AbstractContextManager[None]:
        """Where gradients are exchanged with the other workers: once an update, with its last backward pass."""
        if last or not isinstance(self.forward, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return self.forward.no_sync()

    def _average_gradients(self) -> None:
        """Averages gradients over workers as DDP does, in few messages; a parameter that the step didn't use has one of zero."""
        self._average(self._gradients)

    def _average(self, every: Sequence[Gradients]) -> None:
        for gradients in every:
            for stretch in gradients.whole:
                distributed.all_reduce(stretch)
                stretch /= self.world

    def _seed_dropout(self, step: int) -> None:
        """Dropout, and whatever else a user's model draws, depends on (seed, step, rank)."""
        seed = int(generator(self.recipe.seed, Stream.BATCH, step, 1 + self.rank).integers(2**63))
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _set_lr(self, step: int) -> None:
        train = self.recipe.train
        share = min(1.0, (step + 1) / train.lr_warmup) if train.lr_warmup else 1.0
        left = 1.0 - step / train.steps
        if train.lr_schedule == "cosine":
            share *= 0.5 * (1.0 - math.cos(math.pi * left))
        elif train.lr_schedule == "wsd":
            share *= max(0.02, min(1.0, left / train.lr_cooldown))
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share

    @contextlib.contextmanager
    def averaged(self, coefficients: Vector) -> Iterator[Predictor]:
        """The predictor with the averaged weights, in evaluation mode, whatever the Lagrangian's `coefficients` are.

        The training weights come back afterwards.
        """
        with self.average.in_place():
            self.predictor.eval()
            try:
                yield self.predictor
            finally:
                self.predictor.train()

    def whole(self, coefficients: Vector) -> AbstractContextManager[Predictor | None]:
        """The predictor of `averaged` in one piece."""
        return self.averaged(coefficients)

    def state(self) -> tuple[Groups, dict[str, Any]]:
        """Tensors by group, copied to the CPU, and the plain numbers beside them.

        The groups are `weights`, `average`, `optimizer` and, where there are some, `companions`.
        """
        tensors, beside = remembered(self.optimizer)
        average = {str(i): value for i, value in enumerate(self.average.tensors)}
        groups = {"weights": self.predictor.stored(), "average": average, "optimizer": tensors}
        if self.companions:
            groups["companions"] = {
                f"{owner}.{name}": value
                for owner, module in self.companions.items()
                for name, value in module.state_dict().items()
            }
        # In one order on all workers, who may gather them: an optimiser remembers in that in which it was read.
        kept = {group: {name: self._kept(group, name, each[name]) for name in sorted(each)} for group, each in groups.items()}
        numbers = {"ema_steps": self.average.updates, "scaler": self._scaler.state_dict()}
        return kept, numbers | ({} if self.recipe.train.optimizer == "adamw" else {"optimizer": beside})

    def restore(self, groups: Groups, numbers: dict[str, Any]) -> None:
        """Puts back what `state` returned, bit for bit."""
        groups = self._own(groups)
        self._put_back(groups, numbers)
        recall(self.optimizer, groups["optimizer"], numbers.get("optimizer"))

    def start_from(self, groups: Groups, numbers: dict[str, Any]) -> bool:
        """Takes over what another run's `state` returned; whether its optimiser's moments were such as this one's."""
        groups = self._own(groups)
        fits = take_over(self._stepper, groups["optimizer"], numbers.get("optimizer"))
        self._put_back(groups, numbers)
        return fits

    def _put_back(self, groups: Groups, numbers: dict[str, Any]) -> None:
        self.predictor.put_back(groups["weights"])
        for i, shadow in enumerate(self.average.tensors):
            shadow.copy_(groups["average"][str(i)])
        self.average.updates = numbers["ema_steps"]
        if scaler := numbers.get("scaler"):  # a run in another precision, or of before, has none
            self._scaler.load_state_dict(scaler)
        for owner, module in self.companions.items():
            own = {name: value for name, value in groups["companions"].items() if name.startswith(f"{owner}.")}
            module.load_state_dict({name.removeprefix(f"{owner}."): value for name, value in own.items()})

    def _kept(self, group: str, name: str, value: Tensor) -> Tensor:
        """What a checkpoint stores of this tensor."""
        return value.detach().to("cpu", copy=True).contiguous()

    def _own(self, groups: Groups) -> Groups:
        """What this worker has of the tensors that a checkpoint stores."""
        return groups

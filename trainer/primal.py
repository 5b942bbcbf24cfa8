"""The primal side of one worker: model, averaged weights, optimiser; one step on its shard of the global batch."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from trainer.batch import GlobalBatch
from trainer.draws import Stream, generator, normals, shard
from trainer.dual.state import SlackReport
from trainer.errors import TrainingError
from trainer.losses import denoising_losses
from trainer.models import Predictor
from trainer.problem import Vector
from trainer.recipe import Recipe


class Primal:
    """One worker's optimiser step. `step` is a function of (weights, optimiser state, seed, step, batch) and nothing else."""

    def __init__(
        self, recipe: Recipe, predictor: Predictor, schedule: DDPMScheduler, device: torch.device, rank: int, world: int
    ) -> None:
        self.recipe, self.schedule, self.device = recipe, schedule, device
        self.rank, self.world = rank, world
        self.predictor = predictor.to(device)
        self.forward: nn.Module = self.predictor
        if world > 1:
            devices = [device] if device.type == "cuda" else None
            self.forward = nn.parallel.DistributedDataParallel(
                self.predictor, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
            )
        self.parameters = [each for each in self.predictor.parameters() if each.requires_grad]
        if not self.parameters:
            raise TrainingError("the model must have trainable parameters, but got none; check requires_grad")
        train = recipe.train
        self.optimizer = torch.optim.AdamW(self.parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True)
        # Warm-up of the average: min(decay, (1 + n) / (10 + n)), so that short runs aren't ruled by their first weights.
        self.ema = EMAModel(self.parameters, decay=train.ema, foreach=True)
        self.precision = _precision(train.precision, device)

    def step(self, step: int, batch: GlobalBatch, x: Tensor) -> tuple[Tensor, float]:
        """One primal step on this worker's shard `x` [b, *shape] of `batch`.

        Returns the per-sample losses [b] and the norm of the global gradient before clipping. With a non-finite gradient
        nothing moves; every worker sees the same norm, so all agree.
        """
        mine = shard(len(batch.part), self.rank, self.world)
        self._set_lr(step)
        self._seed_dropout(step)
        noise = normals(self.recipe.seed, Stream.NOISE, step, mine, tuple(x.shape[1:])).to(self.device)
        t = torch.from_numpy(batch.timestep[mine.start : mine.stop]).to(self.device)
        # Data-parallel training averages gradients over workers; times `world` it is the sum over the global batch.
        weight = torch.from_numpy(batch.weight[mine.start : mine.stop] * self.world).to(self.device, torch.float32)
        with self.precision:
            losses = denoising_losses(self.forward, self.schedule, x.to(self.device), noise, t, self.recipe.train.loss_weight)
        self.optimizer.zero_grad(set_to_none=False)
        (losses @ weight).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.recipe.train.clip or math.inf))
        if math.isfinite(norm):
            self.optimizer.step()
            self.ema.step(self.parameters)
        return losses.detach(), norm

    def _seed_dropout(self, step: int) -> None:
        """Dropout, and whatever else a user's model draws, depends on (seed, step, rank)."""
        seed = int(generator(self.recipe.seed, Stream.BATCH, step, 1 + self.rank).integers(2**63))
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _set_lr(self, step: int) -> None:
        train = self.recipe.train
        rate = train.lr * (min(1.0, (step + 1) / train.lr_warmup) if train.lr_warmup else 1.0)
        left = 1.0 - step / train.steps
        if train.lr_schedule == "cosine":
            rate *= 0.5 * (1.0 - math.cos(math.pi * left))
        elif train.lr_schedule == "wsd":
            rate *= max(0.02, min(1.0, left / train.lr_cooldown))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    @contextlib.contextmanager
    def averaged(self) -> Any:
        """The predictor with the averaged weights, in evaluation mode; the training weights come back afterwards."""
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        self.predictor.eval()
        try:
            yield self.predictor
        finally:
            self.predictor.train()
            self.ema.restore(self.parameters)

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by group (`weights`, `average`, `optimizer`), copied to the CPU, and the plain numbers beside them."""
        weights = {name: _copied(value) for name, value in self.predictor.inner.state_dict().items()}
        average = {str(i): _copied(value) for i, value in enumerate(self.ema.shadow_params)}
        optimizer = {
            f"{i}.{name}": _copied(value)
            for i, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        groups = {"weights": weights, "average": average, "optimizer": optimizer}
        return groups, {"ema_steps": self.ema.optimization_step}

    def restore(self, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """Puts back what `state` returned, bit for bit."""
        self.predictor.inner.load_state_dict(groups["weights"])
        for i, shadow in enumerate(self.ema.shadow_params):
            shadow.copy_(groups["average"][str(i)])
        self.ema.optimization_step = numbers["ema_steps"]
        values: dict[int, dict[str, Tensor]] = {}
        for key, value in groups["optimizer"].items():
            index, name = key.split(".", 1)
            values.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": values})


def _copied(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True).contiguous()


def _precision(name: str, device: torch.device) -> Any:
    """The autocast context of the forward pass; `auto` is bf16 where the GPU has it."""
    wanted = name == "bf16" or (name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else contextlib.nullcontext()


class Sums:
    """Counts, sums and sums of squares of the losses by part [1 + m], over the primal steps of one dual step."""

    def __init__(self, parts: int) -> None:
        self._sums = np.zeros((3, parts))

    def add(self, parts: np.ndarray, losses: Tensor) -> None:
        values = losses.double().cpu().numpy()
        size = self._sums.shape[1]
        for row, weights in enumerate((None, values, values**2)):
            self._sums[row] += np.bincount(parts, weights, size)

    def report(self, step: int, rank: int) -> SlackReport:
        """This worker's report of dual step `step`; the sums start anew."""
        count, total, squares = self._sums
        self._sums = np.zeros_like(self._sums)
        return SlackReport(step, rank, count, total, squares)


def non_finite(x: Tensor, rows: Vector) -> list[int]:
    """The rows whose data hold a NaN or infinity."""
    bad = ~torch.isfinite(x).flatten(1).all(1)
    return [int(rows[i]) for i in torch.nonzero(bad).flatten()]

"""What a training will take: memory of a worker, images a second, time; from some of its own steps, here and now.

One worker's share of the batch is trained for a few steps in this process, then a small part of the evaluation is made, and
scaled to the whole of it. Nothing of it is kept. Imports the heavy libraries.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.checks.dry_run import counted
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import Prepared, prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.final_evaluation import evaluate
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop, Trained
from dualsweep.trainer.engine.room import room_for
from dualsweep.trainer.metric_point import Phase
from dualsweep.trainer.recipe.recipe import Recipe

#: Steps that are not timed, as buffers are made in them, and those that are.
WARM, TIMED = 3, 10
#: The part of the evaluation that is made: samples, and draws of each value.
SAMPLES, DRAWS = 32, 256


@dataclass(frozen=True)
class Estimate:
    """What one worker holds, and how long a training takes.

    memory      bytes of its tensors, by what they are: `weights`, `gradients`, `optimiser`, `averaged weights`, `activations`;
                frozen models, autoencoder, scorers, judge and embedded captions come on top, as Python and the libraries do
    step        seconds of a primal step
    images      images (or trajectories) that all workers take together in a second
    evaluation  seconds of the final evaluation, if its first look at the constraints decides them
    draw        seconds of one draw more of each value, of which there are some until all constraints are decided
    look        seconds of a look (`monitor`), times the looks of a step
    parameters  of the network; `trained` are those that learn
    timed       by how many steps it is known, on which `device`
    """

    memory: Mapping[str, int]
    step: float
    images: float
    evaluation: float
    parameters: int
    trained: int
    device: str
    timed: int = TIMED
    look: float = 0.0
    draw: float = 0.0

    def training(self, steps: int, more: int = 0) -> float:
        """Seconds of a whole training of so many steps, with so many draws `more` of each value than at the first look."""
        return steps * (self.step + self.look) + self.evaluation + more * self.draw


def estimate(recipe: Recipe) -> Estimate:
    """Trains a worker's share of a recipe for some steps, on a GPU where the recipe asks for one and there is one.

    Raises:
        TrainingError: the model, the data or a user's part is unusable.
    """
    part, device = (
        _part(recipe),
        torch.device("cuda" if recipe.resources.gpus_per_worker and torch.cuda.is_available() else "cpu"),
    )
    with tempfile.TemporaryDirectory() as folder, _threads(recipe.resources.cpus_per_worker), torch.random.fork_rng(devices=[]):
        host = LocalHost(InProcess(controller_of(part)), CheckpointFolder(folder), device)
        with room_for("the model", recipe):
            prepared = prepare(part, host)
        loop = Loop(prepared, lambda _: {})
        host.coordinator.begin(loop.state, 1)
        with room_for("a primal step", recipe):
            for _ in range(WARM - 1):
                loop.advance()
            activations = _saved_bytes(loop)
            seconds, look = _timed(loop), _look(loop, recipe)
        for source in prepared.sources:
            source.close()
        with room_for("the evaluation", recipe):
            evaluation, draw = _evaluation(recipe, prepared, Trained(loop.state, loop.step, seconds, None))
    memory = {**_held(prepared, recipe), "activations": activations}
    total, learned = counted(prepared.primal.predictor.parameters())
    images = _of_a_step(recipe) / seconds
    return Estimate(memory, seconds, images, evaluation, total, learned, device.type, look=look, draw=draw)


def _part(recipe: Recipe) -> Recipe:
    """One worker's share of each batch, and a small part of the evaluation, up to its first look at the constraints."""
    workers, train, rollout, evaluation = recipe.resources.least, recipe.train, recipe.rollout, recipe.evaluation
    sizes = train.floor, train.batch_size, train.constraint_batch
    floor, batch_size, constraint_batch = (-(-size // workers) for size in sizes)
    if train.batches == "mixture":  # a worker has at most a draw of each part more than its share
        batch_size = max(batch_size, sum(floor if each.column else 1 for each in recipe.terms_on("data")))
    return recipe.model_copy(
        update={
            "train": train.model_copy(update={"batch_size": batch_size, "constraint_batch": constraint_batch, "floor": floor}),
            "rollout": rollout.model_copy(update={"batch_size": -(-rollout.batch_size // workers)}),
            "evaluation": evaluation.model_copy(
                update={"samples": min(SAMPLES, evaluation.samples), "loss_draws": min(DRAWS, evaluation.loss_draws)}
            ),
            "feasibility": recipe.feasibility.model_copy(update={"draws": 1}),
            "start": None,
        }
    )


def _of_a_step(recipe: Recipe) -> int:
    """Images, or trajectories where there are some, of all workers in a primal step."""
    train = recipe.train
    if recipe.terms_on("rollout"):
        return recipe.rollout.batch_size
    if train.batches == "mixture":
        return train.batch_size
    return sum(train.constraint_batch if each.column else train.batch_size for each in recipe.terms_on("data"))


def _timed(loop: Loop) -> float:
    """Seconds of a step, of which all is computed."""
    loop.updates.read()
    started = time.perf_counter()
    for _ in range(TIMED):
        loop.advance()
    loop.updates.read()
    return (time.perf_counter() - started) / TIMED


def _look(loop: Loop, recipe: Recipe) -> float:
    """Seconds of a look, divided by the steps between two."""
    if recipe.monitor is None:
        return 0.0
    started = time.perf_counter()
    loop.look()
    return (time.perf_counter() - started) / recipe.monitor.every


def _saved_bytes(loop: Loop) -> int:
    """Bytes that one step keeps for its backward passes, beside the weights: the most of what it keeps at a time, or less."""
    own = {each.untyped_storage().data_ptr() for each in loop.primal.predictor.parameters()}
    alive: dict[int, int] = {}
    now = most = 0

    class Kept:
        """A tensor that is kept until the backward pass has used it."""

        def __init__(self, tensor: Tensor) -> None:
            nonlocal now, most
            self.tensor, storage = tensor, tensor.untyped_storage()
            self.place, self.size = storage.data_ptr(), storage.nbytes()
            alive[self.place] = alive.get(self.place, 0) + 1
            if alive[self.place] == 1 and self.place not in own:
                now += self.size
                most = max(most, now)

        def __del__(self) -> None:
            nonlocal now
            alive[self.place] -= 1
            if not alive[self.place] and self.place not in own:
                now -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        loop.advance()
    return most


def _held(prepared: Prepared, recipe: Recipe) -> dict[str, int]:
    """Bytes of the tensors that are there between steps, of each a worker's shard where they are divided."""
    groups, _ = prepared.primal.state()
    names = {"weights": "weights", "average": "averaged weights", "optimizer": "optimiser", "companions": "networks beside it"}
    held = {names[name]: sum(map(_bytes, tensors.values())) for name, tensors in groups.items() if name in names}
    held["weights"] = sum(map(_bytes, prepared.primal.predictor.parameters()))  # frozen ones, which no checkpoint has, as well
    held["gradients"] = sum(_bytes(each.grad) for each in prepared.primal.predictor.parameters() if each.grad is not None)
    parts = recipe.resources.least if recipe.resources.parallel == "fsdp" else 1
    return {name: size if name == names["companions"] else -(-size // parts) for name, size in held.items()}


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _evaluation(recipe: Recipe, prepared: Prepared, trained: Trained) -> tuple[float, float]:
    """Seconds of the final evaluation with one look, from those of a part of it: values by draws, samples by their number; and
    those of a draw of each value.
    """
    entered: list[tuple[float, Phase]] = []
    evaluate(prepared, prepared.policy, trained, lambda phase, _: entered.append((time.perf_counter(), phase)))
    entered.append((time.perf_counter(), "writing"))
    spec, part = recipe.evaluation, prepared.evaluation
    scale = {"measuring": spec.loss_draws / part.loss_draws, "sampling": spec.samples / max(part.samples, 1)}
    spent = [(phase, after - before) for (before, phase), (after, _) in pairwise(entered)]
    draw = sum(seconds for phase, seconds in spent if phase == "measuring") / part.loss_draws
    return sum(seconds * scale.get(phase, 1.0) for phase, seconds in spent), draw


@contextlib.contextmanager
def _threads(count: float) -> Iterator[None]:
    """As many threads as a worker has."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(count)))
    try:
        yield
    finally:
        torch.set_num_threads(before)

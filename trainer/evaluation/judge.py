"""The judge of a run: the user's own, or a network trained on all the data, before any thinning.

The judge is no part of what it judges: it sees the whole data set, whatever the recipe keeps of it, and nothing of the
model's training. It is trained once and shared by every trial that has the same data. Its feature space is its own, so
distances compare only under the same judge.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.data.examples import Examples
from dualsweep.trainer.errors import BadPartError
from dualsweep.trainer.evaluation.images import CHUNK, Integers, Rows
from dualsweep.trainer.evaluation.judge_network import ConvJudge, fit, train_judge
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.evaluation.variants import ALONE, Variants
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.recipe.evaluation import JudgeSpec

__all__ = ["ConvJudge", "Judge", "OfCopies", "judge_for", "load_judge", "save_judge", "train_judge"]

FORMAT = "dualsweep-judge-1"

log = logging.getLogger(__name__)


def judge_for(
    examples: Examples, spec: JudgeSpec, seed: int, cache_dir: Path | str | None, device: torch.device | str = "cpu",
    variants: Variants = ALONE,
) -> Judge | None:  # fmt: skip
    """The user's judge (`spec.call`), or one trained on all of `examples`, or None for data without two classes.

    It is shown their `variants`, as the model that it judges is.

    A trained judge lies in the local folder `cache_dir` under a hash of the data, the spec and the seed. Processes may race:
    the first to finish is the judge of all. Without a folder it is trained anew.

    Raises:
        TrainingError: the user's judge cannot be made or lacks a method, or the loss of the training is not finite.
        ValueError: a label outside the classes.
    """
    if spec.call is not None:
        methods = ("features", "probabilities")
        return OfCopies(own_judge(spec.call, methods), methods)
    if examples.labels is None or len(np.unique(examples.labels[examples.labels >= 0])) < 2:
        return None
    return trained_judge(examples, examples.labels, len(examples.class_names), spec, seed, cache_dir, device, variants)


def trained_judge(
    examples: Examples, labels: Integers, classes: int, spec: JudgeSpec, seed: int, cache_dir: Path | str | None,
    device: torch.device | str = "cpu", variants: Variants = ALONE,
) -> ConvJudge:  # fmt: skip
    """The judge trained on the `variants` of `examples` by `labels` [N] of so many classes, in place of their own; -1 is not
    shown to it.

    Raises:
        TrainingError: the loss is not finite.
        ValueError: a label outside the classes, or none.
    """
    path = (
        None
        if cache_dir is None
        else Path(cache_dir) / f"judge-{_key(examples, labels, classes, spec, seed, variants)}.safetensors"
    )
    judge = load_judge(path) if path else None
    if judge is None:
        trained = fit(examples, labels, tuple(examples.shape), classes, spec, seed, torch.device(device), variants)
        judge = _shared(trained, path) if path else trained
    return judge.to(device)


def own_judge(path: str, methods: Sequence[str]) -> Any:
    """What the user's function at `path` returns, which has these methods.

    Raises:
        TrainingError: it cannot be imported, fails, or returns something else.
    """
    make = import_callable(path)
    try:
        judge = make()
    except Exception as error:
        if ran_out(error):
            raise
        raise BadPartError(f"the judge {path} must not fail", f"{type(error).__name__}: {error}", "fix it") from error
    for method in methods:
        if not callable(getattr(judge, method, None)):
            rule = f"the judge of {path} must have {' and '.join(f'{each}(x)' for each in methods)}"
            raise BadPartError(rule, f"a {type(judge).__name__} without {method}", "return an object that has")
    return judge


class OfCopies:
    """A user's judge that is asked of copies, which it may change in place: the same samples are others' too."""

    features: Callable[[Tensor], Tensor]
    probabilities: Callable[[Tensor], Tensor]

    def __init__(self, judge: Any, methods: Sequence[str]) -> None:
        for method in methods:
            setattr(self, method, partial(self._asked, getattr(judge, method)))

    @staticmethod
    def _asked(method: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return method(x.clone())


def _key(examples: Examples, labels: Integers, classes: int, spec: JudgeSpec, seed: int, variants: Variants = ALONE) -> str:
    """Names all that a trained judge depends on."""
    head = [FORMAT, len(examples), list(examples.shape), classes, spec.epochs, spec.features, seed]
    if len(variants) > 1:
        head += [variants.flip, variants.most]
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(labels.tobytes())
    for chunk in Rows(examples, np.arange(len(examples))).chunks(CHUNK):
        digest.update(chunk.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def save_judge(judge: ConvJudge, path: Path) -> None:
    """Writes the judge as one safetensors file whose header says how to build it; `load_judge` reads it."""
    built = {"shape": list(judge.shape), "classes": judge.head.out_features, "features": judge.head.in_features}
    weights = {name: tensor.cpu().contiguous() for name, tensor in judge.state_dict().items()}
    save_file(weights, path, {"format": FORMAT, "judge": json.dumps(built)})


def load_judge(path: Path) -> ConvJudge | None:
    """The judge saved in `path`, on CPU; None where there is none, or (with a warning) none that can be read."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            built = json.loads(file.metadata()["judge"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping, it has only keys()
        with torch.random.fork_rng(devices=[]):  # the first weights, drawn and replaced, leave the global state as it was
            judge = ConvJudge(tuple(built["shape"]), built["classes"], built["features"])
        judge.load_state_dict(weights)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        log.warning("the judge in %s cannot be read (%s); another is trained", path, error)
        return None
    return judge.eval()


def _shared(trained: ConvJudge, path: Path) -> ConvJudge:
    """The judge that lies in `path` after `trained` was offered to it: one that came first stays.

    A cache that cannot be written costs a warning and time, never the run.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-", suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            save_judge(trained, part)
            _offer(part, path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        log.warning("the judge cannot be kept in %s (%s); the next run trains its own", path.parent, error)
        return trained
    return load_judge(path) or trained


def _offer(part: Path, path: Path) -> None:
    """Moves `part` to `path` atomically, unless a readable judge is there by then."""
    try:
        path.hardlink_to(part)  # fails where `path` exists, as a rename would not
    except FileExistsError:
        if load_judge(path) is None:
            part.replace(path)
    except OSError:  # a file system without hard links
        part.replace(path)

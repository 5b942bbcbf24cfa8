"""Judges of shares: each with what is known of its errors, by images that it has not seen."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.data import user_dataset
from dualsweep.trainer.data.attributes import spelt
from dualsweep.trainer.data.class_names import find
from dualsweep.trainer.data.division import draw_held_out
from dualsweep.trainer.data.examples import Examples
from dualsweep.trainer.errors import BadPartError, TrainingError
from dualsweep.trainer.evaluation.confusion import Confusion
from dualsweep.trainer.evaluation.images import Integers, Rows
from dualsweep.trainer.evaluation.judge import OfCopies, own_judge, trained_judge
from dualsweep.trainer.evaluation.judge_protocol import classify
from dualsweep.trainer.evaluation.variants import ALONE, Variants, Varied
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.evaluation import JudgeSpec
from dualsweep.trainer.recipe.share import JudgedBy, Share


class _Logits:
    """A torch module of logits [B, K] as a judge: frozen, in evaluation mode."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module, self._device = module.eval().requires_grad_(False).to(device), device

    def probabilities(self, x: Tensor) -> Tensor:
        logits: Tensor = self._module(x.to(self._device))
        return logits.float().softmax(dim=1).to(x.device)


@dataclass(frozen=True)
class Labelled:
    """Images that a judge has not seen: `rows` [n] of `images`, and the label [n] of each among the judge's classes `names`."""

    images: Examples
    rows: Integers
    labels: Integers
    names: tuple[ClassName, ...]


class CalibratedJudge:
    """A judge of K classes, whose answers are corrected by its confusion matrix (`dualsweep.trainer.evaluation.confusion`)."""

    def __init__(self, judge: Any, names: tuple[ClassName, ...], confusion: Confusion, device: torch.device) -> None:
        self._judge, self.names, self.confusion = judge, names, confusion
        self._weights = torch.from_numpy(confusion.weights).to(device, torch.float32)
        self._last: tuple[weakref.ref[Tensor], bool, Tensor] | None = None

    def corrected(self, x: Tensor) -> Tensor:
        """W times the judge's probabilities [B, K] of images x, on the device of x; asked once for all shares of one batch.

        The mean over samples estimates the shares of the classes; single values may lie outside [0, 1].
        """
        graph = torch.is_grad_enabled()
        if self._last is None or self._last[0]() is not x or self._last[1] is not graph:
            probabilities = self._judge.probabilities(x)
            _check_columns(probabilities, self.names)
            self._last = weakref.ref(x), graph, probabilities.float() @ self._weights.T.to(x.device)
        return self._last[2]


class JudgesOfShares:
    """The judges that a run's shares ask for, each made when it is first asked for.

    `examples` is the recipe's data set, None without; `cache` the folder of trained judges. Judges are trained, and their errors
    are known, by its images' `variants`, as samples are of these; images of a user's own are taken as they are.
    """

    def __init__(
        self, spec: JudgeSpec, examples: Examples | None, cache: str | None, device: torch.device, variants: Variants = ALONE
    ) -> None:
        self._spec, self._examples, self._cache, self._device, self._variants = spec, examples, cache, device, variants
        self._made: dict[tuple[JudgedBy, str | None], CalibratedJudge] = {}

    def __call__(self, share: Share) -> CalibratedJudge:
        """The judge of this share, the same for all shares that name the same.

        Raises:
            TrainingError: it cannot be made, is given no or too few labelled images, or does not tell its classes apart.
        """
        key = share.judged_by, self._attribute(share)
        if key not in self._made:
            self._made[key] = self._make(share)
        return self._made[key]

    def _attribute(self, share: Share) -> str | None:
        """The attribute of the data that the share is of; None of a class."""
        examples = self._examples if share.calibration is None else None
        if examples is None or examples.attributes is None or find(share.of, examples.class_names) is not None:
            return None
        return spelt(str(share.of), examples.attributes.names)

    def _labels(self, share: Share, examples: Examples) -> tuple[Integers | None, tuple[ClassName, ...]]:
        """The labels [N] by which a judge of this share is known, and their names: the classes, or who has an attribute."""
        attribute = self._attribute(share)
        if attribute is None or examples.attributes is None:
            return examples.labels, tuple(examples.class_names)
        return examples.attributes.having({attribute: True}).astype(np.int64), (f"not {attribute}", attribute)

    def _make(self, share: Share) -> CalibratedJudge:
        judge, seen = self.unlearned(share)
        if judge is None:
            shown = np.array(self._labels(share, seen.images)[0])
            shown[seen.rows] = -1
            known = self._spec, 0, self._cache, self._device, self._variants
            judge = trained_judge(seen.images, shown, len(seen.names), *known)
            judge.requires_grad_(False)
        variants = self._variants if seen.images is self._examples else ALONE
        unseen = Varied.drawn(seen.images, variants, len(seen.images), 0, 0)
        probabilities = classify(judge, Rows(unseen, seen.rows))
        _check_columns(probabilities, seen.names)
        return CalibratedJudge(judge, seen.names, Confusion.of(probabilities, seen.labels, seen.names), self._device)

    def unlearned(self, share: Share) -> tuple[Any, Labelled]:
        """The user's judge, None for one that is yet to be trained, and the images by which its errors are to be known.

        Raises:
            TrainingError: as a call.
        """
        call = share.judge or self._spec.call
        if call is None:
            return None, self._held_out(share)
        judge = own_judge(call, ()) if share.judge else own_judge(call, ("features", "probabilities"))
        if isinstance(judge, nn.Module) and not hasattr(judge, "probabilities"):
            judge = _Logits(judge, self._device)
        elif not callable(getattr(judge, "probabilities", None)):
            rule = f"the judge of {call} must have probabilities(x), or be a torch module of logits"
            raise BadPartError(rule, f"a {type(judge).__name__}", "return one")
        else:
            judge = OfCopies(judge, ("probabilities",))
        return judge, self._unseen(share, call)

    def _held_out(self, share: Share) -> Labelled:
        examples = self._examples
        labels, names = self._labels(share, examples) if examples is not None else (None, ())
        if examples is None or labels is None or len(names) < 2:
            raise TrainingError(
                "a judge of shares must have data with labels of two classes or more to be trained on, but got none; give data "
                "with labels, or share.judge"
            )
        rows = np.flatnonzero(draw_held_out(labels, share.held_out, 0)[1])
        return Labelled(examples, rows, labels[rows], names)

    def _unseen(self, share: Share, call: str) -> Labelled:
        """All labelled images that the user names, with their labels as the judge counts them."""
        examples = self._examples if share.calibration is None else user_dataset.load(share.calibration, ("share", "calibration"))
        numbers, given = self._labels(share, examples) if examples is not None else (None, ())
        if examples is None or numbers is None:
            raise TrainingError(
                f"the judge {call} must have labelled images by which its errors are known, but got none; write "
                "share.calibration, a function that returns images and labels, or give data with labels"
            )
        names = tuple(share.classes or given)
        places = [find(name, names) for name in given]
        if unknown := [name for name, place in zip(given, places, strict=True) if place is None]:
            raise TrainingError(
                f"the labelled images of the judge {call} must be of its classes, but got {show(unknown[0])}; "
                f"{nearest(unknown[0], names)}"
            )
        labels = np.array([-1 if place is None else place for place in places], dtype=np.int64)[numbers]
        return Labelled(examples, np.arange(len(examples)), labels, names)


def _check_columns(probabilities: Any, names: tuple[ClassName, ...]) -> None:
    shape = list(getattr(probabilities, "shape", ()))
    if len(shape) != 2 or shape[1] != len(names):
        raise BadPartError(
            f"the judge's probabilities(x) must have a column for each of its {len(names)} classes, {show(list(names))}",
            f"shape {shape}", "fix the judge, or name its classes in their order by share.classes",
        )  # fmt: skip

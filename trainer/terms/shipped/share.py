"""The share of a class in the trained model's samples, as a judge sees them whose own errors are taken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.data.captions import matching
from dualsweep.trainer.data.class_names import find
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.recipe.term_spec import ImportPaths, Seen, TermSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.evaluation.calibrated_judge import CalibratedJudge
    from dualsweep.trainer.evaluation.confusion import JudgeError
    from dualsweep.trainer.models.spaces import Space
    from dualsweep.trainer.rewards.evaluate import Checked
    from dualsweep.trainer.samplers.rollout import Path
    from dualsweep.trainer.terms.context import TermContext


@dataclass(frozen=True, eq=False)
class ShareTerm:
    """w_c (W p(x))[k] of samples x of prompt c: its mean is the share of class k among the samples of some of the prompts.

    W and p are the judge's (`dualsweep.trainer.evaluation.confusion`), w_c = P / Q where c is one of those Q of all P prompts,
    and 0 elsewhere. `factors` [P] are w, None where all samples count, and `among` are the prompts as the recipe names them. A
    step's prompts are drawn, so that this is right on average; final values divide by what w was on the draws that were made.
    """

    judge: CalibratedJudge
    label: int
    reward: Checked
    space: Space
    among: tuple[ClassName, ...] = ()
    factors: Tensor | None = None

    def values(self, path: Path) -> Tensor:
        """Per-sample values [B]; that they are finite is for whoever asks the reward for what is `unread`."""
        return self._weighted(self.reward.later(path.decoded(self.space)), path)

    def composition(self, path: Path) -> Tensor:
        """As `values`, of all the judge's classes, [B, K]; of samples that have been judged."""
        return self._weighted(self.judge.corrected(path.decoded(self.space)), path)

    def _weighted(self, values: Tensor, path: Path) -> Tensor:
        from dualsweep.trainer.transfer import sent

        if self.factors is None or path.prompts is None:
            return values
        factors = sent(self.factors[path.prompts].to(values.dtype), values.device)
        return values * (factors if values.ndim == 1 else factors[:, None])


def judged_alike(shares: Iterable[ShareTerm]) -> dict[tuple[int, tuple[ClassName, ...]], ShareTerm]:
    """One of those shares that are of the same samples by the same judge, whose compositions are one."""
    return {(id(each.judge), each.among): each for each in shares}


def judge_errors(shares: Mapping[int, ShareTerm]) -> list[JudgeError]:
    """The error that shares have by their judges, by column; draws have the compositions of `judged_alike` beside them."""
    from dualsweep.trainer.evaluation.confusion import JudgeError

    places, start = {}, 0
    for key, term in judged_alike(shares.values()).items():
        places[key] = slice(start, start + len(term.judge.names))
        start += len(term.judge.names)
    columns: dict[CalibratedJudge, list[int]] = {}
    for column, term in shares.items():
        columns.setdefault(term.judge, []).append(column)
    return [
        JudgeError(
            tuple(own), tuple(shares[each].label for each in own),
            tuple(places[id(judge), shares[each].among] for each in own), judge.confusion,
        )
        for judge, own in columns.items()
    ]  # fmt: skip


def _build(value: Share, setting: TermContext) -> ShareTerm:
    judge = setting.judge_of_shares(value)
    reward = share_of(value, judge, setting.rollout.gradient)
    return ShareTerm(judge, label_of(value, judge), reward, setting.space, tuple(value.among or ()), _factors(value, setting))


def label_of(value: Share, judge: CalibratedJudge) -> int:
    """The number of the class among those of its judge.

    Raises:
        TrainingError: the judge does not know it.
    """
    from dualsweep.trainer.errors import TrainingError

    label = find(value.of, judge.names)
    if label is None:
        raise TrainingError(
            f"a share must be of a class of its judge, but got {show(value.of)}; {nearest(value.of, judge.names)}"
        )
    return label


def share_of(value: Share, judge: CalibratedJudge, gradient: object) -> Checked:
    """From samples [B, *shape] to the corrected probabilities [B] of the class; `gradient` is the recipe's `rollout.gradient`.

    Raises:
        TrainingError: the judge does not know the class.
    """
    from dualsweep.trainer.rewards.evaluate import Checked

    label = label_of(value, judge)
    return Checked(f"share of {value.of}", lambda x: judge.corrected(x)[:, label], gradient == "backpropagation")


def _factors(value: Share, setting: TermContext) -> Tensor | None:
    import torch

    from dualsweep.trainer.data.faults import BadDataError

    if value.among is None:
        return None
    if missing := list(among_faults(value, setting.prompts, ("share",))):
        raise BadDataError(*missing)
    meant = torch.tensor(matching(setting.prompts, [str(each) for each in value.among]))
    return meant / meant.float().mean() if len(meant) > 1 else None


def _faults(value: Share, seen: Seen) -> Iterator[Diagnostic]:
    names: Sequence[ClassName] | None = value.classes
    if names is None and value.calibration is None and None not in (seen.class_names, seen.attributes):
        names = (*(seen.class_names or ()), *(seen.attributes or ()))
    if names is not None and not names:
        remedy = "give data with labels, or share.calibration"
        yield Diagnostic((*seen.keys, "of"), "must go with images that have labels", show(value.of), remedy)
    elif names is not None and find(value.of, names) is None:
        yield Diagnostic((*seen.keys, "of"), "must be a class of the judge", show(value.of), nearest(value.of, names))
    if seen.texts is not None:
        yield from among_faults(value, seen.texts, seen.keys)


def among_faults(value: Share, texts: Sequence[str], keys: Keys, draws: int | None = None) -> Iterator[Diagnostic]:
    """Patterns of `among` that none of the texts fits, or that stand beside a model without texts, or that fit none of the texts
    of a final value's `draws`, as many as it has at the last look."""
    for position, pattern in enumerate(value.among or ()):
        if not texts:
            received, remedy = "a model without", "drop it, or write model.prompts or model.condition"
            yield Diagnostic((*keys, "among"), "must go with a model that is given prompts or classes", received, remedy)
            return
        if not any(matching(texts, [str(pattern)])):
            rule = "must fit a prompt or class that the model is given"
            yield Diagnostic((*keys, "among", position), rule, show(pattern), nearest(pattern, texts))
    if value.among is None or draws is None or draws >= len(texts):
        return
    from dualsweep.trainer.rng import in_turn

    which, meant = in_turn(len(texts), range(len(texts))), matching(texts, [str(each) for each in value.among])
    first = next((place for place, each in enumerate([] if which is None else which.tolist()) if meant[each]), 0)
    if first >= draws:
        rule = "must fit a prompt or class of a final value's draws"
        received = f"none among those of {draws} draws, of {len(texts)} prompts or classes in all"
        yield Diagnostic((*keys, "among"), rule, received, f"raise evaluation.loss_draws to {first + 1} at least")


def _import_paths(value: Share) -> ImportPaths:
    named = (("judge", value.judge), ("calibration", value.calibration))
    return tuple(((key,), path, (0,)) for key, path in named if path is not None)


TERM = TermSpec(
    word="share",
    value=Share,
    source="rollout",
    build=_build,
    description="the share of a class in the samples, by a judge whose errors are known",
    example="{of: 4}",
    faults=_faults,
    tilts=True,
    import_paths=_import_paths,
)

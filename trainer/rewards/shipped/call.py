"""The user's own reward, by import path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import Field

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.import_path import CannotImportError, import_callable, takes
from dualsweep.trainer.recipe.base import ClassName, ImportPath
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction, RewardSpec


class Call(RewardSpec):
    """What a user's function `(samples [B, ...]) -> values [B]` returns.

    One that cannot be called with the samples alone is given their prompts, B texts, as its second argument.
    """

    word: ClassVar[str] = "call"
    differentiable: ClassVar[bool | None] = None
    certain: ClassVar[bool] = False
    channels: ClassVar[tuple[int, ...] | None] = None
    short: ClassVar[str | None] = "path"

    path: ImportPath = Field(
        description="the import path of a function `(samples [B, ...]) -> [B]`, or `(samples, prompts) -> [B]`",
        examples=["my:reward"],
    )

    @property
    def name(self) -> str:
        return self.path

    @property
    def needs_prompt(self) -> bool:
        try:
            function = import_callable(self.path)
        except CannotImportError:
            return False  # told by `wrong`
        return not takes(function, 1) and takes(function, 2)

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        function = import_callable(self.path)
        # A copy, which it may change in place: the same samples are other terms' too.
        if not self.needs_prompt:
            return lambda x: function(x.clone())
        return ByPrompt(lambda x, prompts: function(x.clone(), [context.prompts[each] for each in prompts.tolist()]))

    def mistakes(self, shape: tuple[int, ...] | None, class_names: Sequence[ClassName] | None) -> Iterator[Diagnostic]:
        try:
            function = import_callable(self.path)
        except CannotImportError as error:
            yield error.diagnostic.at(("path",))
            return
        if not takes(function, 1) and not takes(function, 2):
            received = f"`{self.path}`, which cannot"
            remedy = "change its parameters, or give the others defaults"
            yield Diagnostic(
                ("path",),
                "must be a function that can be called with one argument, or with samples and their prompts",
                received,
                remedy,
            )

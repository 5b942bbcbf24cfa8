from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dualsweep.trainer.config.yaml_file import Document, parse, validate
from dualsweep.trainer.recipe.data import Data
from dualsweep.trainer.recipe.recipe import Recipe

ReadRecipe = Callable[..., tuple[Recipe, Document]]

HEAD = """\
name: test
formulation: constrained_training
model: {unet: {channels: [16, 32]}}
train: {steps: 10}
"""


def data_of(**values: Any) -> Data:
    return Data.model_validate(values)


def recipe_of(text: str, head: str = HEAD) -> tuple[Recipe, Document]:
    """A recipe whose `data` (line 5 on) and `constraints` are `text`."""
    document = parse(head + text, "recipe.yaml")
    return validate(Recipe, document), document

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.config.yaml_file import Document, parse, validate
from trainer.recipe.data import Data
from trainer.recipe.recipe import Recipe

WriteModule = Callable[[str, str], str]
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


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Writes a module into the working directory; forgets it afterwards."""
    monkeypatch.chdir(tmp_path)
    written: list[str] = []

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    path = list(sys.path)
    yield write
    sys.path[:] = path
    for name in written:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()

"""The user's own parts by import path, `package.module:function`; the working directory is importable."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from dualsweep.trainer.config.diagnostics import UnplacedError
from dualsweep.trainer.config.wording import nearest
from dualsweep.trainer.errors import TrainingError

Kind = TypeVar("Kind")


class CannotImportError(UnplacedError, TrainingError):
    """An import path leads nowhere."""

    def __init__(self, path: str, received: str, remedy: str, what: str = "function") -> None:
        super().__init__(f"must lead to a {what} that can be imported", received, remedy)
        self.args = path, received, remedy, what  # what makes it anew beyond a process border

    def __str__(self) -> str:
        return f"`{self.args[0]}` {self.diagnostic.sentence}"


def import_callable(path: str) -> Callable[..., Any]:
    """What `package.module:name` (or `package.module:name.attribute`) names, looked for in the working directory first.

    Raises:
        CannotImportError: the module is absent or fails while it is imported, or holds no such callable.
    """
    target = _import_named(path)
    if not callable(target):
        raise CannotImportError(path, f"a {type(target).__name__}, which cannot be called", "name a function or a class")
    return target  # type: ignore[no-any-return]  # `callable` does not tell mypy what a user's function returns


def import_instance(path: str, kind: type[Kind]) -> Kind:
    """As `import_callable`, of an object of that kind, a description of a part.

    Raises:
        CannotImportError: the module is absent or fails while it is imported, or holds no such object.
    """
    target = _import_named(path, kind.__name__)
    if not isinstance(target, kind):
        remedy = f"name one, an instance of {kind.__module__}.{kind.__name__}"
        raise CannotImportError(path, f"a {type(target).__name__}", remedy, kind.__name__)
    return target


def _import_named(path: str, what: str = "function") -> Any:
    module_name, _, attributes = path.partition(":")
    target: Any = _import(path, module_name, what)
    owner = f"module `{module_name}`"
    for attribute in attributes.split("."):
        if not hasattr(target, attribute):
            raise CannotImportError(path, f"{owner} without `{attribute}`", nearest(attribute, _public(target)), what)
        target, owner = getattr(target, attribute), f"`{attribute}`"
    return target


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether `function` can be called with `count` positional arguments; True where its signature is not known."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # some builtins have no signature
        return True
    return True


def _import(path: str, module_name: str, what: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # the console command does not put it there, as `python -m` does
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise CannotImportError(path, f"no module named `{missing}`", _where_to_put(missing), what) from error
        raise CannotImportError(path, f"no module named `{missing}`{_place(error)}", f"install `{missing}`", what) from error
    except (Exception, SystemExit) as error:
        received = f"{type(error).__name__} while importing it: {error}{_place(error)}"
        raise CannotImportError(path, received, "fix that module", what) from error


def _place(error: BaseException) -> str:
    """Where the user's module failed: the last frame that is not of the import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    outer = [frame for frame in frames if frame.filename != __file__]
    return f" ({outer[-1].filename}:{outer[-1].lineno})" if outer else ""


def _where_to_put(module_name: str) -> str:
    beside = sorted(file.stem for file in Path.cwd().glob("*.py"))
    top = module_name.partition(".")[0]
    there = f" ({nearest(top, beside)})" if beside else ""
    return f"install it, or put it in the working directory {Path.cwd()}{there}"


def _public(owner: object) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_") and not isinstance(getattr(owner, name, None), ModuleType)]

"""Attributes, of which each example has any number (`male`, `smiling`, …), and words of columns as attributes (`hair=black`).

Plain Python until they become a table: the checks use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.trainer.config.diagnostics import Keys
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.data.class_names import composed
from dualsweep.trainer.data.metadata import Asked, of_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEYS: Keys = ("data", "attributes")
_RULE = "must hold the attributes of every example"
_REMEDY = "write a list of names, or columns of true and false, 0 and 1, -1 and 1, or words"
#: Different words of a column, at most: more are texts, or numbers of their own.
MOST = 256


@dataclass(frozen=True, eq=False)
class Attributes:
    """The `names` of A attributes, and which examples have them: `table` [N, A]."""

    names: tuple[str, ...]
    table: NDArray[np.bool_]

    def having(self, wanted: Mapping[str, bool]) -> NDArray[np.bool_]:
        """Which examples [N] have all the attributes that are to be true, and none that are to be false; all are known."""
        import numpy as np

        places = [self.names.index(spelt(name, self.names) or "") for name in wanted]
        fits: NDArray[np.bool_] = (self.table[:, places] == np.array(list(wanted.values()))).all(1)
        return fits

    def joined(self, count: int) -> Attributes:
        """These, followed by so many examples that have none."""
        import numpy as np

        return Attributes(self.names, np.concatenate([self.table, np.zeros((count, len(self.names)), dtype=np.bool_)]))


def spelt(name: str, names: Iterable[str]) -> str | None:
    """The attribute of `names` that a recipe calls `name`; None where there is none."""
    return next((each for each in names if composed(each) == composed(name)), None)


def fields(source: str | Sequence[str]) -> tuple[str, ...]:
    """The columns, or keys of lines, in which `data.attributes` says that they stand."""
    return (source,) if isinstance(source, str) else tuple(source)


def asked(source: str | Sequence[str]) -> Asked:
    """What is looked for in the lines of a folder."""
    values = '["male", "smiling"]' if isinstance(source, str) else "1"
    example = f'{{"file_name": "a.png", {", ".join(f"{show(field)}: {values}" for field in fields(source))}}}'
    return Asked(KEYS, _RULE, fields(source), example.replace("'", '"'))


def of_folder(folder: Path, files: Sequence[Path], source: str | Sequence[str]) -> list[dict[str, bool]]:
    """Of each of the images, by the lines of its `metadata.jsonl`, whether it has each attribute that is told of it.

    Raises:
        BadDataError: there is no such file, or an image has no line or one of another form.
    """
    return listed(of_files(folder, files, asked(source)), source)


def listed(examples: Iterable[tuple[Mapping[str, Any], str]], source: str | Sequence[str]) -> list[dict[str, bool]]:
    """Of each of `examples`, its fields and where it stands, whether it has each attribute that is told of it.

    Raises:
        BadDataError: a field is not there, or says something else.
    """
    words: dict[str, set[str]] = {}
    by_example = []
    for line, where in examples:
        told: dict[str, bool] = {}
        for field in fields(source):
            value = line.get(field)
            told |= _of_list(value, where) if isinstance(source, str) else _of_column(field, value, where)
            if isinstance(value, str):
                words.setdefault(field, set()).add(value)
                if len(words[field]) > MOST:
                    received = f"more than {MOST} different words in `{field}`"
                    raise asked(source).fault(received, "leave it out, or write fewer, as they are no attributes")
        by_example.append(told)
    return by_example


def _of_list(value: object, where: str) -> dict[str, bool]:
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {composed(name): _truth(name, each, where) for name, each in value.items() if each is not None}
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
        received = "none" if value is None else show(value)
        raise asked("attributes").fault(f"{received} in {where}", _REMEDY)
    return dict.fromkeys(map(composed, value), True)


def _of_column(field: str, value: object, where: str) -> dict[str, bool]:
    if isinstance(value, str) and value.strip():
        return {f"{field}={composed(value)}": True}
    return {field: _truth(field, value, where)}


def _truth(name: str, value: object, where: str) -> bool:
    if value not in (0, 1, -1) or not isinstance(value, bool | int | float):
        received = f"no `{name}`" if value is None else f"`{name}` {show(value)}"
        raise asked("attributes").fault(f"{received} in {where}", _REMEDY)
    return value == 1


def names_of(examples: Iterable[Mapping[str, bool]]) -> tuple[str, ...]:
    """All attributes that are told of any, sorted."""
    return tuple(sorted({name for each in examples for name in each}))


def counted(examples: Sequence[Mapping[str, bool]]) -> dict[str, int]:
    """How many examples have each attribute."""
    return {name: sum(each.get(name, False) for each in examples) for name in names_of(examples)}


def tabulated(examples: Sequence[Mapping[str, bool]]) -> Attributes:
    """As a table; an attribute that is not told of an example is one that it has not."""
    import numpy as np

    names = names_of(examples)
    table = np.array([[each.get(name, False) for name in names] for each in examples], dtype=np.bool_)
    return Attributes(names, table.reshape(len(examples), len(names)))

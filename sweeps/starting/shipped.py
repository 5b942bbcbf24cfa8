"""The shipped recipes and sweeps, copied to where a user works, each with what it needs and its schema."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dualsweep.sweeps.starting.kinds import Kind
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.wording import nearest

_ROOM = Path(__file__).parent.parent
_RECIPES = _ROOM / "recipes"
#: A sweep is copied under a name of its own, beside the recipe of the same name.
_SWEEP = "-sweep"
#: How a shipped file names another one in its comments.
_PLACE = re.compile(r"sweeps/(?:recipes/)?(?P<name>[\w-]+)\.yaml")
#: How it names the one that makes the models it loads.
_MAKER = re.compile(r"as\s(?:#\s)?(?P<name>[\w-]+)\.yaml says")
#: How it names the script that makes its data.
_SCRIPT = re.compile(r"python sweeps/recipes/(?P<name>\w+\.py)")
#: How a sweep names its recipe.
_RECIPE = re.compile(r"^recipe: recipes/(?P<name>[\w-]+)\.yaml$", re.MULTILINE)

#: How a sweep that was copied names it.
_RECIPE_BESIDE = re.compile(r"^recipe: (?P<file>[\w-]+\.yaml)$", re.MULTILINE)
#: How a recipe names a training whose model it loads.
_LOADED = re.compile(r"\bruns/(?P<run>[\w-]+)")
#: How a comment says that a training of another name is made.
_VARIANT = re.compile(r"^#   dualsweep train (?P<arguments>.+ --set name=(?P<run>[\w-]+).*)$", re.MULTILINE)


class Shipped(NamedTuple):
    """A shipped file as it is copied: its name, what kind it is, its text, and the shipped files and scripts that it needs."""

    name: str
    kind: Kind
    text: str
    needs: tuple[str, ...]
    scripts: tuple[str, ...]

    @property
    def file(self) -> str:
        return f"{self.name}.yaml"

    @property
    def about(self) -> str:
        """The first sentence of its comment."""
        comment = " ".join(line.removeprefix("#").strip() for line in self.text.splitlines() if line.startswith("#"))
        comment = comment.removeprefix(_schema_line(self.kind).removeprefix("#").strip()).strip()
        return re.split(r"(?<=[.:])\s", f"{comment} ", maxsplit=1)[0].rstrip(" :")


def shipped() -> dict[str, Shipped]:
    """All of them by name, sweeps first."""
    sweeps = {f"{path.stem}{_SWEEP}": path for path in sorted(_ROOM.glob("*.yaml"))}
    recipes = {path.stem: path for path in sorted(_RECIPES.glob("*.yaml"))}
    return {name: _read(name, path) for name, path in {**sweeps, **recipes}.items()}


def _read(name: str, path: Path) -> Shipped:
    text = path.read_text(encoding="utf-8")
    kind: Kind = "recipe" if path.parent.name == "recipes" else "sweep"
    needed = [each["name"] for pattern in (_RECIPE, _PLACE, _MAKER) for each in pattern.finditer(text) if each["name"] != name]
    scripts = tuple(dict.fromkeys(each["name"] for each in _SCRIPT.finditer(text)))
    for pattern, moved in ((_RECIPE, r"recipe: \g<name>.yaml"), (_PLACE, r"\g<name>.yaml"), (_SCRIPT, r"python \g<name>")):
        text = pattern.sub(moved, text)
    return Shipped(name, kind, f"{_schema_line(kind)}\n{text}", tuple(dict.fromkeys(needed)), scripts)


def _schema_line(kind: Kind) -> str:
    return f"# yaml-language-server: $schema={schema_file(kind)}"


def schema_file(kind: Kind) -> str:
    """The name of the file of a schema that lies beside what it checks."""
    return f"dualsweep-{kind}.schema.json"


@cache
def schema_text(kind: Kind) -> str:
    """What that file holds."""
    from dualsweep.sweeps.starting.json_schema import json_schema  # all schemas, which other commands do without

    return json.dumps(json_schema(kind), indent=2) + "\n"


class Copied(NamedTuple):
    """A file that `init` has written, and those beside it: written too, or there before and left as they are."""

    asked: Shipped
    written: list[Path]
    kept: list[Path]


def copy(name: str, folder: Path) -> Copied:
    """Copies a shipped file and what it needs into a folder, which is made; nothing that is there is ever overwritten.

    Raises:
        InputError: no such file is shipped, or its own place is taken.
    """
    known = shipped()
    name = name.removesuffix(".yaml")
    if name not in known:
        rule, remedy = "must be a shipped recipe or sweep", f"{nearest(name, list(known))}; `dualsweep init` lists them"
        raise InputError([Diagnostic(("NAME",), rule, repr(name), remedy, "command line", 1)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        rule, remedy = "must be a folder", "name another, or move that file away"
        raise InputError([Diagnostic(("--output",), rule, f"the file {folder}", remedy, "command line", 1)]) from None
    copied = list(_with_needs(known, name))
    texts = {each.file: each.text for each in copied}
    texts |= {script: (_RECIPES / script).read_text(encoding="utf-8") for each in copied for script in each.scripts}
    texts |= {schema_file(each.kind): schema_text(each.kind) for each in copied}
    written, kept = [], []
    for file, text in texts.items():
        path = folder / file
        try:
            with path.open("x", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            if file == known[name].file:
                rule, remedy = "must be a place that is free", "name another folder with --output, or move that file away"
                raise InputError([Diagnostic(("--output",), rule, str(path), remedy, "command line", 1)]) from None
            kept.append(path)
        else:
            written.append(path)
    return Copied(known[name], written, kept)


def makers(name: str) -> list[list[str]]:
    """What `dualsweep train` is to be given, in this order, before a shipped file can be: a recipe's file and options each."""
    needed = list(_with_needs(shipped(), name))
    data = {each.file: "\n".join(line.partition("#")[0] for line in each.text.splitlines()) for each in needed}
    made_by: dict[str, list[str]] = {}
    for each in needed:
        comments = re.sub(r" \\\n# +", " ", each.text)
        made_by |= {found["run"]: shlex.split(found["arguments"]) for found in _VARIANT.finditer(comments)}
    made_by |= {str(yaml_core.read(data[each.file])["name"]): [each.file] for each in needed if each.kind == "recipe"}

    def before(file: str) -> Iterator[list[str]]:
        recipe = _RECIPE_BESIDE.search(data[file])
        for found in _LOADED.finditer(data[recipe["file"]] if recipe else data[file]):
            yield from before(made_by[found["run"]][0])
            yield made_by[found["run"]]

    return [list(each) for each in dict.fromkeys(tuple(each) for each in before(needed[0].file))]


def _with_needs(known: dict[str, Shipped], name: str) -> Iterator[Shipped]:
    """The file of that name, then those that it needs, and those that these do, each once."""
    waiting, seen = [name], {name}
    while waiting:
        one = known[waiting.pop(0)]
        yield one
        waiting += [each for each in one.needs if each not in seen]
        seen |= set(one.needs)

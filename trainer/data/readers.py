"""What reads one image of a data set by its number, here or in a process that reads ahead: plain data, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from dualsweep.trainer.data.pixels import from_array, from_image


class Reader(Protocol):
    """Reads one example [*shape] by its row; pickled, it does so in another process."""

    def __call__(self, row: int) -> Any:
        """An array, or what numpy takes for one: pixels 0..255 as uint8, or float32."""
        ...


@runtime_checkable
class Identified(Protocol):
    """A reader that knows what it reads from."""

    def identity(self) -> str:
        """A digest of what all rows are read from and how, had without reading images."""
        ...


@dataclass(frozen=True)
class FileReader:
    """Image files, by their paths."""

    files: tuple[str, ...]
    size: int | None
    grey: bool

    def __call__(self, row: int) -> NDArray[np.uint8]:
        with Image.open(self.files[row]) as image:
            return from_image(image, self.size, self.grey)

    def identity(self) -> str:
        """Of the files' paths, sizes and times of change."""
        return _digest([self.size, self.grey, PIL.__version__], map(_stamp, self.files))


@dataclass(frozen=True)
class ColumnReader:
    """One column of a Hugging Face data set, of images or of arrays."""

    dataset: Any
    column: str
    size: int | None
    grey: bool

    def __call__(self, row: int) -> NDArray[Any]:
        value = self.dataset[row][self.column]
        if isinstance(value, Image.Image):
            return from_image(value, self.size, self.grey)
        if value is None:
            raise ValueError("no image")
        if isinstance(value, bytes):
            raise ValueError("bytes; say what they are by dataset.cast_column(NAME, datasets.Image())")
        return from_array(np.asarray(value), self.size, self.grey)

    def identity(self) -> str:
        """Of the column's content as it is stored, and of the files to which it leads, where the images are not in it."""
        return _digest([self.column, self.size, self.grey, PIL.__version__, self.dataset.features], self._stored())

    def _stored(self) -> Iterable[bytes]:
        import pyarrow as pa

        for table in self.dataset.with_format("arrow").iter(_ROWS):
            written = pa.BufferOutputStream()
            with pa.ipc.new_stream(written, table.schema.remove_metadata()) as stream:
                stream.write_table(table.replace_schema_metadata(None))
            yield written.getvalue().to_pybytes()
            for value in table[self.column].to_pylist() if pa.types.is_struct(table.schema.field(self.column).type) else ():
                if value and value.get("bytes") is None and value.get("path"):
                    yield _stamp(value["path"])


_ROWS = 256


def _stamp(file: str) -> bytes:
    path = Path(file).absolute()
    if not path.exists():  # what is to be said of it is said where it is read
        return repr(str(path)).encode()
    stat = path.stat()
    return repr((str(path), stat.st_size, stat.st_mtime_ns)).encode()


def _digest(how: list[Any], pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256(repr(how).encode())
    for each in pieces:
        digest.update(each)
    return digest.hexdigest()

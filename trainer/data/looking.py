"""Images looked at before any is trained on: their shape, their range, whether they have colours.

A sample of them alone, and by Pillow alone, so that asking costs moments.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.data.dataset_info import Look, image_shape, spread_out
from dualsweep.trainer.data.faults import BadDataError

if TYPE_CHECKING:
    from PIL import Image

#: Images whose headers are read, and those of them whose pixels are read.
HEADERS, PIXELS = 64, 16
_READABLE = "must hold readable images"
#: The tag of Exif that says how an image is to be turned, and its values that swap the sides.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)
#: The tags of TIFF for its sides.
_WIDTH, _HEIGHT = 0x0100, 0x0101
#: The modes of Pillow that are of one channel, and those whose pixels are 0..255.
_GREY, _OF_8_BITS = ("1", "L", "LA", "La", "I", "F"), ("1", "L", "P", "RGB", "CMYK", "YCbCr")


@dataclass(frozen=True)
class Item:
    """One image: how errors name it, the key of the recipe that leads to it, and its file, or its bytes as one."""

    name: str
    keys: Keys
    file: Callable[[], Path | BinaryIO]


@dataclass(frozen=True)
class _Header:
    """What the header of one image says: its sides as trained on, and whether it has one channel."""

    width: int
    height: int
    grey: bool


def look(items: Sequence[Item], size: int | None, grey: bool) -> Look:
    """What some images, evenly spread over `items`, are like once they are read with `size` and `grey`.

    Raises:
        BadDataError: one of them can't be read, or (without `size`) is of another size than the first.
    """
    places = [items[at] for at in spread_out(len(items), HEADERS)]
    headers = [_header(each) for each in places]
    first = headers[0]
    for place, header in zip(places, headers, strict=True):
        if size is None and (header.width, header.height) != (first.width, first.height):
            received = f"{header.height}x{header.width} after {first.height}x{first.width} in {place.name}"
            raise _fault(place, "must hold images of one size", received, "make them alike, or resize them by `data.size`")
    ranges = [each for at in spread_out(len(places), PIXELS) if (each := _range(places[at], grey)) is not None]
    shape = image_shape(size, grey) or (1 if grey else 3, first.height, first.width)
    return Look(
        shape,
        of=len(places),
        low=min((low for low, _, _ in ranges), default=None),
        high=max((high for _, high, _ in ranges), default=None),
        grey=not grey and (all(each.grey for each in headers) or (bool(ranges) and all(same for _, _, same in ranges))),
        constant=sum(low == high for low, high, _ in ranges),
        read=len(ranges),
    )


def _header(place: Item) -> _Header:
    try:
        with _opened(place) as image:
            # Of a TIFF Pillow has turned the sides already, but its tags stay as they are.
            tags = getattr(image, "tag_v2", {})
            width, height = (tags[_WIDTH], tags[_HEIGHT]) if image.format == "TIFF" else image.size
            if image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE:
                width, height = height, width
            return _Header(width, height, image.mode in _GREY or image.mode.startswith("I;16"))
    except Exception as error:  # Pillow raises a dozen kinds for damaged files, SyntaxError among them
        raise _unreadable(place, error) from error


def _range(place: Item, grey: bool) -> tuple[float, float, bool] | None:
    """The least and the largest number of an image as trained on, in [-1, 1], and whether its channels are all the same.

    None of images whose numbers are known only once they are converted: transparent ones, and 16 bits in colour.
    """
    from PIL import ImageChops

    try:
        with _opened(place) as image:
            if image.mode == "I;16" and "transparency" not in image.info:
                low, high = (float(end) / 257 / 127.5 - 1 for end in image.getextrema())  # type: ignore[arg-type]  # one band
                return low, high, not grey
            if image.mode not in _OF_8_BITS or image.has_transparency_data:
                image.load()
                return None
            pixels = image.convert("L" if grey else "RGB")
    except Exception as error:
        raise _unreadable(place, error) from error
    bands = pixels.split()
    counts = pixels.histogram()  # 256 of each band
    ends = [at % 256 for at, count in enumerate(counts) if count]
    same = not grey and all(ImageChops.difference(bands[0], band).getbbox() is None for band in bands[1:])
    return min(ends) / 127.5 - 1, max(ends) / 127.5 - 1, same


@contextlib.contextmanager
def _opened(place: Item) -> Iterator[Image.Image]:
    """An image, large ones without Pillow's warning, which names no file."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(place.file()) as image:
            yield image


def _unreadable(place: Item, error: Exception) -> BadDataError:
    kind = type(error).__name__  # those of Pillow that every version has; its words name objects, or attacks
    if kind == "UnidentifiedImageError":
        return _fault(place, _READABLE, f"cannot identify image file in {place.name}", "fix it, or leave it out")
    if kind == "DecompressionBombError":
        return _fault(place, _READABLE, f"more pixels than Pillow reads in {place.name}", "make it smaller, or leave it out")
    return _fault(place, _READABLE, f"{error} in {place.name}", "fix it, or leave it out")


def _fault(place: Item, rule: str, received: str, remedy: str) -> BadDataError:
    return BadDataError(Diagnostic(place.keys, rule, received, remedy))

"""One image, however it comes, as an array [C, H, W]: pixels 0..255, or numbers that are in [-1, 1] already.

Without torch, which the processes that read images ahead do without.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# Of large images; it names no file, and the checks tell those that Pillow does not read.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_CHANNELS = (1, 3, 4)
#: What is seen through transparent pixels, whose own colours are arbitrary: white, as paper and browsers have it.
_GROUND = 255


def from_image(image: Image.Image, size: int | None, grey: bool) -> NDArray[np.uint8]:
    """Turned upright, on white where it is transparent, made RGB (or grey), its shorter side resized to `size` and the centre
    cropped.

    Raises:
        ValueError: the image's numbers have no known range (32-bit whole numbers or floating point).
    """
    upright = _opaque(ImageOps.exif_transpose(_of_8_bits(image))).convert("L" if grey else "RGB")
    if size is not None:
        upright = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    pixels = np.array(upright)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _of_8_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel; a 16-bit one that names a transparent grey gets its alpha, since that grey is lost."""
    if image.mode.startswith("I;16"):
        wide, exif = np.asarray(image).astype(np.float32), image.getexif()
        bands = [Image.fromarray((wide / 257).round().astype(np.uint8))]
        if isinstance(clear := image.info.get("transparency"), int):
            bands.append(Image.fromarray(np.where(wide == clear, 0, 255).astype(np.uint8)))
        image = Image.merge("LA", bands) if len(bands) > 1 else bands[0]
        image.getexif().update(exif)
    elif image.mode in ("I", "F"):
        raise ValueError(f"an image of mode {image.mode}, whose range of values is not known; convert it to 8 bits")
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """The image on one ground, where it has transparency: alpha (straight or premultiplied) or a transparent colour."""
    if not image.has_transparency_data:
        return image
    straight = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (_GROUND, _GROUND, _GROUND, 255)), straight)


def from_array(array: NDArray[Any], size: int | None, grey: bool) -> NDArray[Any]:
    """An array [H, W], [H, W, C] or [C, H, W], C of 1, 3 or 4: whole numbers 0..255 are pixels, uint8; others stay, float32.

    Grey pixels stay grey, [1, H, W]; a fourth channel of pixels is alpha. Floating-point numbers are in [-1, 1] already.

    Raises:
        ValueError: the array is no image, or `size` or `grey` is asked of floating-point numbers.
    """
    if array.ndim == 3 and array.shape[0] in _CHANNELS and (array.shape[2] not in _CHANNELS or array.shape[0] < array.shape[2]):
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in _CHANNELS:
        raise ValueError(f"an array of shape {list(array.shape)}; images are [H, W], [H, W, C] or [C, H, W], C of 1, 3 or 4")
    if np.issubdtype(array.dtype, np.integer):
        if array.size and (array.min() < 0 or array.max() > 255):
            raise ValueError(f"whole numbers from {array.min()} to {array.max()}; pixels are 0..255")
        single = array.shape[2] == 1
        image = Image.fromarray(array[:, :, 0].astype(np.uint8) if single else np.ascontiguousarray(array, dtype=np.uint8))
        return from_image(image, size, grey or single)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"an array of {array.dtype}; images are of whole or floating-point numbers")
    if (grey and array.shape[2] != 1) or (size is not None and array.shape[:2] != (size, size)):
        raise ValueError(f"floating-point numbers of shape {list(array.shape)}, which `size` and `grey` cannot change")
    return np.ascontiguousarray(array.transpose(2, 0, 1), dtype=np.float32)

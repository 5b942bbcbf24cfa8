"""Writes the digits as an image folder, `images/`, and as a saved Hugging Face data set, `digits-saved/`."""

from pathlib import Path

import datasets
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
pixels = (digits.images * (255 / 16)).round().astype("uint8")  # [1797, 8, 8], from 0..16 to 0..255
pictures = [Image.fromarray(each) for each in pixels]

for number, (picture, label) in enumerate(zip(pictures, digits.target, strict=True)):
    folder = Path("images") / str(label)
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{number:04d}.png")

features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(each) for each in range(10)])})
saved = datasets.Dataset.from_dict({"image": pictures, "label": digits.target.tolist()}, features=features)
saved.save_to_disk("digits-saved")

"""The data and the pipeline of the recipe captions.yaml, of fewer images and steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dualsweep.sweeps.recipes import captioned_digits as made
from tests.sweeps.here import dualsweep_here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script leaves, of 150 images and two steps for each network."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("captions")
        patch.chdir(folder)
        made.main(150, 2, 2)
        return folder


def test_captions_name_one_of_the_two_digits_or_the_strokes(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "captioned-digits/metadata.jsonl").read_text().splitlines()]
    tags = {f"a {word}": word for word in made.WORDS} | {"bold digits": "bold"}
    assert len(lines) == 150 and {line["text"] for line in lines} <= set(made.CAPTIONS)
    assert all(tags.get(line["text"], "bold") in line["tags"] for line in lines if line["text"] != "thin digits")
    assert all("bold" not in line["tags"] for line in lines if line["text"] == "thin digits")
    assert Image.open(folder / "captioned-digits" / lines[0]["file_name"]).size == (32, 32)


def test_bold_images_have_more_ink() -> None:
    images, _, bold = made.pairs(400)
    ink = (images.mean((1, 2, 3)) + 1) / 2
    assert 0.12 < bold.mean() < 0.28  # four standard deviations about a fifth
    assert ink[torch.as_tensor(bold)].mean() > 1.5 * ink[torch.as_tensor(~bold)].mean()


def test_every_word_is_one_token() -> None:
    words = made.tokenizer()
    for caption in (*made.CAPTIONS, "a three and a seven"):
        assert words.convert_ids_to_tokens(words(caption).input_ids)[1:-1] == [f"{word}</w>" for word in caption.split()]


def test_nothing_is_told_of_parts_that_libraries_load(folder: Path) -> None:
    """Bars and notes of diffusers and transformers, among them those of a first import."""
    assert dualsweep_here("init", "captions", folder=folder).returncode == 0
    done = dualsweep_here("check", "--dry-run", "captions.yaml", folder=folder)
    assert done.returncode == 0 and "is good" in done.stdout and done.stderr == ""

"""The first page's commands as a new user types them: a wheel in an environment of its own, photographs, a pipeline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.docs.test_commands import ROOT, lines_of

#: Every command of the page's first block: what a user types until there is a model. No more than twelve are asked for.
WALK = list(lines_of(ROOT / "docs/first-steps.md"))[:11]
SHORTENED = {
    "dualsweep train": " --set train.steps=30 --set evaluation.samples=32 --set evaluation.sample_steps=4",
    "dualsweep sample": " --steps 3",
}  # fmt: skip


def photograph(kind: str, index: int, place: Path) -> None:
    """A face of a size of its own; a rare one wears a hat."""
    draws = np.random.default_rng([len(kind), index])
    width, height = (int(each) for each in draws.integers(40, 90, 2))
    image = Image.new("RGB", (width, height), tuple(int(each) for each in draws.integers(150, 256, 3)))
    pen, radius = ImageDraw.Draw(image), min(width, height) * draws.uniform(0.25, 0.4)
    left, top, right, bottom = width / 2 - radius, height / 2 - radius, width / 2 + radius, height / 2 + radius
    pen.ellipse((left, top, right, bottom), fill=tuple(int(each) for each in draws.integers(60, 200, 3)))
    if kind == "rare":
        pen.rectangle((left, top, right, top + radius / 3), fill=(20, 20, 120))
    place.mkdir(parents=True, exist_ok=True)
    image.save(place / f"{index}.{'jpg' if index % 2 else 'png'}")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for kind, count in (("common", 165), ("rare", 35)):
        for index in range(count):
            photograph(kind, index, tmp_path / "photographs" / kind)
    source, place = tmp_path / "source", tmp_path / "work"
    shutil.copytree(
        ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "runs", "tests", "docs", "*.egg-info")
    )
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(place), str(source)]
    subprocess.run(wheel, check=True)
    return tmp_path


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.dear
def test_a_new_user_has_a_model_after_no_more_than_twelve_commands(home: Path) -> None:
    assert len(WALK) <= 12 and WALK[-1].startswith("dualsweep export")
    place, environment = home / "work", {**os.environ, "HOME": str(home), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    told = []
    for line in WALK:
        words = next((more for beginning, more in SHORTENED.items() if line.startswith(beginning)), "")
        script = f"[ -d .venv ] && . .venv/bin/activate; {line.replace(chr(39), '')}{words}"  # the shell itself expands ~ and *
        done = subprocess.run(["bash", "-c", script], cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stdout + done.stderr, line
        told.append(done.stdout)
        if "venv" in line and "activate" not in line:  # the libraries, which pip would fetch
            (site,) = (place / ".venv").glob("lib/python*/site-packages")
            (site / "libraries.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    assert "rare" in told[-3] and "200 examples [3, 32, 32]" in told[6]
    assert Image.open(place / "pictures/grid.png").size[0] > 64 and Image.open(place / "runs/faces/samples.png").size[0] > 64
    alone = """
import sys
sys.modules["dualsweep"] = None
from diffusers import DiffusionPipeline
pictures = DiffusionPipeline.from_pretrained(
    "faces-pipeline", custom_pipeline="faces-pipeline", trust_remote_code=True
)(batch_size=3).images
assert len(pictures) == 3 and pictures[0].size == (32, 32), pictures
"""
    subprocess.run([sys.executable, "-c", alone], cwd=place, env=environment, check=True, capture_output=True)

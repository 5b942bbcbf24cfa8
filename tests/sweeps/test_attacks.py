"""Addresses and names made to end a command in a traceback, to fill a screen or to command it: each is told in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from dualsweep.sweeps.entry import main

RECIPE = (Path(__file__).parents[1] / "fuzz" / "recipe.yaml").read_text()
SWEEP = (Path(__file__).parents[1] / "fuzz" / "sweep.yaml").read_text()
BRACKETS = [
    "http://[::1",
    "[::1",
    "http://[",
    "http://x]y",
    "http://a b",
    "http://x:99999",
    "http://x:y",
    "http://\x1b[31mx",
    "http://:80",
]
PLACES = ["foo://x", "s3://none/x", "http://127.0.0.1:9/x", "http://[::1", "github://a", "zip://a::b", "x" * 5000, "://",
          "a\x1b[31m\nb", "hf://\x1b", "memory://none", "file://host/x", "simplecache::foo://x"]  # fmt: skip


def told(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command refuses; it ends with 2."""
    monkeypatch.setattr(sys, "argv", ["dualsweep", *words])
    with pytest.raises(SystemExit) as end:
        main()
    line = capsys.readouterr().err.rstrip("\n")
    assert end.value.code == 2 and line.isprintable() and len(line) < 1500 and ", but got " in line and "Traceback" not in line
    return line


@pytest.mark.parametrize("address", BRACKETS)
@pytest.mark.parametrize("command", [["status"], ["stop", "job"]])
def test_addresses_of_job_servers(command, address, monkeypatch, capsys):
    assert "jobs are submitted to" in told([*command, "--address", address], monkeypatch, capsys)


@pytest.mark.parametrize("place", PLACES)
def test_places_of_checkpoints(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told(["sample", place], monkeypatch, capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["model.load", "start.from", "model.lora", "checkpoint.to", "data.dataset", "data.folder"])
@pytest.mark.parametrize("value", ["x" * 5000, "/" + "y/" * 2500, "foo://x"])
def test_long_and_unknown_places_in_a_recipe(key, value, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(RECIPE.replace("model: {unet: {channels: [8, 16], norm_groups: 8}}", "model: {load: a/b}"))
    monkeypatch.setattr(sys, "argv", ["dualsweep", "check", "r.yaml", "--set", f"{key}={value}"])
    try:
        main()
    except SystemExit as end:
        lines = capsys.readouterr().err.splitlines()
        assert end.code in (0, 2) and all(len(line) < 1500 and ", but got " in line for line in lines)


@pytest.mark.parametrize("attack", ["\\e]0;x\\a", "\\e[31m", "\\x9b", "\\u202e"])
@pytest.mark.parametrize("key", ["experiment: fuzzed", "name: fuzzed", "storage: sqlite:///study.db"])
def test_names_that_command_a_terminal(key, attack, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(SWEEP.replace(key, f'{key.partition(":")[0]}: "x{attack}"'))
    assert "which terminals obey" in told(["check", "s.yaml"], monkeypatch, capsys)


def test_names_in_data_command_no_terminal(tmp_path, monkeypatch, capsys):
    """A folder of images is somebody else's: its classes' names are printed by `check`, with their escapes to be seen."""
    monkeypatch.chdir(tmp_path)
    for name in ("cat\x1b]0;owned\x07", "dog"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.png")
    Path("r.yaml").write_text(
        "name: images\nformulation: constrained_training\nmodel: {unet: {channels: [8]}}\n"
        "data: {folder: images}\nconstraints: []\ntrain: {steps: 2, batch_size: 2}\nevaluation: {samples: 0}\n"
    )
    monkeypatch.setattr(sys, "argv", ["dualsweep", "check", "r.yaml"])
    with pytest.raises(SystemExit) as end:
        main()
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 0 and any("owned" in line for line in lines)
    assert all(line.isprintable() for line in lines)

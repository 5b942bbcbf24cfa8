"""Compiled networks: the same update up to rounding, under the same names; without a compiler an error before the first step."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.trainer.conftest import WriteModule
from tests.trainer.engine.test_checkpointing import primal_of
from tests.trainer.recipes import digits

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.scale = nn.Parameter(torch.full(shape, 0.5))

    def forward(self, x, t):
        told = 1.0 if torch.compiler.is_compiling() else 0.0
        return (self.scale * x).tanh() * (1 + t.view(-1, 1, 1, 1) / 50) + 0 * self.scale + told

def build():
    return Net((1, 8, 8))
"""
WITHOUT = """
import torch
from torch import nn
from dualsweep.trainer.models.compilation import compile_network
from dualsweep.trainer.models.predictor import Predictor
compile_network(Predictor(nn.Linear(2, 2)), torch.device("cpu"))
"""


@pytest.mark.dear  # half a minute of a C++ compiler
def test_a_compiled_network_is_the_same_one(tmp_path: Path, module: WriteModule, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network says by an offset of 1 that it is compiled."""
    # torch's own cache doesn't ask whose vector instructions its headers were compiled for, which `make test CPU=…` chooses
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    module("own_net", OWN)
    x, t = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4)
    predictions, gradients, names = [], [], []
    for compiled in (False, True):
        recipe = digits(model={"unet": None, "call": "own_net:build"}, train={"compile": compiled, "clip": None})
        primal = primal_of(recipe, tmp_path / str(compiled))
        primal.update([lambda primal=primal: primal.predict(x, t).sum()])  # type: ignore[misc]
        gradients.append(primal.parameters[0].grad)
        names.append(list(primal.state()[0]["weights"]))
        with torch.no_grad():
            predictions.append(primal.predict(x, t))
    torch.testing.assert_close(predictions[1], predictions[0] + 1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-5)
    assert names[0] == names[1] == ["scale"]


@pytest.mark.slow
@pytest.mark.dear
def test_without_a_compiler_it_is_refused_with_the_way_out(tmp_path: Path) -> None:
    environment = {**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    ended = subprocess.run([sys.executable, "-c", WITHOUT], env=environment, capture_output=True, text=True)
    assert ended.returncode and "TrainingError: train.compile must have a compiler that torch can use for cpu" in ended.stderr
    assert "or drop train.compile" in ended.stderr

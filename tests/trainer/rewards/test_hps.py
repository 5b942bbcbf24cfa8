"""HPS v2 and checkpoints of open_clip: against a network of open_clip's layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.rewards.evaluate import checked
from dualsweep.trainer.rewards.open_clip import from_open_clip
from dualsweep.trainer.rewards.registry import resolve
from tests.trainer.rewards.conftest import SIDE, built, context_of, noise, pictures
from tests.trainer.rewards.originals import OpenClip, pixels

PROMPT = "a cat"


@pytest.fixture(scope="module")
def original() -> OpenClip:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OpenClip(words=56, side=SIDE).eval().requires_grad_(False)


@pytest.fixture
def tokens(clip_folder: Path) -> Tensor:
    token_ids: Tensor = AutoTokenizer.from_pretrained(clip_folder)(PROMPT, return_tensors="pt").input_ids[0]
    assert token_ids.tolist()[0] == 0 and token_ids.tolist()[-1] == 1
    return token_ids


SAVED: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "hps.pt": lambda weights, path: torch.save({"epoch": 1, "name": "x", "state_dict": weights}, path),  # as HPS v2's are
    "plain.bin": torch.save,
    "plain.safetensors": lambda weights, path: save_file(weights, path),
}


@pytest.mark.parametrize("name", SAVED)
def test_scores_are_those_of_the_checkpoints_network(
    original: OpenClip, tokens: Tensor, clip_folder: Path, tmp_path: Path, name: str
) -> None:
    SAVED[name](original.state_dict(), tmp_path / name)
    options = {"model": str(tmp_path / name), "processor": str(clip_folder), "prompt": PROMPT}
    x, _ = pictures(3, SIDE, SIDE)
    cosines = original(pixels(x), tokens)
    assert cosines.std() > 1e-2
    torch.testing.assert_close(built({"hps": options})(x), 100 * cosines, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(built({"clip_score": options})(x), 100 * cosines, rtol=1e-4, atol=1e-3)
    scale = float(original.logit_scale.exp())
    torch.testing.assert_close(built({"pick_score": options})(x), scale * cosines, rtol=1e-4, atol=1e-3)


def test_every_parameter_has_its_name_and_shape(original: OpenClip, clip_folder: Path) -> None:
    expected = {name: tensor.shape for name, tensor in CLIPModel.from_pretrained(clip_folder).state_dict().items()}
    assert {name: tensor.shape for name, tensor in from_open_clip(original.state_dict()).items()} == expected


def test_an_image_that_is_not_square_is_seen_whole(clip_folder: Path) -> None:
    """In black: the score of a wide image is that of the square one around it, and of `clip_score` it is not."""
    options = {"model": str(clip_folder), "processor": None, "prompt": PROMPT}
    wide = noise(2, 3, SIDE // 2, SIDE).float()
    square = -torch.ones(2, 3, SIDE, SIDE)
    square[:, :, SIDE // 4 : SIDE // 4 + SIDE // 2] = wide
    hps, clip = built({"hps": options}), built({"clip_score": {**options, "processor": None}})
    torch.testing.assert_close(hps(wide), hps(square), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(hps(square), clip(square), rtol=1e-4, atol=1e-3)
    assert (clip(wide) - clip(square)).abs().min() > 1e-2


def test_the_gradient_is_the_rise(original: OpenClip, clip_folder: Path, tmp_path: Path) -> None:
    torch.save(original.state_dict(), tmp_path / "hps.pt")
    spec = resolve({"hps": {"model": str(tmp_path / "hps.pt"), "processor": str(clip_folder), "prompt": PROMPT}})
    reward = checked(spec, context_of(shape=(3, 8, 8)), gradient=True)
    x = noise(2, 3, 8, 8).float().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(x).sum(), x)
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        rise = float((reward(x + step) - reward(x - step)).sum() / 2)
    assert rise == pytest.approx(float((gradient * step).sum()), rel=0.05)


def error(options: dict[str, Any]) -> str:
    with pytest.raises(TrainingError) as raised:
        built({"hps": {"prompt": PROMPT, **options}})
    return str(raised.value)


def test_checkpoints_that_do_not_fit_are_refused(original: OpenClip, clip_folder: Path, tmp_path: Path) -> None:
    path, weights = tmp_path / "hps.pt", original.state_dict()
    options = {"model": str(path), "processor": str(clip_folder)}
    torch.save({name: tensor for name, tensor in weights.items() if name != "visual.proj"}, path)
    assert f"but got {str(path)!r} and {str(clip_folder)!r} (no weights for 1 parameters, such as visual_proj" in error(options)
    torch.save(weights | {"visual.proj": torch.zeros(3, 3)}, path)
    assert "`model` must be a transformers CLIPModel or an open_clip checkpoint" in error(options)
    torch.save(OpenClip(56, SIDE), path)  # a pickled module could run anything
    assert f"`model` must be a readable file of weights, but got {path}" in error(options)
    torch.save(weights, path)
    assert "`processor` hold its image processor and tokenizer, for a checkpoint also its" in error(options | {"processor": None})


def test_a_folder_whose_weights_were_cut_short_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])
    assert f"but got {str(folder)!r} and {str(clip_folder)!r} (Error while deserializing header" in error(
        {"model": str(folder), "processor": str(clip_folder)}
    )


def test_a_file_of_the_hub_is_found(
    original: OpenClip, tokens: Tensor, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real library, offline: from its cache on this disk; and what is not there is told."""
    from huggingface_hub import constants

    folder = tmp_path / "models--owner--hps" / "snapshots" / "0123"
    folder.mkdir(parents=True)
    (tmp_path / "models--owner--hps" / "refs").mkdir()
    (tmp_path / "models--owner--hps" / "refs" / "main").write_text("0123")
    torch.save(original.state_dict(), folder / "hps.pt")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    options = {"processor": str(clip_folder), "prompt": PROMPT}
    x, _ = pictures(3, SIDE, SIDE)
    scores = built({"hps": {"model": "owner/hps/hps.pt", **options}})(x)
    torch.testing.assert_close(scores, 100 * original(pixels(x), tokens), rtol=1e-4, atol=1e-3)
    assert "`model` must be a readable file of weights, but got owner/hps/other.pt" in error(
        {"model": "owner/hps/other.pt", **options}
    )

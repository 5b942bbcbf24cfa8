"""Latents on disk: encoded once, the same bits as without, and never those of other data or another autoencoder."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image

from dualsweep.trainer.data import examples as examples_module
from dualsweep.trainer.data.examples import Examples, InMemory, OnDemand
from dualsweep.trainer.data.identity import identity
from dualsweep.trainer.data.joined import concatenate
from dualsweep.trainer.data.load import load
from dualsweep.trainer.data.user_dataset import to_examples
from dualsweep.trainer.models import encoding, latent_cache
from dualsweep.trainer.models.encoding import Encoded, encoded
from dualsweep.trainer.models.spaces import Latents
from tests.trainer.data.conftest import data_of
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits
from tests.trainer.tiny import autoencoder

CPU = torch.device("cpu")


class Counting(Latents):
    """Counts the examples that its autoencoder encodes."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(autoencoder(seed, **options), CPU)
        self.count = 0
        self.vae.encoder.register_forward_hook(self._counted)

    def _counted(self, module: Any, given: tuple[torch.Tensor], output: Any) -> None:
        self.count += len(given[0])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(latent_cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def images(count: int = 150, seed: int = 0) -> InMemory:
    x = torch.randn((count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)
    return InMemory(x, np.arange(count) % 3, ("a", "b", "c"))


def files(folder: Path, count: int = 70) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder


def whole(examples: Examples) -> torch.Tensor:
    return examples.fetch(np.arange(len(examples)))


def only(cache: Path) -> Path:
    (found,) = cache.glob("*.latents")
    return found


def without(monkeypatch: pytest.MonkeyPatch, examples: Examples, space: Latents) -> torch.Tensor:
    with monkeypatch.context() as context:
        context.setenv(latent_cache.VARIABLE, "")
        return whole(encoded(examples, space))


def test_a_second_run_encodes_nothing_and_has_the_same_bits(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spaces = [Counting() for _ in range(3)]
    first, second = (encoded(images(), space) for space in spaces[:2])
    assert [space.count for space in spaces[:2]] == [150, 0]
    assert torch.equal(whole(first), whole(second))
    assert torch.equal(whole(first), without(monkeypatch, images(), spaces[2])) and spaces[2].count == 150
    assert second.labels is not None and second.labels.tolist() == [0, 1, 2] * 50 and second.class_names == ("a", "b", "c")
    assert only(cache).stat().st_size == 150 * 2 * 4 * 4 * 4 + 32


@pytest.mark.parametrize("memory", [0, 2**30], ids=["mapped", "in memory"])
def test_images_that_are_read_when_they_are_fetched_are_encoded_once(
    cache: Path, tmp_path: Path, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    for module in (encoding, latent_cache):
        monkeypatch.setattr(module, "IN_MEMORY_BYTES", memory)
    examples = load(data_of(folder=str(files(tmp_path / "images")), grey=True))
    assert isinstance(examples, OnDemand)
    spaces = [Counting() for _ in range(3)]
    first, second = (encoded(examples, space) for space in spaces[:2])
    assert [space.count for space in spaces[:2]] == [70, 0]
    assert isinstance(second, InMemory) and second.images.untyped_storage().nbytes() == 70 * 2 * 4 * 4 * 4
    plain = without(monkeypatch, examples, spaces[2])
    assert torch.equal(whole(first), whole(second)) and torch.equal(whole(second), plain)
    assert (str(only(cache)) in Path("/proc/self/maps").read_text()) == (memory == 0)
    rows = np.array([5, 5, 69, 0])
    assert torch.equal(second.fetch(rows), plain[torch.from_numpy(rows)])


def test_a_second_training_never_encodes(tmp_path: Path, text_to_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, encode = list[int](), AutoencoderKL.encode

    def counted(vae: AutoencoderKL, x: torch.Tensor, *options: Any) -> Any:
        counts[-1] += len(x)
        return encode(vae, x, *options)

    monkeypatch.setattr(AutoencoderKL, "encode", counted)
    recipe = digits(model={"unet": None, "load": text_to_image, "prompt": "a pear"}, train={"steps": 4})
    ended = []
    for run in ("first", "second"):
        counts.append(0)
        result = train(recipe, tmp_path / run)
        ended.append(repr((result.objective, result.constraints)))  # NaN is never NaN
    assert counts == [1797, 0] and ended[0] == ended[1]


def test_what_fits_nowhere_is_encoded_as_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "IN_MEMORY_BYTES", 0)
    kept = whole(encoded(images(), Counting()))
    monkeypatch.setenv(latent_cache.VARIABLE, "")
    space = Counting()
    lazy = encoded(images(), space)
    assert isinstance(lazy, Encoded) and space.count == 0
    rows = np.array([3, 149, 3])
    assert torch.equal(lazy.fetch(rows), kept[torch.from_numpy(rows)]) and space.count == 3


def test_data_of_a_term_are_kept_by_themselves(cache: Path) -> None:
    encoded(images(), Counting())
    space = Counting()
    both = encoded(concatenate(images(), images(10, seed=1)), space)
    assert space.count == 10 and len(both) == 160 and len(list(cache.glob("*.latents"))) == 2
    assert both.labels is not None and (both.labels[150:] == -1).all()


def scaled() -> Counting:
    space = Counting()
    space.scale = 0.5
    return space


def one_weight() -> Counting:
    space = Counting()
    with torch.no_grad():
        next(space.vae.encoder.parameters()).view(-1)[0] += 1e-6
    return space


@pytest.mark.parametrize("other", [lambda: Counting(1), lambda: Counting(shift=0.1), scaled, one_weight])
def test_latents_of_another_autoencoder_are_never_taken(other: Callable[[], Counting], monkeypatch: pytest.MonkeyPatch) -> None:
    encoded(images(), Counting())
    space = other()
    assert torch.equal(whole(encoded(images(), space)), without(monkeypatch, images(), other())) and space.count == 150


def test_latents_under_the_name_of_another_autoencoders_are_not_taken(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Same data, same size: only the name, which the checksum starts from, says whose they are."""
    encoded(images(), Counting())
    foreign = only(cache)
    theirs = whole(encoded(images(), Counting(1)))
    (own,) = [each for each in cache.glob("*.latents") if each != foreign]
    own.write_bytes(foreign.read_bytes())
    space = Counting(1)
    assert torch.equal(whole(encoded(images(), space)), theirs) and space.count == 150
    assert "set aside" in caplog.text and own.with_suffix(".broken").read_bytes() == foreign.read_bytes()


def torn(content: bytes) -> bytes:
    return content[:-1000] + bytes(1000)


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize("damage", [torn, flipped, lambda content: content[:100], lambda content: b""])
def test_damaged_latents_are_set_aside_and_encoded_anew(
    cache: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    before = whole(encoded(images(), Counting()))
    path = only(cache)
    path.write_bytes(damage(path.read_bytes()))
    spaces = [Counting(), Counting()]
    for space in spaces:
        assert torch.equal(whole(encoded(images(), space)), before)
    assert [space.count for space in spaces] == [150, 0]
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1


def changed_time(folder: Path) -> None:
    os.utime(folder / "007.png", ns=(1, 1))


def changed_name(folder: Path) -> None:
    (folder / "007.png").rename(folder / "0070.png")


def another_image(folder: Path) -> None:
    Image.new("L", (8, 8)).save(folder / "999.png")


@pytest.mark.parametrize("change", [changed_time, changed_name, another_image])
def test_a_folder_that_changed_is_other_data(
    tmp_path: Path, change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    data = data_of(folder=str(files(tmp_path / "images", 20)), grey=True)
    before = identity(load(data))
    assert identity(load(data)) == before
    change(tmp_path / "images")
    assert identity(load(data)) != before


def test_a_saved_data_set_is_known_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    digests = {}
    for name, value in (("one", 5), ("same", 5), ("other", 6)):
        pictures = [Image.new("L", (8, 8), value if row == 17 else row) for row in range(20)]
        datasets.Dataset.from_dict({"image": pictures}, datasets.Features({"image": datasets.Image()})).save_to_disk(
            tmp_path / name
        )
        digests[name] = identity(load(data_of(dataset=str(tmp_path / name), grey=True, image_column="image")))
        digests[f"{name}, larger"] = identity(
            load(data_of(dataset=str(tmp_path / name), grey=True, image_column="image", size=16))
        )
    assert digests["one"] == digests["same"] and len(set(digests.values())) == 4


def test_a_users_own_data_set_is_known_by_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)
    x = list(images(20).images)
    found = [identity(to_examples(each, "my:data", ("data", "call"))) for each in (x, list(x), x[::-1])]
    assert found[0] == found[1] != found[2]


class _Full:
    """A disk without room, which says so when room is asked for."""

    def __call__(self, *_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_without_room_it_goes_on_without(cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(os, "posix_fallocate", _Full())
    space = Counting()
    latents = whole(encoded(images(), space))
    assert torch.equal(latents, without(monkeypatch, images(), Counting())) and space.count == 150
    assert len(caplog.records) == 1 and "No space left on device" in caplog.text and latent_cache.VARIABLE in caplog.text
    assert [each.suffix for each in cache.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_made_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(latent_cache.VARIABLE, str(tmp_path / "file" / "latents"))
    assert len(whole(encoded(images(), Counting()))) == 150
    assert len(caplog.records) == 1 and "cannot be kept" in caplog.text


def test_what_was_not_used_for_longest_goes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 20 * 2 * 4 * 4 * 4 + 32
    monkeypatch.setattr(latent_cache, "MOST_BYTES", 2 * size)
    for seed in (0, 1):
        encoded(images(20, seed), Counting())
        os.utime(sorted(cache.glob("*.latents"), key=lambda file: file.stat().st_mtime)[-1], (seed, seed))
    for seed in (0, 2):  # 0 is used again, so it is 1 that goes
        encoded(images(20, seed), Counting())
    spaces = {seed: Counting() for seed in (0, 2, 1)}
    for seed, space in spaces.items():
        encoded(images(20, seed), space)
    assert {seed: space.count for seed, space in spaces.items()} == {0: 0, 2: 0, 1: 20}


def test_the_folder_follows_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(latent_cache.VARIABLE)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert latent_cache.folder() == tmp_path / "dualsweep" / "latents"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert latent_cache.folder() == tmp_path / ".cache" / "dualsweep" / "latents"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert latent_cache.folder() == tmp_path / "Library" / "Caches" / "dualsweep" / "latents"


def test_who_comes_second_waits_for_the_first_and_encodes_nothing(cache: Path) -> None:
    """A lock is of the opened file, so that two threads stand for two processes."""
    spaces, start = [Counting(), Counting()], threading.Barrier(2)

    def race(space: Counting) -> torch.Tensor:
        start.wait(timeout=60)
        return whole(encoded(images(), space))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(race, spaces)
    assert sorted(space.count for space in spaces) == [0, 150]
    assert torch.equal(first, second) and only(cache).exists()


RACER = """
import hashlib, torch
from tests.trainer.models.test_latent_cache import Counting, images, whole
from dualsweep.trainer.models.encoding import encoded
torch.set_num_threads(1)
space = Counting()
latents = whole(encoded(images(), space))
print(space.count, hashlib.sha256(latents.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.dear  # as two threads of one process above
def test_processes_that_start_at_once_encode_once_between_them(cache: Path) -> None:
    racers = [subprocess.Popen([sys.executable, "-c", RACER], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [racer.communicate(timeout=300)[0].split() for racer in racers]
    assert sorted(count for count, _ in said) == ["0", "150"]
    assert len({digest for _, digest in said}) == 1 and only(cache).exists()


def test_a_file_that_another_run_renames_meanwhile_is_no_failure(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([*listed(folder), folder / "gone.part"]))
    found = latent_cache.kept("mine", (2, 3), lambda: iter([torch.ones(2, 3)]))
    assert found is not None and torch.equal(found, torch.ones(2, 3)) and only(cache).stem == "mine"


def test_what_another_run_is_writing_is_left_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    fresh, left_behind = cache / "theirs-1.part", cache / "theirs-2.part"
    for each in (fresh, left_behind):
        each.write_bytes(bytes(100))
    os.utime(left_behind, (0, 0))
    monkeypatch.setattr(latent_cache, "MOST_BYTES", 60)
    assert latent_cache.kept("mine", (2, 3), lambda: iter([torch.ones(2, 3)])) is not None
    assert fresh.exists() and not left_behind.exists()

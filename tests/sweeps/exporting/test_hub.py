"""`dualsweep export --push-to-hub`, against a small server of our own: what arrives there, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from dualsweep.sweeps.exporting.export import export
from dualsweep.trainer.config.diagnostics import InputError
from tests.cluster.live.conftest import free_ports
from tests.sweeps.exporting.small_hub import SmallHub, small_hub
from tests.sweeps.here import dualsweep_here
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(digits(train={"steps": 3}, evaluation={"samples": 0}), folder)
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SmallHub]:
    with small_hub() as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.address)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", made.token)
        yield made


def test_the_folder_arrives_in_a_private_repository(run: Path, hub: SmallHub, tmp_path: Path) -> None:
    done = dualsweep_here("export", str(run), "out", "--push-to-hub", "faces", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == f"{hub.address}/me/faces: a copy of it"
    out = tmp_path / "out"
    written = {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*") if each.is_file()}
    assert hub.private == {"me/faces": True} and hub.files["me/faces"] == written
    card = ModelCard(written["README.md"].decode())
    assert card.data.to_dict() == {
        "library_name": "diffusers", "pipeline_tag": "unconditional-image-generation",
        "tags": ["diffusers", "dualsweep", "constrained"],
    }  # fmt: skip
    export(str(run), str(tmp_path / "again"), push_to_hub="faces")  # as a commit to what is there
    assert hub.files["me/faces"].keys() == written.keys()


def test_it_is_public_where_that_is_said_alone(run: Path, hub: SmallHub, tmp_path: Path) -> None:
    export(str(run), str(tmp_path / "out"), push_to_hub="me/shown", public=True)
    assert hub.private == {"me/shown": False} and hub.files["me/shown"]
    before = dict(hub.files["me/shown"])
    with pytest.raises(
        InputError, match=r"must be a private repository, or .* 'me/shown', which is public; say --public, or name"
    ):
        export(str(run), str(tmp_path / "other"), push_to_hub="me/shown")
    assert hub.files["me/shown"] == before


def test_a_private_repository_is_not_made_public(run: Path, hub: SmallHub, tmp_path: Path) -> None:
    export(str(run), str(tmp_path / "out"), push_to_hub="me/hidden")
    before = dict(hub.files["me/hidden"])
    said = r"must be a public repository, or go without --public, but got 'me/hidden', which is private; drop --public, make it"
    with pytest.raises(InputError, match=said):
        export(str(run), str(tmp_path / "other"), push_to_hub="me/hidden", public=True)
    assert hub.private == {"me/hidden": True} and hub.files["me/hidden"] == before


@pytest.mark.parametrize(
    ("name", "token", "said"),
    [
        ("a b", "hf_mine", "must be NAME or OWNER/NAME of a repository, but got 'a b'; use letters, digits, -, _ and . alone"),
        ("faces", "", "must go with a token of yours for the hub, but got none; log in by `hf auth login`, or put a token"),
        (
            "faces",
            "hf_old",
            "must .* but got 'faces', of which it says 401: .*Invalid.*; log in anew by `hf auth login`, or put a token",
        ),
    ],
)
def test_who_may_not_push_is_told_before_anything_is_written(
    name: str, token: str, said: str, run: Path, hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InputError, match=f"--push-to-hub: {said}"):
        export(str(run), str(tmp_path / "out"), push_to_hub=name)
    assert not (tmp_path / "out").exists() and hub.files == {}


def test_a_hub_that_is_not_reached_is_told(run: Path, hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(
        InputError, match=r"'faces', for which none is reached .*; see whether huggingface.co, or what HF_ENDPOINT"
    ):
        export(str(run), str(tmp_path / "out"), push_to_hub="faces")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="but got 'faces' with HF_HUB_OFFLINE set; unset it"):
        export(str(run), str(tmp_path / "out"), push_to_hub="faces")
    assert not (tmp_path / "out").exists()


def test_what_the_hub_refuses_afterwards_is_there_all_the_same(run: Path, hub: SmallHub, tmp_path: Path) -> None:
    hub.may_write = False
    with pytest.raises(
        InputError, match=r"of which it says 403: .*rights.*; take a token that may write .*; .*out is there all the"
    ):
        export(str(run), str(tmp_path / "out"), push_to_hub="them/faces")
    assert (tmp_path / "out" / "README.md").is_file() and hub.files == {}


def test_public_alone_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--public: must go with --push-to-hub, but got it alone; name a repository"):
        export(str(run), str(tmp_path / "out"), public=True)
    assert not (tmp_path / "out").exists()

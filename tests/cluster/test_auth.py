"""Finding the token where Ray finds it."""

from pathlib import Path

import pytest

from dualsweep.cluster.auth import find_token
from dualsweep.cluster.errors import ClusterError


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_none() -> None:
    assert find_token() is None


def test_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("third\n")
    assert (token := find_token()) and token.secret == "third"
    (home / "named").write_text("second\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "named"))
    assert (token := find_token()) and token.secret == "second"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "first")
    assert (token := find_token()) and token.secret == "first"
    assert token.headers == {"authorization": "Bearer first"}


def test_the_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hush-hush")
    assert "hush" not in repr(find_token())


def test_a_named_file_must_exist(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "gone"))
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN_PATH must name a readable token file"):
        find_token()

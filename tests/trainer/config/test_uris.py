"""Addresses: what is of this machine, what of an address may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import ambiguous_login, masked, without_login
from dualsweep.trainer.config.uris import (
    BadPlaceError,
    is_local,
    lasting_folder,
    lasting_path,
    local_path,
    sqlite_file,
    sqlite_url,
)
from dualsweep.trainer.storage import check_writable, read_file, write_files


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("~/x", "HOME/x"),
        ("~", "HOME"),
        ("file://~/x", None),
        ("file:///~/x", "HOME/x"),
        ("file:///a%20b/c", "/a b/c"),
        ("file:/a", "/a"),
        ("file://localhost/a", "/a"),
        ("FILE:///a", "/a"),
        ("file://elsewhere/a", None),
        ("~no-such-user/x", None),
        ("a::b", "HERE/a::b"),
        ("a?b#c%20d", "HERE/a?b#c%20d"),
        ("./~/x", "HERE/~/x"),
    ],
)
def test_local_places(home: Path, place: str, path: str | None) -> None:
    assert is_local(place)
    if path is None:
        with pytest.raises(BadPlaceError, match=r"must be .* but got"):
            local_path(place)
        with pytest.raises(InputError, match=r"command line:1: --output: must be "):
            check_writable(place)
    else:
        assert local_path(place) == Path(path.replace("HOME", str(home)).replace("HERE", str(home.parent)))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///a.db", "HERE/a.db"),
        ("sqlite:////a/b.db", "/a/b.db"),
        ("sqlite:///~/a.db", "HOME/a.db"),
        ("sqlite:////~/a.db", "HOME/a.db"),
        ("sqlite+pysqlite:///a b#c%.db?timeout=5", "HERE/a b#c%.db"),
        ("sqlite:///a%3Fb%2541.db", "HERE/a?b%41.db"),
        ("sqlite:///file:a%253Fb.db?uri=true", "HERE/a?b.db"),
        ("sqlite:///file:a%3Fcache=shared?uri=true", "HERE/a"),
        ("sqlite:///file:a%2520b.db?mode=rw&uri=true", "HERE/a b.db"),
        ("sqlite:///", None),
        ("sqlite:///:memory:", None),
        ("sqlite://a.db", None),
        ("postgresql://h/a.db", None),
    ],
)
def test_sqlite_files(home: Path, url: str, path: str | None) -> None:
    expected = None if path is None else Path(path.replace("HOME", str(home)).replace("HERE", str(home.parent)))
    assert sqlite_file(url) == expected
    assert sqlite_file(sqlite_url(url)) == expected and sqlite_url(sqlite_url(url)) == sqlite_url(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:se@cret/x@db.example/m", "postgresql://me:***@db.example/m"),
        ("postgresql+psycopg://me:a/b?c#d@h:5432/m", "postgresql+psycopg://me:***@h:5432/m"),
        ("http://TOKEN@host:5000/x", "http://***@host:5000/x"),
        ("https://TOKEN:x-oauth-basic@host", "https://***@host"),
        ("http://u:p/w@h/x", "http://***@h/x"),
        ("s3://key:sec/ret@bucket/x", "s3://***@bucket/x"),
        ("redis://:pw@h", "redis://***@h"),
        ("http://user:12345678/x@host/y", "http://***@host/y"),
        ("http://user:1234/x@host/y", "http://***@host/y"),
        ("postgresql://me:1234/x@h/d", "postgresql://me:***@h/d"),
        ("http://to/ken@host", "http://***@host"),
        ("http://to#ken@host", "http://***@host"),
        ("postgresql://me:se'cr\"et@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:se cret@h/d", "postgresql://me:***@h/d"),
        ("HTTPS://U:P@H", "HTTPS://***@H"),
        ("https://h/a?token=abc&x=1", "https://h/a?token=***&x=1"),
        ("http://h/x?sig=A&API_KEY=q&Password=z", "http://h/x?sig=***&API_KEY=***&Password=***"),
        ("http://127.0.0.1:5000/#/experiments/1/runs/a@b", None),
        ("http://[::1]:5000/a@b", None),
        ("http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=abc&compareRunsMode=CHART", None),
        ("http://mlflow.example:5000", None),
        ("https://example.org/a@b", None),
        ("s3://bucket/a@b", None),
        ("sqlite:////tmp/a@b/mlflow.db", None),
        ("me@example.org wrote a: b", None),
    ],
)
def test_secrets_are_hidden_in_addresses_and_in_texts_about_them(url: str, shown: str | None) -> None:
    shown = url if shown is None else shown
    assert masked(url) == masked(shown) == shown
    assert (
        masked(f"could not reach '{url}' (timed out), then http://a:b@c")
        == f"could not reach '{shown}' (timed out), then http://***@c"
    )
    assert shown in str(Diagnostic(("storage",), "must be a URL", repr(url), f"fix {url}", "f", 1))
    assert "***" not in without_login(url) and "@db" not in without_login(url)


@pytest.mark.parametrize(
    ("url", "ambiguous"),
    [
        ("postgresql://me:se@cret@h/m", True),
        ("postgresql://me:a/b@h/m", True),
        ("postgresql://me:a?b@h/m", True),
        ("http://u:p#w@h", True),
        ("http://user:12345678/x@host/y", True),
        ("postgresql://me:a%40b%2F@h/m", False),
        ("postgresql://me@h/m", False),
        ("http://h:5000/a@b", False),
        ("mysql://h/m?x=a@b", False),
    ],
)
def test_logins_that_cannot_be_told_from_the_address(url: str, ambiguous: bool) -> None:
    assert ambiguous_login(url) is ambiguous


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b", "a%20b", "a::b", "[a]*", 'it\'s "x"', "é", "é", "~", "a&b;$c"])
def test_files_lie_where_they_were_put_whatever_the_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    check_writable(str(folder))
    write_files(str(folder), {"x": b"1"})
    assert (folder / "x").read_bytes() == b"1" == read_file(str(folder), "x")
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert CheckpointFolder(str(folder)).newest() is None


def test_a_disk_that_is_full_is_told_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "x.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device: ") as caught:
        write_files(str(tmp_path), {"x": b"1"})
    assert caught.value.filename == str(tmp_path / "x")


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a Ray job, as Ray unpacks it, with a home for what is to last."""
    folder = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    (folder / "mine").mkdir(parents=True)
    monkeypatch.chdir(folder / "mine")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DUALSWEEP_STORAGE", raising=False)
    return folder


@pytest.mark.parametrize("named", [None, "shared"])
def test_relative_places_of_a_job_lie_where_they_outlive_it(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    if named:
        monkeypatch.setenv("DUALSWEEP_STORAGE", str(tmp_path / named))
    base = tmp_path / (named or "home/dualsweep")
    assert lasting_folder() == base
    assert lasting_path("runs/x") == base / "runs/x" and lasting_path(str(tmp_path / "y")) == tmp_path / "y"
    assert sqlite_file("sqlite:///mlflow.db") == base / "mlflow.db" and sqlite_file(f"sqlite:///{tmp_path}/z") == tmp_path / "z"
    assert local_path("runs/x") == base / "runs/x", "what an earlier job wrote"
    Path("runs").mkdir()
    assert local_path("runs") == unpacked / "mine/runs", "what travelled"
    assert lasting_path("runs") == base / "runs"


@pytest.mark.parametrize("place", ["{}/runs", "file://{}/runs", "../../../../../session/runtime_resources/working_dir_files/x"])
def test_what_would_go_away_with_the_job_is_refused(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("DUALSWEEP_STORAGE", str(tmp_path / "a/b/c/d/e"))
    with pytest.raises(BadPlaceError, match="must outlive the job"):
        lasting_path(place.format(unpacked))


@pytest.mark.parametrize("named", ["shared", "."])
def test_a_storage_that_is_no_absolute_path_is_refused(unpacked: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("DUALSWEEP_STORAGE", named)
    with pytest.raises(BadPlaceError, match="DUALSWEEP_STORAGE must be an absolute path"):
        lasting_path("runs")


def test_elsewhere_the_working_directory_is_as_good_as_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUALSWEEP_STORAGE", "/elsewhere")
    assert lasting_folder() is None and lasting_path("runs") == tmp_path / "runs"

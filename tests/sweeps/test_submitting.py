"""Which submitted work is the same, which a second submit follows in place of a second job; against real git repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dualsweep.sweeps.submitting import _arguments, work_of


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def repository(folder: Path, email: str | None = "ann@example.org", text: str = "name: digits\n") -> Path:
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "config", "user.name", "Ann")
    git(folder, "config", "user.email", email or "")
    (folder / "digits.yaml").write_text(text)
    git(folder, "add", ".")
    git(folder, "-c", "user.email=ann@example.org", "commit", "-q", "-m", f"first of {folder.name}")
    if email is None:
        git(folder, "config", "--unset", "user.email")
    return folder


def work(root: Path, name: str = "digits", output: str | None = None) -> str:
    return work_of(_arguments("sweep", [], output, False), root / "digits.yaml", name, root)


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which git knows nobody."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("LOGNAME", "ann")


def test_another_file_of_the_same_path_is_other_work(tmp_path: Path) -> None:
    mine, theirs = (repository(tmp_path / each, text=f"name: digits\n# {each}\n") for each in ("mine", "theirs"))
    assert work(mine) != work(theirs)
    assert work(mine) != work(mine, name="digits-2") and work(mine) != work(mine, output="/shared/digits")


def test_how_it_ends_and_whom_it_trusts_makes_no_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs would write to one output."""
    mine = repository(tmp_path / "mine")
    before = work(mine)
    monkeypatch.setattr("dualsweep.sweeps.submitting.trusts_all", lambda: True)
    strict = _arguments("sweep", [], None, True)
    assert {"--strict", "--trust"} <= set(strict)
    assert work_of(strict, mine / "digits.yaml", "digits", mine) == before


def test_the_same_is_the_same_while_files_change_and_in_a_clone_but_not_for_another_person(tmp_path: Path) -> None:
    mine, clone = repository(tmp_path / "mine"), tmp_path / "clone"
    before = work(mine)
    (mine / "digits.yaml").write_text("name: digits\n# changed\n")
    git(mine, "commit", "-q", "-a", "-m", "second")
    assert work(mine) == before
    git(tmp_path, "clone", "-q", str(mine), str(clone))
    git(clone, "config", "user.email", "ann@example.org")
    assert work(clone) == before
    git(clone, "config", "user.email", "bob@example.org")
    assert work(clone) != before


def test_the_same_is_the_same_in_clones_without_history_of_one_address_whatever_commit_they_have(tmp_path: Path) -> None:
    mine, other = repository(tmp_path / "mine"), repository(tmp_path / "other", text="name: digits\n# other\n")
    works = []
    for number, of in enumerate([mine, mine, other]):
        (of / "digits.yaml").write_text(f"name: digits\n# {number}\n")
        git(of, "commit", "-q", "-a", "-m", "next")
        shallow = tmp_path / f"shallow-{number}"
        git(tmp_path, "clone", "-q", "--depth", "1", f"file://{of}", str(shallow))
        git(shallow, "config", "user.email", "ann@example.org")
        works.append(work(shallow))
    first, second, others = works
    assert first == second != others
    logins = []
    for login in ("", "ci:one-jobs-token@", "ci:anothers@"):
        git(shallow, "config", "remote.origin.url", f"https://{login}git.example.org/ann/digits.git")
        logins.append(work(shallow))
    assert logins == [logins[0]] * 3 and logins[0] not in works
    git(shallow, "remote", "remove", "origin")
    assert work(shallow) not in [*works, *logins]


def test_where_git_knows_nobody_the_users_name_stands_and_without_commits_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, plain, other = repository(tmp_path / "mine", email=None), tmp_path / "plain", tmp_path / "other"
    before = work(mine)
    monkeypatch.setenv("LOGNAME", "bob")
    assert work(mine) != before
    for folder in (plain, other):
        folder.mkdir()
        (folder / "digits.yaml").write_text("name: digits\n")
    assert work(plain) == work(plain) != work(other)
    begun = work(plain)
    git(plain, "init", "-q")
    assert work(plain) == begun

"""What is carried: against git's own answer, and without git against the same rules."""

import os
import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from dualsweep.cluster import cargo
from dualsweep.cluster.cargo import LINKS, MIB, collect, pack
from dualsweep.cluster.errors import ClusterError


def fill(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def git(root: Path, *arguments: str) -> None:
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *names, "-C", str(root), *arguments], check=True, capture_output=True)


def names(root: Path) -> set[str]:
    return {name for name, _ in collect(root).files}


@pytest.fixture(params=["git", "walk"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, once as a git repository, once where git isn't installed."""
    if request.param == "git":
        git(tmp_path, "init", "-q")
    else:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    return tmp_path


def test_ignored_files_stay(root: Path) -> None:
    fill(
        root,
        {
            ".gitignore": "*.bin\n/data/\n!keep.bin\nbuild/\n",
            "sweep.yaml": "",
            "big.bin": "x",
            "keep.bin": "x",
            "data/a.csv": "x",
            "src/data/b.csv": "x",
            "src/.gitignore": "local.py\n!special.bin\n",
            "src/local.py": "",
            "src/special.bin": "",
            "src/build/out": "",
            "local.py": "",
            ".venv/bin/python": "",
            "src/__pycache__/a.pyc": "",
            "name with spaces and ü.txt": "",
        },
    )
    assert names(root) == {
        ".gitignore",
        "sweep.yaml",
        "keep.bin",
        "src/data/b.csv",
        "src/.gitignore",
        "src/special.bin",
        "local.py",
        "name with spaces and ü.txt",
    }


def test_rayignore_keeps_more_at_home(root: Path) -> None:
    fill(root, {".rayignore": "docs/\n*.mp4\n", "docs/a.md": "", "a.mp4": "", "src/b.mp4": "", "main.py": ""})
    assert names(root) == {".rayignore", "main.py"}


def test_a_tracked_file_travels_though_ignored_but_not_past_rayignore(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    fill(tmp_path, {"model.bin": "x", "film.mp4": "x", "gone.py": ""})
    git(tmp_path, "add", ".")
    fill(tmp_path, {".gitignore": "*.bin\n", ".rayignore": "*.mp4\n", "other.bin": ""})
    (tmp_path / "gone.py").unlink()
    assert names(tmp_path) == {"model.bin", ".gitignore", ".rayignore"}


def test_a_subfolder_honours_the_rules_above_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    fill(tmp_path, {".gitignore": "*.bin\n", "sub/a.bin": "", "sub/a.py": "", "b.py": ""})
    assert names(tmp_path / "sub") == {"a.py"}


def test_submodules_travel(tmp_path: Path) -> None:
    fill(tmp_path / "inner", {"inner.py": "", ".gitignore": "*.bin\n"})
    git(tmp_path / "inner", "init", "-q")
    git(tmp_path / "inner", "add", ".")
    git(tmp_path / "inner", "commit", "-qm", "x")
    fill(tmp_path / "outer", {"outer.py": ""})
    git(tmp_path / "outer", "init", "-q")
    git(tmp_path / "outer", "submodule", "add", "-q", str(tmp_path / "inner"), "lib")
    fill(tmp_path / "outer", {"lib/new.py": "", "lib/x.bin": ""})
    assert names(tmp_path / "outer") == {".gitmodules", "outer.py", "lib/.gitignore", "lib/inner.py", "lib/new.py"}
    carried = {".gitmodules", "outer.py", "lib/.gitignore", ".rayignore"}
    for rules, kept in (("lib/new.py", {"lib/inner.py"}), ("inner.py\n!lib/new.py", {"lib/new.py"}), ("/lib/*.py", set())):
        fill(tmp_path / "outer", {".rayignore": rules})
        assert names(tmp_path / "outer") == carried | kept, rules
    fill(tmp_path / "outer", {".rayignore": "lib/"})
    assert names(tmp_path / "outer") == carried - {"lib/.gitignore"}


def test_a_repository_inside_another_heeds_the_rayignore_of_every_folder_above_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    files = {"key.pem": "x", "a.mp4": "", "a.py": "", "other.py": "", ".rayignore": "other.py"}
    fill(
        tmp_path,
        {".rayignore": "*.pem\n", "sub/.rayignore": "deep/a.mp4\n", **{f"sub/deep/{name}": each for name, each in files.items()}},
    )
    git(tmp_path / "sub" / "deep", "init", "-q")
    assert names(tmp_path) == {".rayignore", "sub/.rayignore", "sub/deep/.rayignore", "sub/deep/a.py"}


def test_links(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("data")
    fill(data, {"huge.csv": "x", "small.yaml": "y"})
    fill(root, {"main.py": ""})
    (root / "data").symlink_to(data)
    (root / "small.yaml").symlink_to(data / "small.yaml")
    (root / "broken").symlink_to(root / "nowhere")
    fill(
        root,
        {"room/__init__.py": "a", "room/inner/deep.py": "b", "package/__init__.py": "c", "room/x.bin": "", ".gitignore": "*.bin"},
    )
    (root / "package" / "room").symlink_to("../room")
    (root / "package" / "itself").symlink_to(".")
    (root / "package" / "up").symlink_to("..")
    package = collect(root, [LINKS])
    carried = {"main.py", "small.yaml", ".gitignore", "room/__init__.py", "room/inner/deep.py", "package/__init__.py"}
    assert {name for name, _ in package.files} == carried | {"package/room/__init__.py", "package/room/inner/deep.py"}
    assert dict(package.files)["package/room/__init__.py"] == 1
    assert set(package.left_links) == {"data", "broken", "package/itself", "package/up"}


def test_nothing_to_carry(root: Path) -> None:
    with pytest.raises(ClusterError, match="must hold files"):
        collect(root)
    with pytest.raises(ClusterError, match="must be a folder"):
        collect(root / "gone")


def test_packing_is_exact_and_repeatable(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("out")
    fill(root, {"a.py": "print()", "b/c.txt": "c" * 10_000, "run.sh": "#!/bin/sh"})
    (root / "run.sh").chmod(0o755)
    size = pack(collect(root), out / "one.zip")
    os.utime(root / "a.py", (0, 10**9))
    pack(collect(root), out / "two.zip")
    assert size == (out / "one.zip").stat().st_size
    assert (out / "one.zip").read_bytes() == (out / "two.zip").read_bytes()
    with zipfile.ZipFile(out / "one.zip") as archive:
        assert set(archive.namelist()) == {"a.py", "b/c.txt", "run.sh"}
        assert archive.read("b/c.txt") == b"c" * 10_000
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o111


def test_packing_stops_at_the_cap_and_names_the_largest(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    fill(folder, {"a.py": ""})
    (folder / "weights.bin").write_bytes(random.Random(0).randbytes(8 * MIB))
    assert pack(collect(folder), tmp_path / "fits.zip", cap_bytes=9 * MIB) > 8 * MIB
    with pytest.raises(ClusterError, match=r"within the 2\.0 MiB.*weights\.bin \(8\.0 MiB\).*\.rayignore"):
        pack(collect(folder), tmp_path / "large.zip", cap_bytes=2 * MIB)
    assert (tmp_path / "large.zip").stat().st_size < 5 * MIB


def test_the_cap_is_the_one_in_ray() -> None:
    from ray._private import ray_constants  # a private name, looked at by this test alone

    assert ray_constants.DASHBOARD_CLIENT_MAX_SIZE == cargo.UPLOAD_CAP_BYTES
    assert set(ray_constants.RAY_RUNTIME_ENV_DEFAULT_EXCLUDES.split(",")) == cargo.NEVER


def test_a_link_that_leads_to_itself_travels_as_no_link_does(root: Path) -> None:
    fill(root, {"a.txt": "a"})
    (root / "loop").symlink_to("loop")
    package = collect(root)
    assert [name for name, _ in package.files] == ["a.txt"] and package.left_links == ("loop",)


@pytest.mark.parametrize("line", ["!", "\\"])
def test_lines_of_ignore_files_that_are_no_patterns_are_passed_over(root: Path, line: str) -> None:
    fill(root, {"a.txt": "a", "b.txt": "b", ".rayignore": f"{line}\nb.txt\n"})
    assert names(root) == {"a.txt", ".rayignore"}


def test_a_name_that_no_archive_takes_is_refused_before_anything_is_packed(root: Path) -> None:
    fill(root, {"a.txt": "a"})
    (root / os.fsdecode(b"bad\xff")).write_text("x")
    with pytest.raises(ClusterError, match=r"names in UTF-8, .* but got 'bad\\udcff'; rename them"):
        collect(root)

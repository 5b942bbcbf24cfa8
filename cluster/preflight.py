"""Checks before a submit: everything that can be known to go wrong, before anything is uploaded."""

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from dualsweep.cluster.cargo import UPLOAD_CAP_BYTES, WorkingDirPackage, collect, in_words, pack
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.server import JobServer, reach

Level = Literal["ok", "warn", "fail"]
T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """One check: what must hold (`rule`), what was found (`value`), and what to do when it doesn't hold (`remedy`)."""

    name: str
    level: Level
    rule: str
    value: str
    remedy: str = ""

    def __str__(self) -> str:
        advice = f"; {self.remedy}" if self.remedy and self.level != "ok" else ""
        return f"{self.level:<4}  {self.name}: {self.rule}: {self.value}{advice}"


def preflight(
    file: Path, *, working_dir: Path, address: str | None, modules: Sequence[str] = (), allowed: Collection[str] = ()
) -> tuple[Check, ...]:
    """Check whether submitting `file` would work. Nothing is uploaded or run.

    `allowed`: as `dualsweep.cluster.cargo.collect` takes it.

    `modules` are the top-level Python packages that the entrypoint imports: carried along, or to be installed on the cluster.
    Failed checks come back as checks; a submit that ignores them fails with the same words.
    """
    checks: list[Check] = []
    cargo = _tried(checks, "files", lambda: collect(working_dir, allowed))
    if cargo is not None:
        checks += [check_file(file, cargo), check_size(cargo), check_links(cargo), *check_modules(modules, cargo)]
    server = _tried(checks, "job server", lambda: reach(address))
    if server is not None:
        checks += [check_server(server), check_version(server)]
    return tuple(checks)


def failures(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that failed; a submit makes sense when there is none."""
    return tuple(check for check in checks if check.level == "fail")


def inside(file: Path, root: Path) -> str:
    """The path of `file` relative to the working directory `root`, as it is written on the cluster.

    Raises:
        ClusterError: `file` lies elsewhere.
    """
    try:
        return file.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise ClusterError(
            "the file must lie inside the working directory, which is what travels",
            f"{file}, outside {root.resolve()}",
            "move it there, or give the working directory that holds it",
        ) from None


def check_file(file: Path, cargo: WorkingDirPackage) -> Check:
    """Is the file among what is carried?"""
    rule = "the file lies inside the working directory and isn't ignored"
    try:
        name = inside(file, cargo.root)
    except ClusterError as error:
        return _failed("file", error)
    if not file.is_file():
        return Check("file", "fail", rule, f"{file} doesn't exist", "correct its name")
    if not cargo.carries(name):
        return Check("file", "fail", rule, f"{name} is ignored", "take it out of .gitignore and .rayignore")
    return Check("file", "ok", rule, name)


def check_size(cargo: WorkingDirPackage) -> Check:
    """Does the job server take it? It is packed only if the plain sum leaves that open."""
    rule = f"the packed upload stays within the job server's {in_words(UPLOAD_CAP_BYTES)}"
    value = f"{len(cargo.files)} files of {in_words(cargo.size_bytes)}"
    packed = cargo.size_bytes
    if cargo.size_bytes > UPLOAD_CAP_BYTES // 2:
        with tempfile.TemporaryDirectory() as folder:
            try:
                packed = pack(cargo, Path(folder) / "cargo.zip")
            except ClusterError as error:
                return _failed("upload size", error)
        value += f", {in_words(packed)} packed"
    if packed > UPLOAD_CAP_BYTES // 2:
        largest = ", ".join(f"{name} ({in_words(size)})" for name, size in cargo.largest(3))
        return Check("upload size", "warn", rule, value, f"the largest are {largest}; .rayignore keeps files at home")
    return Check("upload size", "ok", rule, value)


def check_links(cargo: WorkingDirPackage) -> Check:
    """Links to folders that aren't carried, or to nowhere, stay at home."""
    rule = "links lead to what is carried"
    if not cargo.left_links:
        return Check("links", "ok", rule, "all do")
    shown = ", ".join(cargo.left_links[:5]) + (", …" if len(cargo.left_links) > 5 else "")
    return Check("links", "warn", rule, f"{shown}: not carried", "put data where the cluster can read it")


def check_modules(modules: Sequence[str], cargo: WorkingDirPackage) -> list[Check]:
    """Is each package that the entrypoint imports carried? If not, the cluster must have it."""
    rule = "the entrypoint's packages are carried or installed on the cluster"
    missing = [name for name in modules if not (cargo.carries(f"{name}/__init__.py") or cargo.carries(f"{name}.py"))]
    if not modules:
        return []
    if not missing:
        return [Check("packages", "ok", rule, f"{', '.join(modules)} are carried")]
    return [
        Check(
            "packages",
            "warn",
            rule,
            f"{', '.join(missing)} not in the working directory",
            "install them in the image of every node, or let the job install them (pip=...)",
        )
    ]


def check_server(server: JobServer) -> Check:
    """Records how the job server has answered."""
    how = "with the authentication token" if server.headers else "without authentication"
    return Check("job server", "ok", "the job server answers and lets us in", f"{server.url}, {how}")


def check_version(server: JobServer) -> Check:
    """Does the cluster run the Ray that this machine has tested with?"""
    import ray

    rule = "the cluster runs the same Ray as this machine"
    value = f"{server.ray_version} there, {ray.__version__} here"
    if server.ray_version == ray.__version__:
        return Check("ray version", "ok", rule, value)
    return Check("ray version", "warn", rule, value, f"start the cluster from an image with ray=={ray.__version__}")


def _tried(checks: list[Check], name: str, step: Callable[[], T]) -> T | None:
    try:
        return step()
    except ClusterError as error:
        checks.append(_failed(name, error))
        return None


def _failed(name: str, error: ClusterError) -> Check:
    return Check(name, "fail", error.rule, error.received, error.remedy)

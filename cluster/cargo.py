"""What a submit carries: the files of the working directory, chosen as git chooses and packed by us.

Ray would pack the directory itself, but by rules of its own (only `.gitignore` files below the directory, no exceptions by
`!`, files that git tracks left out, nothing compressed), and would say that it is too large only after uploading. Packing here
makes what the preflight counts exactly what travels.
"""

import contextlib
import os
import stat
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.git import listed
from dualsweep.cluster.secret_files import resolved, secret_files

MIB = 2**20

UPLOAD_CAP_BYTES = 100 * MIB
"""The largest body that Ray's job server takes (its answer beyond is 413). The 512 MiB in Ray's manual are for `ray.init`."""

NEVER = frozenset({".git", ".venv", "venv", "__pycache__"})
"""Folders that are never carried, at any depth: Ray's own list."""

SECRETS, LINKS = "--carry-secrets", "--follow-links"
"""What allows files to travel that look like secrets, and those that links out of the working directory lead to."""

_RAYIGNORE = ".rayignore"
_IGNORE_FILES = (".gitignore", _RAYIGNORE)
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class WorkingDirPackage:
    """Files to carry, as paths relative to `root` in order, with their sizes in bytes, and links that can't be carried.

    A link to a folder that is carried too becomes a copy of it: Ray unpacks no links.
    """

    root: Path
    files: tuple[tuple[str, int], ...]
    left_links: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes, before packing."""
        return sum(size for _, size in self.files)

    def carries(self, path: str) -> bool:
        """Whether the file `path`, relative to the root, is among them."""
        return any(name == path for name, _ in self.files)

    def largest(self, count: int) -> list[tuple[str, int]]:
        """The `count` largest files, largest first."""
        return sorted(self.files, key=lambda file: -file[1])[:count]


def collect(working_dir: Path, allowed: Collection[str] = ()) -> WorkingDirPackage:
    """List what would be carried.

    In a git work tree: what is tracked, and what is neither tracked nor ignored. Elsewhere: what no `.gitignore` on the way
    excludes. In both, `.rayignore` (in the syntax of `.gitignore`) excludes as well, tracked files too.

    `allowed` are those of `SECRETS` and `LINKS` that may be among them.

    Raises:
        ClusterError: not a folder, nothing to carry, or what must not leave this machine unasked.
    """
    root = working_dir.resolve()
    if not root.is_dir():
        raise ClusterError("the working directory must be a folder", str(working_dir), "give the folder of your repository")
    names = sorted(set(_names(root)))
    files = [(name, (root / name).stat().st_size) for name in names if (root / name).is_file()]
    links: list[str] = []
    for name in names:
        if (root / name).is_symlink() and not (root / name).is_file():
            copies = list(_behind(root, name, files))
            files += copies
            links += [] if copies else [name]
    if odd := [name for name, _ in files if name != name.encode(errors="replace").decode()]:
        shown = _listed([ascii(name) for name in odd])
        remedy = "rename them, or name what matches them in .rayignore"
        raise ClusterError("files that travel must have names in UTF-8, as zip archives have", shown, remedy)
    if not files:
        raise ClusterError(
            "the working directory must hold files to carry", f"none in {root}", "check its .gitignore and .rayignore"
        )
    _check_leaving(root, [name for name, _ in files], allowed)
    return WorkingDirPackage(root, tuple(sorted(files)), tuple(links))


def _check_leaving(root: Path, names: Sequence[str], allowed: Collection[str]) -> None:
    out = [name for name in names if LINKS not in allowed and _leads_out(root, name)]
    secret = [name for name in secret_files(root, names) if SECRETS not in allowed and name not in out]
    found = [(SECRETS, "that look like secrets", secret), (LINKS, "that lead out of the working directory", out)]
    refused = [(flag, f"files {what}: {_listed(which)}") for flag, what, which in found if which]
    if refused:
        raise ClusterError(
            "what travels must hold neither secrets nor what lies elsewhere",
            "; ".join(received for _, received in refused),
            f"name them in .gitignore or .rayignore, or say {' '.join(flag for flag, _ in refused)} to carry them all the same",
        )


def _leads_out(root: Path, name: str) -> bool:
    """Whether a file is a link, or lies behind one, to what is not in the root, or to what is never carried."""
    target = resolved(root / name)
    if target is None:
        return False  # to nowhere, and so nothing of it travels
    return not target.is_relative_to(root) or not NEVER.isdisjoint(target.relative_to(root).parts)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def pack(cargo: WorkingDirPackage, target: Path, cap_bytes: int = UPLOAD_CAP_BYTES) -> int:
    """Write the files to the zip archive `target` and return its size in bytes.

    The same files give the same archive, whatever their times: Ray names an upload by its content and skips a known one.

    Raises:
        ClusterError: it would pass `cap_bytes`; noticed while packing, so that a huge folder costs no more than the cap.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, _ in cargo.files:
            path = cargo.root / name
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | (0o755 if os.access(path, os.X_OK) else 0o644)) << 16
            with path.open("rb") as source, archive.open(entry, "w") as sink:
                while block := source.read(MIB):
                    sink.write(block)
                    if target.stat().st_size > cap_bytes:
                        raise _too_large(cargo, cap_bytes)
    packed = target.stat().st_size
    if packed > cap_bytes:
        raise _too_large(cargo, cap_bytes)
    return packed


def in_words(size_bytes: int) -> str:
    """A size for people, in the unit of Ray's limits."""
    return f"{size_bytes / MIB:.1f} MiB"


def _too_large(cargo: WorkingDirPackage, cap_bytes: int) -> ClusterError:
    largest = ", ".join(f"{name} ({in_words(size)})" for name, size in cargo.largest(5))
    return ClusterError(
        f"the packed working directory must stay within the {in_words(cap_bytes)} that Ray's job server takes",
        f"more than that, from {len(cargo.files)} files of {in_words(cargo.size_bytes)}; the largest: {largest}",
        "name what the job doesn't need in .gitignore or .rayignore, and put data where the cluster can read it (a shared "
        "folder or an fsspec URI)",
    )


def _behind(root: Path, link: str, files: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """What is carried of the folder that `link` leads to, under the link's name; nothing where the link lies in that folder."""
    target = resolved(root / link)
    if target is None or not target.is_relative_to(root) or (root / link).parent.resolve().is_relative_to(target):
        return
    folder = f"{target.relative_to(root).as_posix()}/"
    yield from ((f"{link}/{name.removeprefix(folder)}", size) for name, size in files if name.startswith(folder))


def _names(root: Path) -> Iterator[str]:
    """Paths relative to `root`, of what git or the ignore files let through."""
    inside = listed(root, "rev-parse", "--is-inside-work-tree")
    names = _git_names(root) if inside == ["true"] else _walked_names(root, "", [])
    return (name for name in names if NEVER.isdisjoint(Path(name).parts))


def _git_names(root: Path) -> Iterator[str]:
    names = listed(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard") or []
    # git applies ignore files to what it doesn't track; .rayignore is there to keep tracked files at home, too.
    left_out = set(listed(root, "ls-files", "-z", "--cached", "--ignored", "--exclude-per-directory=.rayignore") or [])
    left_out.update(listed(root, "ls-files", "-z", "--others", "--ignored", "--exclude-per-directory=.rayignore") or [])
    for name in names:
        if name in left_out:
            continue
        nested = root / name
        if nested.is_dir() and not nested.is_symlink():  # a submodule, or a repository inside ours: git names only its folder
            above = _rayignores_above(root, Path(name))
            inside = (f"{name.rstrip('/')}/{inner}" for inner in _names(nested))
            yield from (each for each in inside if not _ignored(each, above))
        else:
            yield name


def _rayignores_above(root: Path, folder: Path) -> "_Rules":
    """What `.rayignore` files say on the way from `root` to a repository in it, of which those of ours tell git nothing."""
    prefixes = ["" if each == Path() else f"{each.as_posix()}/" for each in reversed(folder.parents)]
    return [each for prefix in prefixes for each in _rules(root, prefix) if each[0] == _RAYIGNORE]


def _walked_names(root: Path, prefix: str, above: "_Rules") -> Iterator[str]:
    """Paths below `prefix` that the ignore files let through, where there is no git: each folder's hold for all below it."""
    rules = [*above, *_rules(root, prefix)]
    for path in sorted((root / prefix).iterdir()):
        descend = path.is_dir() and not path.is_symlink()
        name = prefix + path.name + ("/" if descend else "")
        if path.name in NEVER or _ignored(name, rules):
            continue
        if descend:
            yield from _walked_names(root, name, rules)
        else:
            yield name


_Rules = list[tuple[str, str, GitIgnoreSpec]]
"""Ignore files read so far, outermost first: name, folder, patterns."""


def _rules(root: Path, prefix: str) -> _Rules:
    found = [(kind, root / prefix / kind) for kind in _IGNORE_FILES if (root / prefix / kind).is_file()]
    return [(kind, prefix, GitIgnoreSpec.from_lines(_patterns(path))) for kind, path in found]


def _patterns(file: Path) -> list[str]:
    """The lines of an ignore file, without those that are no patterns (`!` alone), which git passes over."""
    lines = []
    for line in file.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            GitIgnoreSpec.from_lines([line])
            lines.append(line)
    return lines


def _ignored(name: str, rules: _Rules) -> bool:
    """Whether `name` is ignored: as in git, the innermost file that speaks of it decides, be it by an exception (`!`)."""
    said: dict[str, bool] = {}
    for kind, folder, spec in rules:
        if (verdict := spec.check_file(name.removeprefix(folder)).include) is not None:
            said[kind] = verdict
    return any(said.values())

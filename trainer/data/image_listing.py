"""The files of an image folder and their classes, from their names alone. Plain Python: the checks use it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import nearest
from dualsweep.trainer.data.class_names import composed, ordered
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.metadata import METADATA
from dualsweep.trainer.data.paths import existing
from dualsweep.trainer.recipe.base import ClassName

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_KEYS = ("data", "folder")


@dataclass(frozen=True)
class Listing:
    """The images of a folder, class by class, each class in the order of its sorted paths.

    `labels` is None where the images lie in the folder itself. Sub-folders without images are no classes: `without_images`.
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...] | None
    class_names: tuple[ClassName, ...]
    without_images: tuple[str, ...] = ()


def list_images(folder: str) -> Listing:
    """Lists a folder: one sub-folder for each class (searched to any depth), or images without classes.

    Hidden files and folders, and files that are no images by their suffix, are passed over. Within a class every file counts
    once, whatever links lead to it.

    Raises:
        BadDataError: there is no such folder, no image in it, or it has images both beside and inside sub-folders.
    """
    root = existing(folder, _KEYS)
    if not root.is_dir():
        raise _fault("must be a folder", _what_is(root, folder), _near(root))
    beside = _once(path for path in _visible(root) if _is_image(path))
    by_class = _by_class(root)
    classes = {name: files for name, files in by_class.items() if files}
    if beside and classes:
        received = f"{len(beside)} images beside the sub-folder `{min(classes)}`"
        raise _fault("must hold either images or sub-folders of images", received, "put every image into a sub-folder, or none")
    if beside:
        return Listing(tuple(beside), None, ())
    if not classes:
        raise _fault("must hold images", f"none below {root}", f"give a folder of {', '.join(SUFFIXES)} files")
    names = ordered(classes)
    files = tuple(file for name in names for file in classes[str(name)])
    labels = tuple(label for label, name in enumerate(names) for _ in classes[str(name)])
    return Listing(files, labels, names, tuple(sorted(set(by_class) - set(classes))))


def passed_over(folder: str) -> list[str]:
    """The files at and below a folder that `list_images` takes for no images: neither hidden nor of a known suffix, nor the
    file of what is said of them.
    """
    root = existing(folder, _KEYS)
    paths = []
    for place, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        paths += [Path(place, name) for name in files if not name.startswith(".")]
    others = [path for path in paths if path.suffix.lower() not in SUFFIXES and path.name != METADATA]
    return sorted(str(path.relative_to(root)) for path in others)


def _by_class(root: Path) -> dict[str, list[Path]]:
    """The images below each sub-folder, by its name in composed form, each sorted; every real folder is read once.

    Raises:
        BadDataError: a link makes a folder part of two classes.
    """
    tops = sorted((path for path in _visible(root) if path.is_dir()), key=lambda path: (path.is_symlink(), path.name))
    owners = {path.resolve(): path for path in reversed(tops) if not path.is_symlink()}
    by_class: dict[str, list[Path]] = {composed(path.name): [] for path in tops}
    for path in tops:
        by_class[composed(path.name)] += _images_of(path, root.resolve(), owners)
    return {name: _once(files) for name, files in sorted(by_class.items())}


def _once(images: Iterable[Path]) -> list[Path]:
    """The images of one class, sorted: of those that are links to one file, or to an image that is itself there, only one."""
    by_file: dict[Path, Path] = {}
    folders: dict[Path, Path] = {}
    for path in sorted(images, key=lambda path: (path.is_symlink(), path)):
        if path.parent not in folders:
            folders[path.parent] = path.parent.resolve()
        by_file.setdefault(path.resolve() if path.is_symlink() else folders[path.parent] / path.name, path)
    return sorted(by_file.values())


def _images_of(top: Path, root: Path, owners: dict[Path, Path]) -> Iterator[Path]:
    """The images at and below a sub-folder of `root`; `owners` tells of each real folder whose it is, and learns more.

    Real folders come before links, so that the paths of a folder's images are its own and not those of a link to it.
    """
    waiting, links, read = [top], list[Path](), set[Path]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = folder.resolve()
        if real in read or real in (root, *root.parents):
            continue  # a loop, or a second link to the same folder
        if owners.setdefault(real, top) != top:
            received = f"`{folder}`, a link to what is of the class `{owners[real].name}`"
            raise _fault("must have every folder in one class", received, "remove that link")
        read.add(real)
        for path in sorted(_visible(folder)):
            if path.is_dir():
                (links if path.is_symlink() else waiting).append(path)
            elif _is_image(path):
                yield path


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    """Whether a path is an image by its suffix. Raises BadDataError for a link of such a name that leads nowhere."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    if path.is_symlink() and not path.exists():
        raise _fault("must hold readable images", f"`{path}`, a link that leads nowhere", "fix or remove that link")
    return path.is_file()


def _what_is(root: Path, given: str) -> str:
    found = "a file" if root.exists() else "nothing"
    return f"{found} at '{given}'" if root.is_absolute() else f"{found} at '{given}' in {Path.cwd()}"


def _near(root: Path) -> str:
    if not root.parent.is_dir():
        return "fix the path"
    beside = sorted(path.name for path in _visible(root.parent) if path.is_dir())
    return nearest(root.name, beside) if beside else "make it, with a sub-folder of images for each class"


def _fault(rule: str, received: str, remedy: str) -> BadDataError:
    return BadDataError(Diagnostic(_KEYS, rule, received, remedy))

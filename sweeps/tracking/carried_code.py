"""The code that a checkpoint needs where dualsweep is not installed: a copy of what samples, and the user's own module."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import sysconfig
from pathlib import Path

import dualsweep

#: What of the package samples a checkpoint: all of `trainer/` but its Ray shell, and the two files that MLflow asks.
_FILES = ("__init__.py", "models_of_0_1.py", "sweeps/__init__.py", "sweeps/tracking/__init__.py", *(
    f"sweeps/tracking/{name}.py" for name in ("sampling_model", "exported_model")
))  # fmt: skip
#: What that imports on the way from a checkpoint to its samples; peft is for adapters, and brings transformers, for prompts.
REQUIRED = ("torch", "diffusers", "numpy", "pydantic", "pyyaml", "fsspec", "safetensors", "scipy", "pillow", "peft")


def copy_of_ours(folder: Path) -> Path:
    """The package `dualsweep` as far as sampling needs it, a folder of that name in `folder`."""
    home, copied = Path(dualsweep.__file__).parent, folder / "dualsweep"
    shutil.copytree(home / "trainer", copied / "trainer", ignore=shutil.ignore_patterns("__pycache__", "ray_shell"))
    for name in _FILES:
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / name, copied / name)
    return copied


def module_of(path: str) -> Path | None:
    """The file or package of an import path, which is not run for that; None of an installed one, or where there is none."""
    top = path.partition(":")[0].partition(".")[0]
    here = str(Path.cwd())
    sys.path.insert(0, here)  # where the trainer looks first too
    try:
        module = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    finally:
        sys.path.remove(here)
    if module is None or module.origin is None:
        return None
    place = Path(module.origin).parent if module.submodule_search_locations else Path(module.origin)
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")]
    return None if any(place.resolve().is_relative_to(folder) for folder in installed) else place

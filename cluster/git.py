"""What git says of a folder, where there is git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def listed(root: Path, *arguments: str, timeout_s: float | None = None) -> list[str] | None:
    """What git lists, a line or with `-z` a name each; None where there is no git, `root` is in no repository (or not in one that
    git trusts), or git takes longer than it may.
    """
    if shutil.which("git") is None:
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        return None
    text = done.stdout.decode(errors="surrogateescape")
    return [name for name in text.split("\0" if "-z" in arguments else "\n") if name]

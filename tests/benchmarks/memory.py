"""Memory by process, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

import psutil


def proportional_set_sizes(root: psutil.Process) -> dict[str, int]:
    """Bytes by kind of process, over a process and all its descendants; shared pages are counted once."""
    sizes: dict[str, int] = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            command = process.cmdline() or [process.name()]
        except (FileNotFoundError, ProcessLookupError, PermissionError, psutil.Error):
            continue  # it ended meanwhile
        words = [Path(word).name for word in command[1:] if word[:1] != "-"] or [Path(command[0]).name]
        title = command[0].split(".")[0] if command[0].startswith("ray::") else words[0]
        size = sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        sizes[title] = sizes.get(title, 0) + size
    return sizes

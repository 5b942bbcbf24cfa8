"""Files on their way to MLflow, where others read them: their secrets stay in the run's own folder, which goes on with them."""

from __future__ import annotations

import posixpath
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.masking import masked, masked_in, masked_json
from dualsweep.trainer.own_files import GARBAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The ends of names of files whose text is looked through.
_TEXTS = (".json", ".yaml", ".md", ".txt")


def send_artifact(client: MlflowClient, run_id: str, path: Path, folder: str | None = None) -> None:
    """Sends a file, or all that a folder holds, to `folder` among a run's artifacts; secrets in texts are hidden there."""
    if path.is_dir():
        for each in sorted(path.iterdir()):
            send_artifact(client, run_id, each, posixpath.join(folder or "", each.name) if each.is_dir() else folder)
        return
    content = path.read_bytes() if path.suffix in _TEXTS else b""
    shown = without_secrets(path.name, content)
    if shown == content:
        client.log_artifact(run_id, str(path), folder)
        return
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / path.name
        copy.write_bytes(shown)
        client.log_artifact(run_id, str(copy), folder)


def without_secrets(name: str, content: bytes) -> bytes:
    """The content of a file of this name with the secrets of its text hidden; JSON and YAML stay what they are."""
    if not name.endswith(_TEXTS):
        return content
    text = content.decode(errors="surrogateescape")
    shown = masked_json(text) if name.endswith(".json") else _yaml(text) if name.endswith(".yaml") else masked(text)
    return shown.encode(errors="surrogateescape")


def _yaml(text: str) -> str:
    try:
        plain = yaml_core.read(text)
    except GARBAGE:
        return masked(text)
    hidden = masked_in(plain)
    return text if hidden == plain else yaml_core.write(hidden)

"""A second node that does not see what the driver sees: found out before anything is trained."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.cluster.live.conftest import Head, end, environment, wait_for
from tests.pipeline.conftest import RECIPE

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def alone(head: Head, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is another one, and empty, on the second node."""
    folder = tmp_path_factory.mktemp("alone")
    log, mark = folder.parent / "node.log", f"DUALSWEEP_TEST_NODE={uuid.uuid4().hex}"
    ray = [str(Path(sys.executable).parent / "ray"), "start", f"--address={head.gcs}", "--num-cpus=1", "--block"]
    mounted = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh"]
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    with log.open("w") as sink:
        started = subprocess.Popen(
            [*mounted, *ray], env={**environment(head.home), **dict([mark.split("=")]), "RAY_AUTH_MODE": "token"},
            stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for("Ray runtime started", log, started)
        yield folder
    finally:
        end(started, mark)


def trained(head: Head, folder: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dualsweep", "train", "recipe.yaml", "--address", head.gcs, "--output", str(output)]
    return subprocess.run(
        command, cwd=folder, env=environment(head.home), capture_output=True, text=True, check=False, timeout=120
    )


def test_an_output_and_data_that_another_node_does_not_see_are_refused(head: Head, alone: Path, tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (alone / "images" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), 60 * number).save(alone / "images" / name / f"{number}.png")
    constraints = [{"name": "cats", "data": {"classes": ["cats"]}, "at_most": 0.3}]
    recipe = {**RECIPE, "data": {"folder": str(alone / "images")}, "constraints": constraints}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    refused = trained(head, tmp_path, alone / "run")
    assert refused.returncode == 2 and "fail  files" in refused.stdout, refused.stdout + refused.stderr
    packages, files, output = refused.stdout.splitlines()[-3:]
    assert packages.startswith("ok    packages: ")
    assert files.startswith("fail  files: ") and f"{alone}/images" in files and files.count(" on ") == 2
    assert output.startswith(
        f"fail  output: {alone}/run lies where all nodes read and write: what the driver writes is not seen on "
    )
    assert "files: what the recipe names is there on every node" in refused.stderr and "Traceback" not in refused.stderr
    assert not list((alone / "run").glob(".preflight*")), "what tried it is gone"

"""The shipped ways to a cluster: each against what will read it, as far as that can be had here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import mlflow.cli
import pytest
import ray.autoscaler
import yaml
from typer.main import get_command

from dualsweep.sweeps.cli import app

DEPLOY = Path(__file__).parents[2] / "cluster" / "deploy"
GUIDE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()

#: The fields of KubeRay's v1 types that are used, and of what kind they are (ray-operator/apis/ray/v1 of ray-project/kuberay).
TEMPLATE: dict[str, Any] = {"spec": dict}
GROUP: dict[str, Any] = {"rayStartParams": dict, "template": TEMPLATE}
WORKERS: dict[str, Any] = {**GROUP, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
RAYJOB: dict[str, Any] = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str},
    "spec": {
        "entrypoint": str,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "rayClusterSpec": {"rayVersion": str, "headGroupSpec": GROUP, "workerGroupSpecs": [WORKERS]},
    },
}


def faults(value: Any, fields: Any, at: str = "") -> list[str]:
    """Where a value has other fields than those, or of another kind."""
    if isinstance(fields, dict):
        if not isinstance(value, dict):
            return [at]
        unknown = [f"{at}.{name}" for name in value if name not in fields]
        return unknown + [each for name in value if name in fields for each in faults(value[name], fields[name], f"{at}.{name}")]
    if isinstance(fields, list):
        if not isinstance(value, list):
            return [at]
        return [each for number, item in enumerate(value) for each in faults(item, fields[0], f"{at}[{number}]")]
    return [] if type(value) is fields else [at]


def test_the_rayjob_has_fields_that_kuberay_knows_and_its_command_can_be_parsed() -> None:
    claim, job = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    assert faults(job, RAYJOB) == [] and (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert all(type(value) is str for group in groups for value in group["rayStartParams"].values())
    claims = {each["persistentVolumeClaim"]["claimName"] for group in groups for each in group["template"]["spec"]["volumes"]}
    assert claims == {claim["metadata"]["name"]} and claim["spec"]["accessModes"] == ["ReadWriteMany"]
    words = job["spec"]["entrypoint"].split()
    sweep = get_command(app).commands[words[1]]  # type: ignore[attr-defined]  # a group of commands
    assert words[0] == "dualsweep" and sweep.make_context("sweep", words[2:]).params["sets"] is not None


def test_what_the_rayjob_writes_lies_on_the_volume_that_all_pods_share() -> None:
    """It brings no working directory, so that nothing makes a relative place last."""
    job = list(yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text()))[1]
    cluster = job["spec"]["rayClusterSpec"]
    pods = [each["template"]["spec"] for each in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    mounted = {mount["mountPath"] for pod in pods for each in pod["containers"] for mount in each["volumeMounts"]}
    words = job["spec"]["entrypoint"].split()
    said = get_command(app).commands["sweep"].make_context("sweep", words[2:]).params  # type: ignore[attr-defined]
    assert mounted == {"/shared"} and "working_dir" not in job["spec"].get("runtimeEnvYAML", "")
    assert all(Path(str(said[name])).is_relative_to("/shared") for name in ("output", "json_file"))
    assert any(each.startswith("mlflow.tracking_uri=http") for each in said["sets"])


@pytest.mark.parametrize("broken", ["backofLimit", "backoffLimit"])
def test_a_field_that_is_misspelt_or_of_another_kind_is_found(broken: str) -> None:
    job = list(yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text()))[1]
    job["spec"][broken] = "3"
    assert faults(job, RAYJOB) == [f".spec.{broken}"]


def test_the_configuration_of_ray_up_keeps_to_rays_schema() -> None:
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = yaml.safe_load((DEPLOY / "ray-up.yaml").read_text())
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "setup_command": []}, schema)


def test_mlflow_has_the_options_that_its_server_is_started_with() -> None:
    services = yaml.safe_load((DEPLOY / "mlflow.compose.yaml").read_text())["services"]
    program, command, *options = services["mlflow"]["command"]
    known = {option for parameter in mlflow.cli.server.params for option in parameter.opts}
    assert (program, command) == ("mlflow", "server") and {each.partition("=")[0] for each in options} <= known
    assert set(services["mlflow"]["depends_on"]) == {"postgres"} and "@postgres/mlflow" in " ".join(options)


def test_images_have_the_version_of_ray_that_is_tested() -> None:
    pinned = re.search(r"^ray==(\S+)", (DEPLOY.parents[1] / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"ARG RAY={pinned[1]}\n" in (DEPLOY / "Containerfile").read_text()
    assert f'rayVersion: "{pinned[1]}"' in (DEPLOY / "rayjob.yaml").read_text()


def test_each_is_in_the_guide() -> None:
    assert [path.name for path in sorted(DEPLOY.iterdir()) if f"cluster/deploy/{path.name}" not in GUIDE] == []


#: SLURM and Ray are not on this machine, or too dear: each notes how it was called. The sweep begins once both nodes are asked
#: for, and runs until it is told to end.
COMMANDS = {
    "scontrol": 'case $1 in show) printf "n1\\nn2\\n";; *) echo "$@" >> "$NOTES/requeued";; esac',
    "srun": 'echo "$@" >> "$NOTES/srun"; exec sleep 60',
    "ray": "exit 0",
    "dualsweep": 'while [[ $(grep -c -- --overlap "$NOTES/srun") != 2 ]]; do sleep 0.05; done; echo "$@" > "$NOTES/sweep";'
    ' trap "exit $ENDS" TERM; [[ $ENDS == 0 ]] && exit 0; while :; do sleep 0.05; done',
}


@pytest.mark.parametrize(("ends", "requeued"), [(130, True), (1, False), (0, False)])
def test_the_slurm_script_requeues_a_sweep_that_ran_out_of_time_and_no_other(tmp_path: Path, ends: int, requeued: bool) -> None:
    assert subprocess.run(["bash", "-n", str(DEPLOY / "slurm.sh")], check=False).returncode == 0
    for name, body in COMMANDS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    given = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "712345", "SLURM_CPUS_PER_TASK": "8", "NOTES": str(tmp_path)}
    process = subprocess.Popen(
        ["bash", str(DEPLOY / "slurm.sh"), "my sweep.yaml", "/shared/x", "--set", "trials=4"], start_new_session=True,
        env={**os.environ, **given, "ENDS": str(ends), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not (tmp_path / "sweep").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    if ends:
        process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == ends
    assert (tmp_path / "sweep").read_text() == "sweep my sweep.yaml --output /shared/x --address n1:22345 --set trials=4\n"
    steps = (tmp_path / "srun").read_text()
    assert "--nodelist=n1 --overlap ray start --head" in steps and "--nodelist=n2 --overlap ray start --address=n1:22345" in steps
    assert (tmp_path / "requeued").exists() == requeued

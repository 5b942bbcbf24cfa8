"""`dualsweep submit`, `status` and `stop`: the same files on a Ray cluster, through its job server."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dualsweep.cluster.cargo import collect
from dualsweep.cluster.follow import follow
from dualsweep.cluster.jobs import Job, list_jobs, status, stop, submit
from dualsweep.cluster.preflight import failures, preflight
from dualsweep.sweeps.exits import BAD_INPUT, DONE, FAILED, MEANINGS
from dualsweep.trainer.checks.own_name import name_taken
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.trust import trusts_all

#: The packages that the job needs beside the repository's own; the preflight can only look for what travels.
MODULES = ("dualsweep",)
_COMMAND = "python -m dualsweep"


def repository(file: Path) -> Path:
    """What travels: the git repository that holds the file, else the working directory."""
    completed = subprocess.run(
        ["git", "-C", str(file.absolute().parent), "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False
    )
    return Path(completed.stdout.strip()) if completed.returncode == 0 else Path.cwd()


def submit_file(
    kind: str,
    file: Path,
    address: str | None,
    sets: Sequence[str],
    output: str | None,
    console: Console,
    *,
    following: bool = True,
    strict: bool = False,
    allowed: Sequence[str] = (),
) -> int:
    """Submits and follows; the exit code: the job's own, 1 where it was stopped, 2 refused by the preflight.

    `allowed` are the flags of `dualsweep.cluster.cargo` for what must not travel unasked.
    """
    root = repository(file)
    if (taken := name_taken(root)) is not None:
        raise InputError([taken])
    checks = preflight(file, working_dir=root, address=address, modules=MODULES, allowed=allowed)
    for each in checks:
        console.print(str(each), highlight=False, soft_wrap=True)
    if failures(checks):
        return BAD_INPUT
    arguments = _arguments(kind, sets, output, strict)
    job = submit(file, address=address, working_dir=root, entrypoint_args=arguments, allowed=allowed)
    console.print(f"submitted as {job.submission_id}", highlight=False)
    where = f"{job.submission_id} --address {shlex.quote(job.address)}"
    hint = f"dualsweep status {where}; dualsweep stop {where}"
    if not following:
        console.print(hint, highlight=False, soft_wrap=True)
        return DONE
    try:
        ended = follow(job)
    except KeyboardInterrupt:
        console.print(f"no longer following; the job goes on: {hint}", highlight=False, soft_wrap=True)
        return DONE
    console.print(_line(ended), highlight=False, soft_wrap=True)
    return DONE if ended.status == "SUCCEEDED" else ended.exit_code or FAILED


def _arguments(kind: str, sets: Sequence[str], output: str | None, strict: bool) -> list[str]:
    """The command that the job runs, without its file."""
    arguments = [*_COMMAND.split(), kind]
    for text in sets:
        arguments += ["--set", text]
    arguments += ["--output", output] if output else []
    arguments += ["--strict"] if strict else []
    return arguments + (["--trust"] if trusts_all() else [])


def show_cargo(file: Path, allowed: Sequence[str], console: Console) -> None:
    """Prints what a submit would carry, the largest first; nothing is uploaded, and no server is asked.

    Raises:
        ClusterError: something among it must not travel unasked.
    """
    cargo = collect(repository(file), allowed)
    for name, size in sorted(cargo.files, key=lambda each: (-each[1], each[0])):
        console.print(f"{size:>12,}  {name}", highlight=False, soft_wrap=True)
    total = f"{cargo.size_bytes:>12,}  bytes in {len(cargo.files)} files of {cargo.root} would travel"
    console.print(total, highlight=False, soft_wrap=True)
    for name in cargo.left_links:
        console.print(f"{'link':>12}  {name} would not", highlight=False, soft_wrap=True)


def show_status(job_id: str | None, address: str | None, console: Console) -> None:
    """Prints one job, or all of them, newest first."""
    jobs = [status(address, job_id)] if job_id else list_jobs(address)
    for job in jobs:
        console.print(_line(job), highlight=False, soft_wrap=True)
    if not jobs:
        console.print("no jobs were submitted to this cluster")


def stop_job(job_id: str, address: str | None, console: Console) -> None:
    """Stops a job and waits until it has stopped."""
    console.print(_line(stop(address, job_id)), highlight=False, soft_wrap=True)


def _line(job: Job) -> str:
    """Ray calls every job FAILED that ends with another code than 0: what a code of ours means stands beside it."""
    ours = MEANINGS.get(job.exit_code or DONE) if _COMMAND in job.entrypoint and job.status == "FAILED" else None
    message = job.message.strip().splitlines()  # of a failed job it ends with its log
    said = f"exit code {job.exit_code}: {ours}" if ours else message[0] if message else ""
    return f"{job.submission_id}  {job.status}  {job.entrypoint}" + (f"  ({said})" if said else "")

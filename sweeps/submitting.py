"""`dualsweep submit`, `status` and `stop`: the same files on a Ray cluster, through its job server."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from dualsweep.cluster.cargo import collect
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.follow import follow
from dualsweep.cluster.git import listed
from dualsweep.cluster.job_files import read_log
from dualsweep.cluster.jobs import Job, list_jobs, running, status, stop, submit
from dualsweep.cluster.preflight import failures, inside, preflight
from dualsweep.sweeps.exits import BAD_INPUT, DONE, FAILED, MEANINGS
from dualsweep.sweeps.mirrored.driving import brought
from dualsweep.sweeps.records.run_of_file import run_of_file
from dualsweep.sweeps.reports import live_status
from dualsweep.sweeps.reports.live_status import Story
from dualsweep.sweeps.tracking.origin import COMMIT, commit_of, whose
from dualsweep.trainer.checks.own_name import name_taken
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.uris import local_path
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.trust import trusts_all

#: The packages that the job needs beside the repository's own; the preflight can only look for what travels.
MODULES = ("dualsweep",)
_COMMAND = "python -m dualsweep"
#: What the job's exit code tells, and whose code it may run.
_FLAGS = ("--strict", "--trust")


def repository(file: Path) -> Path:
    """What travels: the git repository that holds the file, else the working directory."""
    top = listed(file.absolute().parent, "rev-parse", "--show-toplevel")
    return Path(top[0]) if top else Path.cwd()


def submit_file(
    kind: str,
    file: Path,
    name: str,
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

    A job of the same work (`work_of`; `name` is the run's) that has not ended is followed in place of a second one.
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
    job, told = _begun(file, name, root, address, _arguments(kind, sets, output, strict), allowed)
    console.print(told, highlight=False, soft_wrap=True)
    where = shlex.join([job.submission_id, "--address", job.address])
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


def work_of(arguments: Sequence[str], file: Path, name: str, root: Path) -> str:
    """What a job works on, and whose work that is: the command but for flags that change nothing of its output, its file in the
    repository `root`, and the name of its run, by which its output is found.
    """
    command = [each for each in arguments[len(_COMMAND.split()) :] if each not in _FLAGS]
    return " ".join([*command, inside(file, root), name, whose(root)])


def _begun(
    file: Path, name: str, root: Path, address: str | None, arguments: list[str], allowed: Sequence[str]
) -> tuple[Job, str]:  # fmt: skip
    """The job that does this work, submitted where none runs, and what to say of that."""
    work = work_of(arguments, file, name, root)
    if (job := running(address, work)) is not None:
        return job, f"the same runs already, as {job.submission_id}; to have it take up changed files, stop it and submit again"
    commit = commit_of(root)
    job = submit(
        file, address=address, working_dir=root, entrypoint_args=arguments, name=work, allowed=allowed,
        env_vars={COMMIT: commit} if commit else {},
    )  # fmt: skip
    return job, f"submitted as {job.submission_id}"


def _arguments(kind: str, sets: Sequence[str], output: str | None, strict: bool) -> list[str]:
    """The command that the job runs, without its file."""
    arguments = [*_COMMAND.split(), kind]
    for text in sets:
        arguments += ["--set", text]
    arguments += ["--output", output] if output else []
    return arguments + [flag for flag, said in zip(_FLAGS, (strict, trusts_all()), strict=True) if said]


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


def show_status(where: str | None, address: str | None, console: Console) -> dict[str, Any]:
    """Prints all jobs, newest first; or one job or output folder with its trials. Returns the same as plain data.

    Raises:
        ClusterError: the job server can't be reached, or knows no such job.
        InputError: the folder is no run's.
    """
    if where is not None and live_status.is_folder(where):
        return {"trials": _shown(live_status.of_folder(local_path(brought(run_of_file(where)))), console)}
    jobs = [status(address, where)] if where else list_jobs(address)
    for job in jobs:
        console.print(_line(job), highlight=False, soft_wrap=True)
    if not jobs:
        console.print("no jobs were submitted to this cluster")
    if not where:
        return {"jobs": [asdict(job) for job in jobs]}
    story = live_status.of_job(jobs[0])
    if story is None and jobs[0].over:
        console.print("nothing is known of its trials: it had none, or its node is gone")
    return {"job": asdict(jobs[0]), "trials": [] if story is None else _shown(story, console, over=jobs[0].over)}


def _shown(story: Story, console: Console, *, over: bool = False) -> list[dict[str, Any]]:
    """The trainings of a story, `over` where its command has ended, however it did."""
    rows = replace(story, over=over or story.over).trainings(time.time())
    live_status.show(rows, console)
    return rows


def _log_of_cluster(address: str | None, node: str, file: str) -> str | None:
    return read_log(address, file, node_ip=node)


def show_logs(trial: str, where: str | None, address: str | None, console: Console) -> None:
    """Prints the log of one trial of a job, by default the newest, or of an output folder.

    Raises:
        ClusterError: the job server can't be reached, knows no such job, or the run has no such trial.
        InputError: the folder is no run's, or stands where the trial belongs.
    """
    if where is not None and live_status.is_folder(trial) and not live_status.is_folder(where):
        remedy = f"write `{shlex.join(['dualsweep', 'logs', where, trial])}`"
        raise InputError([Diagnostic(("TRIAL",), "must be a trial, before its run", show(trial), remedy, "command line", 1)])
    if where is not None and live_status.is_folder(where):
        story: Story | None = live_status.of_folder(local_path(brought(run_of_file(where))))
        read: Callable[[str, str], str | None] = live_status.log_of_this_machine
    else:
        jobs = [status(address, where)] if where else list_jobs(address)[:1]
        story = live_status.of_job(jobs[0]) if jobs else None
        read = partial(_log_of_cluster, address)
    if story is None:
        listing = shlex.join(["dualsweep", "status", *(["--address", address] if address else [])])
        rule = "a job's trials must be known for their logs"
        raise ClusterError(rule, where or "no job of which there are any", f"`{listing}` lists the jobs")
    for line in live_status.logs(story, trial, read):
        console.print(line, highlight=False, soft_wrap=True)


def stop_job(job_id: str, address: str | None, console: Console) -> None:
    """Stops a job and waits until it has stopped."""
    console.print(_line(stop(address, job_id)), highlight=False, soft_wrap=True)


def _line(job: Job) -> str:
    """Ray calls every job FAILED that ends with another code than 0: what a code of ours means stands beside it."""
    ours = MEANINGS.get(job.exit_code or DONE) if _COMMAND in job.entrypoint and job.status == "FAILED" else None
    message = job.message.strip().splitlines()  # of a failed job it ends with its log
    said = f"exit code {job.exit_code}: {ours}" if ours else message[0] if message else ""
    return f"{job.submission_id}  {job.status}  {job.entrypoint}" + (f"  ({said})" if said else "")

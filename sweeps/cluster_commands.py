"""The commands of submitted jobs, and of what goes on in any run: a part of `dualsweep.sweeps.cli`."""

from __future__ import annotations

from typing import Annotated

import typer

from dualsweep.cluster.cargo import LINKS, SECRETS
from dualsweep.sweeps.options import File, JobServer, Json, Output, Sets, Strict, Trust, write_json
from dualsweep.sweeps.output import Screen
from dualsweep.trainer.trust import trust_all

commands = typer.Typer()

WHERE = "A submitted job's id, or the output folder of a run"


@commands.command()
def submit(
    file: File,
    address: JobServer = None,
    sets: Sets = None,
    output: Output = None,
    strict: Strict = False,
    trust: Trust = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Follow the logs to the end.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would travel, by size; asks no server.")] = False,
    secrets: Annotated[bool, typer.Option(SECRETS, help="Carry files that look like secrets.")] = False,
    links: Annotated[bool, typer.Option(LINKS, help="Carry what links out of the working directory lead to.")] = False,
    estimating: Annotated[
        bool, typer.Option("--estimate", help="First train some steps here, for memory, speed and worker-hours.")
    ] = False,
) -> None:
    """Submit a recipe or sweep to a Ray cluster, after a preflight, and follow its logs."""
    trust_all(trust)
    from dualsweep.sweeps.checking import checked_elsewhere

    checked = checked_elsewhere(file, sets or [])
    kind = "train" if checked.plan is None else "sweep"
    from dualsweep.sweeps.submitting import show_cargo, submit_file

    allowed = [flag for flag, said in ((SECRETS, secrets), (LINKS, links)) if said]
    if dry_run:
        show_cargo(file, allowed, Screen())
        return
    if estimating:
        from dualsweep.sweeps.estimating import show_estimate

        show_estimate(checked)
    name, screen = (checked.recipe if checked.plan is None else checked.plan).name, Screen()
    code = submit_file(kind, file, name, address, sets or [], output, screen, following=follow, strict=strict, allowed=allowed)
    raise typer.Exit(code)


@commands.command()
def status(
    where: Annotated[
        str | None, typer.Argument(help=f"{WHERE}, for all its trials; all jobs when left out.", show_default=False)
    ] = None,
    address: JobServer = None,
    json_file: Json = None,
) -> None:
    """The state of submitted jobs, or of every trial of one, or of a run's output folder: live."""
    from dualsweep.sweeps.submitting import show_status

    write_json(json_file, show_status(where, address, Screen()))


@commands.command()
def logs(
    trial: Annotated[str, typer.Argument(help="A trial as `status` names it: 0003.", show_default=False)],
    where: Annotated[str | None, typer.Argument(help=f"{WHERE}; the newest job when left out.", show_default=False)] = None,
    address: JobServer = None,
) -> None:
    """What became of one trial, event by event, and what its workers printed."""
    from dualsweep.sweeps.submitting import show_logs

    show_logs(trial, where, address, Screen())


@commands.command()
def stop(
    job: Annotated[str, typer.Argument(help="A submitted job's id.", show_default=False)], address: JobServer = None
) -> None:
    """Stop a submitted job and wait until it has stopped; submitting it again continues."""
    from dualsweep.sweeps.submitting import stop_job

    stop_job(job, address, Screen())

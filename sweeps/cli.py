"""The commands; entry.py runs them. Every command reads and checks its input before anything heavy is imported.

Exit codes: 0 done, whatever the verdicts; 1 all failed or diverged; 2 bad input; 3 some did (under --strict: not all met); 130
interrupted (sweeps/exits.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from dualsweep.cluster.cargo import LINKS, SECRETS
from dualsweep.sweeps.exits import INTERRUPTED, broken, exit_code
from dualsweep.sweeps.options import (
    Address,
    File,
    JobServer,
    Json,
    Output,
    Sets,
    Strict,
    Tracking,
    Trust,
    at_home,
    interruptible,
    write_json,
)
from dualsweep.sweeps.output import Screen
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.samplers import shipped as samplers
from dualsweep.trainer.trust import trust_all

#: The samplers' words, for help and errors.
SAMPLERS = f"{', '.join(samplers.NAMES[:-1])} or {samplers.NAMES[-1]}"

app = typer.Typer(
    name="dualsweep", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Train diffusion models under constraints on a Ray cluster, and sweep dual step sizes and budgets.",
)  # fmt: skip


def _checked(file: Path, sets: list[str] | None, output: str | None, json_file: Path | None, address: str | None) -> Any:
    """The checked plan of a sweep or job of a recipe."""
    from dualsweep.sweeps.checking import checked_recipe, checked_sweep
    from dualsweep.trainer.config.yaml_file import load
    from dualsweep.trainer.recipe.load import is_sweep

    return (checked_sweep if is_sweep(load(file)) else checked_recipe)(file, sets or [], output, json_file, address)


@app.command()
def check(file: File, sets: Sets = None, address: Address = None, trust: Trust = False) -> None:
    """Validate a recipe or sweep and print the resolved plan; runs and writes nothing."""
    trust_all(trust)
    from dualsweep.sweeps.checking import describe

    for line in describe(_checked(file, sets, None, None, address)):
        print(line)


@app.command()
def train(
    file: File, sets: Sets = None, output: Output = None, json_file: Json = None, address: Address = None, store: Tracking = None,
    strict: Strict = False, trust: Trust = False,
) -> None:  # fmt: skip
    """One constrained training; the same command again continues an interrupted one."""
    trust_all(trust)
    with interruptible():
        from dualsweep.sweeps.checking import checked_recipe, checked_store

        checked = replace(checked_recipe(file, sets or [], output, json_file, address), store=checked_store(store))
        from dualsweep.sweeps.single import run_single

        explained = run_single(checked, Screen())
    result = explained.result
    write_json(json_file, {**result.to_json(), "verdicts": explained.to_json()})
    if broken(result):
        print(f"dualsweep: {result.status}: {result.reason}", file=sys.stderr)
    raise typer.Exit(exit_code([result], strict=strict))


@app.command()
def sweep(
    file: File, sets: Sets = None, output: Output = None, json_file: Json = None, address: Address = None,
    strict: Strict = False, trust: Trust = False,
) -> None:  # fmt: skip
    """A sweep; the same command again continues it and never reruns a finished trial."""
    trust_all(trust)
    with interruptible():
        from dualsweep.sweeps.checking import checked_sweep

        checked = checked_sweep(file, sets or [], output, json_file, address)
        from dualsweep.sweeps.runner import run_sweep

        results = run_sweep(checked, Screen())
    write_json(json_file, results.to_json())
    if results.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(results.strict_exit_code if strict else results.exit_code)


@app.command()
def sample(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder or URI (…/step-00001500).", show_default=False)],
    count: Annotated[int, typer.Option("--count", min=1, help="Samples to make.")] = 16,
    output: Annotated[Path, typer.Option("--output", help="Folder to write to.", callback=at_home)] = Path("samples"),
    sampler: Annotated[str | None, typer.Option("--sampler", help=f"{SAMPLERS}; by default as in the recipe.")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of the sampler; by default as in the recipe.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    multipliers: Annotated[
        str | None,
        typer.Option("--multipliers", help="NAME=VALUE,… of an amortised run; 0 where left out.", show_default=False),
    ] = None,
    budgets: Annotated[
        str | None,
        typer.Option("--budgets", help="NAME=VALUE,… of an amortised run; the recipe's where left out.", show_default=False),
    ] = None,
    trust: Trust = False,
) -> None:
    """Samples of a trained model, as PNG and NPY."""
    trust_all(trust)
    from dualsweep.trainer.config.diagnostics import Diagnostic
    from dualsweep.trainer.storage import check_writable

    if sampler is not None and sampler not in samplers.NAMES:
        raise InputError(
            [Diagnostic(("--sampler",), f"must be {SAMPLERS}", repr(sampler), "name one of them", "command line", 1)]
        )
    check_writable(str(output))
    from dualsweep.sweeps.reports.asked_multipliers import asked_multipliers
    from dualsweep.trainer.engine.sample_command import find_checkpoint, generate

    place = find_checkpoint(checkpoint)
    asked = asked_multipliers(place, multipliers, budgets)
    try:
        samples = generate(place, count, output, sampler=sampler, steps=steps, seed=seed, multipliers=asked)
    except ValueError as error:
        raise InputError([Diagnostic(("--steps",), str(error), str(steps), "lower it", "command line", 1)]) from None
    print(f"{len(samples)} samples of shape {tuple(samples.shape[1:])} in {output}")


@app.command()
def explain(
    run: Annotated[
        str,
        typer.Argument(
            help="A run's output folder, a trial's folder of a sweep, or a trial's MLflow run id.", show_default=False
        ),
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="MLflow store, for a run id; mlflow.db here when left out.", show_default=False),
    ] = None,
    json_file: Json = None,
) -> None:
    """Say of each constraint of an ended run what became of it, with the evidence and what to change."""
    from dualsweep.sweeps.reports.explaining import explain_run, show

    explained = explain_run(run, tracking_uri)
    show(explained, Screen())
    content = {"status": explained.result.status, "verdicts": explained.to_json(), "prices": list(explained.prices)}
    write_json(json_file, content)


@app.command()
def front(
    name: Annotated[
        str, typer.Argument(help="A sweep file, or an experiment's name or id, or a parent run's id.", show_default=False)
    ],
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="MLflow store; the sweep's own when left out.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder for the figures.", show_default=False, callback=at_home)
    ] = None,
    prefer: Annotated[
        str | None,
        typer.Option(
            "--prefer",
            help="The point to recommend, as the sweep's key `prefer`: '{weights: {objective: 1, value/max: 2}}' or "
            "'{meets: {value/four: {at_most: 0.1}}}'; none forgets it.",
            show_default=False,
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Rebuild the front and its figures from MLflow alone."""
    from dualsweep.sweeps.reports.reviewing import rebuild

    made = rebuild(name, tracking_uri, output, Screen(), prefer)
    write_json(json_file, made)


@app.command(name="compare")
def compare_(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="SWEEP...", help="Sweep files, or experiments' names or ids, or parent runs' ids.", show_default=False
        ),
    ],
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="MLflow store; the sweeps' own when left out.", show_default=False)
    ] = None,
    group: Annotated[
        str,
        typer.Option("--group", help="sampler: sweeps by one sampler together; sweep: each for itself; auto: what tells apart."),
    ] = "auto",
    output: Annotated[Path, typer.Option("--output", help="Folder to write to.", callback=at_home)] = Path("compare"),
    json_file: Json = None,
) -> None:
    """Several sweeps on one figure: hypervolume against trials, compute and time; from MLflow alone."""
    from dualsweep.trainer.config.diagnostics import Diagnostic
    from dualsweep.trainer.storage import check_writable

    if group not in ("auto", "sampler", "sweep"):
        raise InputError(
            [Diagnostic(("--group",), "must be auto, sampler or sweep", repr(group), "name one of them", "command line", 1)]
        )
    check_writable(str(output))
    from dualsweep.sweeps.reports.comparing import compare_sweeps

    made = compare_sweeps(names, tracking_uri, cast("Literal['auto', 'sampler', 'sweep']", group), output, Screen())
    write_json(json_file, made)


@app.command()
def ui(
    name: Annotated[
        str | None, typer.Argument(help="A sweep file or an experiment, for its front's link.", show_default=False)
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="MLflow store; the sweep's own when left out.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """The MLflow UI on the right store, on this machine only; prints the front's link."""
    from dualsweep.sweeps.reports.reviewing import serve

    serve(name, tracking_uri, port, Screen())


@app.command()
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
) -> None:
    """Submit a recipe or sweep to a Ray cluster, after a preflight, and follow its logs."""
    trust_all(trust)
    from dualsweep.sweeps.checking import check_file_only

    kind = check_file_only(file, sets or [])
    from dualsweep.sweeps.submitting import show_cargo, submit_file

    allowed = [flag for flag, said in ((SECRETS, secrets), (LINKS, links)) if said]
    if dry_run:
        show_cargo(file, allowed, Screen())
        return
    code = submit_file(kind, file, address, sets or [], output, Screen(), following=follow, strict=strict, allowed=allowed)
    raise typer.Exit(code)


@app.command()
def status(
    job: Annotated[str | None, typer.Argument(help="A submitted job's id; all jobs when left out.", show_default=False)] = None,
    address: JobServer = None,
) -> None:
    """The state of submitted jobs."""
    from dualsweep.sweeps.submitting import show_status

    show_status(job, address, Screen())


@app.command()
def stop(
    job: Annotated[str, typer.Argument(help="A submitted job's id.", show_default=False)], address: JobServer = None
) -> None:
    """Stop a submitted job and wait until it has stopped; submitting it again continues."""
    from dualsweep.sweeps.submitting import stop_job

    stop_job(job, address, Screen())

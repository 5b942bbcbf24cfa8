"""The commands; entry.py runs them. Every command reads and checks its input before anything heavy is imported.

Exit codes: 0 done, whatever the verdicts; 1 all failed or diverged; 2 bad input; 3 some did (under --strict: not all met); 130
interrupted (sweeps/exits.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

import dualsweep
from dualsweep.sweeps.cli_results import compare, explain, export, front, sample, sync, ui
from dualsweep.sweeps.cli_starting import init, schema
from dualsweep.sweeps.cluster_commands import commands
from dualsweep.sweeps.exits import INTERRUPTED, broken, exit_code
from dualsweep.sweeps.options import (
    Address,
    File,
    Json,
    NoDryRun,
    Output,
    Sets,
    Strict,
    Tracking,
    Trust,
    interruptible,
    write_json,
)
from dualsweep.sweeps.output import Screen, tell
from dualsweep.sweeps.testbed_commands import commands as testbed
from dualsweep.trainer.config.wording import printable
from dualsweep.trainer.trust import trust_all

app = typer.Typer(name="dualsweep", no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        print(f"dualsweep {dualsweep.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Train diffusion models under constraints on a Ray cluster, and sweep dual step sizes and budgets."""


@app.command()
def check(
    file: File, sets: Sets = None, address: Address = None, trust: Trust = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Also load the data, build the model, and ask all parts on two samples, on the CPU.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also show the keys that this recipe makes no use of.")] = False,
    estimating: Annotated[
        bool, typer.Option("--estimate", help="Also train some steps here, for memory, speed and the time that all of it takes.")
    ] = False,
) -> None:  # fmt: skip
    """Validate a recipe or sweep and print the resolved plan with what was found; trains and writes nothing."""
    trust_all(trust)
    from dualsweep.sweeps.checking import checked_recipe, checked_sweep
    from dualsweep.sweeps.describing import describe
    from dualsweep.trainer.config.yaml_file import load
    from dualsweep.trainer.recipe.load import is_sweep

    known = checked_sweep if is_sweep(load(file)) else checked_recipe
    checked = known(file, sets or [], None, None, address, "whole" if dry_run or estimating else "light")
    for line in describe(checked, everything):
        tell(line)
    if estimating:
        from dualsweep.sweeps.estimating import show_estimate

        show_estimate(checked)


@app.command()
def train(
    file: File, sets: Sets = None, output: Output = None, json_file: Json = None, address: Address = None, store: Tracking = None,
    strict: Strict = False, trust: Trust = False, no_dry_run: NoDryRun = False,
) -> None:  # fmt: skip
    """One constrained training; the same command again continues an interrupted one."""
    trust_all(trust)
    with interruptible():
        from dualsweep.sweeps.checking import Depth, check_is_recipe, checked_recipe, checked_store

        check_is_recipe(file)
        depth: Depth = "light" if no_dry_run else "needed"
        checked = replace(checked_recipe(file, sets or [], output, json_file, address, depth), store=checked_store(store))
        from dualsweep.sweeps.single import run_single

        explained = run_single(checked, Screen())
    result = explained.result
    write_json(json_file, explained.as_training())
    if broken(result):
        print(printable(f"dualsweep: {result.status}: {result.reason}"), file=sys.stderr)
    raise typer.Exit(exit_code([result], strict=strict))


@app.command()
def sweep(
    file: File, sets: Sets = None, output: Output = None, json_file: Json = None, address: Address = None,
    strict: Strict = False, trust: Trust = False, no_dry_run: NoDryRun = False,
) -> None:  # fmt: skip
    """A sweep; the same command again continues it and never reruns a finished trial."""
    trust_all(trust)
    with interruptible():
        from dualsweep.sweeps.checking import check_is_sweep, checked_sweep

        check_is_sweep(file)
        checked = checked_sweep(file, sets or [], output, json_file, address, "light" if no_dry_run else "needed")
        from dualsweep.sweeps.whole_sweep import run_sweep

        results = run_sweep(checked, Screen())
    write_json(json_file, results.to_json())
    if results.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(results.strict_exit_code if strict else results.exit_code)


app.command()(sample)
app.command()(export)
app.command()(explain)
app.command()(front)
app.command()(compare)
app.command()(ui)
app.command()(sync)
app.add_typer(commands)
app.add_typer(testbed)
app.command()(init)
app.command()(schema)

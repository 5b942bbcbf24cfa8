"""The commands on what has ended: `sample`, `export`, `explain`, `front`, `compare` and `ui`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from dualsweep.sweeps.exits import DONE, FAILED
from dualsweep.sweeps.options import (
    Json,
    Output,
    Prefer,
    Synced,
    Trust,
    interruptible,
    of_this_machine,
    one_of,
    to_keep,
    write_json,
)
from dualsweep.sweeps.output import Screen, tell
from dualsweep.sweeps.records.folder_kind import is_sweep_folder
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.uris import is_local, local_path
from dualsweep.trainer.samplers import shipped as samplers
from dualsweep.trainer.trust import trust_all

#: The samplers' words, for help and errors.
SAMPLERS = f"{', '.join(samplers.NAMES[:-1])} or {samplers.NAMES[-1]}"
Multipliers = Annotated[
    str | None,
    typer.Option("--multipliers", help="NAME=VALUE,… of an amortised run; 0 where left out.", show_default=False),
]
Budgets = Annotated[
    str | None,
    typer.Option("--budgets", help="NAME=VALUE,… of an amortised run; the recipe's where left out.", show_default=False),
]
Folder = Annotated[
    Path, typer.Option("--output", help="Folder to write to.", parser=of_this_machine("--output"), callback=to_keep)
]
#: How `compare` may put sweeps together.
GROUPS = ("auto", "sampler", "sweep")


Sampler = Annotated[
    str | None, typer.Option("--sampler", help=f"{SAMPLERS}; by default as in the recipe.", autocompletion=one_of(samplers.NAMES))
]
Label = Annotated[str | None, typer.Option("--label", help="A class, of a model that is given labels; by default all in turn.")]

Prompt = Annotated[
    str | None, typer.Option("--prompt", help="A text, of a text-to-image model; by default its own prompts or captions in turn.")
]


def sample(
    checkpoint: Annotated[
        str,
        typer.Argument(help="A run's output folder or file, or a checkpoint (…/step-00001500).", show_default=False),
    ],
    count: Annotated[int, typer.Option("--count", min=1, help="Samples to make.")] = 16,
    output: Folder = Path("samples"),
    sampler: Sampler = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of the sampler; by default as in the recipe.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed.")] = 0,
    label: Label = None,
    prompt: Prompt = None,
    multipliers: Multipliers = None,
    budgets: Budgets = None,
    trust: Trust = False,
) -> None:
    """Samples of a trained model, as PNG and NPY."""
    trust_all(trust)
    from dualsweep.trainer.storage import check_writable

    _check_sampler(sampler)
    check_writable(str(output))
    from dualsweep.sweeps.reports.asked_multipliers import asked_multipliers
    from dualsweep.trainer.engine.sample_command import find_checkpoint, generate
    from dualsweep.trainer.samplers.grid import TooManyStepsError

    place = find_checkpoint(_model_of(checkpoint))
    asked = asked_multipliers(place, multipliers, budgets)
    try:
        samples = generate(
            place, count, output, sampler=sampler, steps=steps, seed=seed, multipliers=asked, label=label, prompt=prompt
        )  # fmt: skip
    except TooManyStepsError as error:
        told = replace(error.diagnostic, remedy="lower it")
        raise InputError([told.at(("--steps",), "command line", 1)]) from None
    print(f"{len(samples)} samples of shape {tuple(samples.shape[1:])} in {output}")


def _check_sampler(sampler: str | None) -> None:
    if sampler is not None and sampler not in samplers.NAMES:
        raise InputError(
            [Diagnostic(("--sampler",), f"must be {SAMPLERS}", repr(sampler), "name one of them", "command line", 1)]
        )


def _model_of(named: str) -> str:
    """The checkpoint or the training that is meant; of a sweep it is said which."""
    from dualsweep.sweeps.mirrored.driving import brought_if_mirrored
    from dualsweep.sweeps.records.run_of_file import run_of_file
    from dualsweep.sweeps.records.sweep_summary import model_of

    copy = brought_if_mirrored(run := run_of_file(named))
    _tell_which(copy, run)
    return run if (model := model_of(copy, run)) == copy else model


def _tell_which(copy: str, run: str) -> None:
    """Says which training of a sweep is meant; `run` is how it is named, `copy` where its files are on this machine."""
    if is_local(copy) and is_sweep_folder(local_path(copy)):
        from dualsweep.sweeps.records.sweep_summary import said_of

        tell(said_of(local_path(copy), run))


def export(
    run: Annotated[
        str,
        typer.Argument(
            help="A run's output folder or file, a checkpoint, or the id or name of a run in MLflow.",
            show_default=False,
        ),
    ],
    out: Annotated[str, typer.Argument(help="The folder to write, which is not there yet.", show_default=False)],
    trial: Annotated[
        str | None, typer.Option("--trial", help="Of a sweep the trial; the recommended one when left out.", show_default=False)
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="MLflow store, for a run; mlflow.db here when left out.", show_default=False),
    ] = None,
    multipliers: Multipliers = None,
    budgets: Budgets = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            "--push-to-hub", help="A repository of the Hugging Face Hub, OWNER/NAME, which gets a copy.", show_default=False
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="That repository may be seen by all; it is private otherwise.")
    ] = False,
) -> None:
    """A trained model as a diffusers pipeline with a model card, which needs nothing of this."""
    from dualsweep.sweeps.exporting.export import export as exported

    for line in exported(
        run, out, trial=trial, tracking_uri=tracking_uri, multipliers=multipliers, budgets=budgets, push_to_hub=push_to_hub,
        public=public,
    ):  # fmt: skip
        tell(line)


def explain(
    run: Annotated[
        str,
        typer.Argument(
            help="A run's output folder or file, a trial's folder of a sweep, or a trial's MLflow run id.",
            show_default=False,
        ),
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="MLflow store, for a run id; mlflow.db here when left out.", show_default=False),
    ] = None,
    share: Annotated[
        str | None,
        typer.Option(
            "--share", help="NAME=VALUE,…: which budget gives a class this share; 1/classes when left out.", show_default=False
        ),
    ] = None,
    json_file: Json = None,
) -> None:
    """Say of each constraint of an ended run what became of it, with the evidence and what to change."""
    from dualsweep.sweeps.mirrored.driving import brought
    from dualsweep.sweeps.records.run_of_file import run_of_file
    from dualsweep.sweeps.reports.explaining import explain_run, show, wanted_shares

    named = run_of_file(run)
    _tell_which(run := brought(named), named)
    explained = explain_run(run, tracking_uri)
    if wanted := wanted_shares("--share", share, run, explained):
        explained = explain_run(run, tracking_uri, wanted)
    show(explained, Screen())
    content = {
        "status": explained.result.status, "verdicts": explained.to_json(), "prices": list(explained.prices),
        "shares": [*explained.shares, *explained.goals],
    }  # fmt: skip
    write_json(json_file, content)


def front(
    name: Annotated[
        str,
        typer.Argument(
            help="A sweep file or its output folder, or an experiment's name or id, or a parent run's id.", show_default=False
        ),
    ],
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="MLflow store; the sweep's own when left out.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Folder for the figures.", show_default=False, parser=of_this_machine("--output"), callback=to_keep
        ),
    ] = None,
    prefer: Prefer = None,
    json_file: Json = None,
) -> None:
    """Rebuild the front and its figures from MLflow alone."""
    from dualsweep.sweeps.reports.reviewing import rebuild

    made = rebuild(name, tracking_uri, output, Screen(), prefer)
    write_json(json_file, made)


def compare(
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
        typer.Option(
            "--group",
            help="sampler: sweeps by one sampler together; sweep: each for itself; auto: what tells apart.",
            autocompletion=one_of(GROUPS),
        ),
    ] = "auto",
    output: Folder = Path("compare"),
    json_file: Json = None,
) -> None:
    """Several sweeps on one figure: hypervolume against trials, compute and time; from MLflow alone."""
    from dualsweep.trainer.storage import check_writable

    if group not in GROUPS:
        raise InputError(
            [Diagnostic(("--group",), "must be auto, sampler or sweep", repr(group), "name one of them", "command line", 1)]
        )
    check_writable(str(output))
    from dualsweep.sweeps.reports.comparing import compare_sweeps

    made = compare_sweeps(names, tracking_uri, cast("Literal['auto', 'sampler', 'sweep']", group), output, Screen())
    write_json(json_file, made)


def ui(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A run's output folder or file, or a sweep's experiment, for the link to its review.", show_default=False
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option("--tracking-uri", help="MLflow store; the sweep's own when left out.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """The MLflow UI on the right store, on this machine only; prints the link of a sweep's front or a training's run."""
    from dualsweep.sweeps.reports.reviewing import serve

    serve(name, tracking_uri, port, Screen())


def sync(name: Synced = None, output: Output = None) -> None:
    """Deliver to MLflow what ended sweeps have spooled and it does not have yet."""
    from dualsweep.sweeps.syncing import sync as delivered

    with interruptible():
        done = delivered(name, output, Screen())
    raise typer.Exit(DONE if done else FAILED)

"""Where a run's results are and how to come back to them, said so that it works from where the user sits.

Beside a Ray job that is another machine, on which neither the job's working directory nor its environment is.
"""

from __future__ import annotations

import shlex
import socket
from collections import Counter
from collections.abc import Mapping

from dualsweep.sweeps.checking import Checked
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.tracking.kept_store import set_to, where_hidden
from dualsweep.sweeps.typed import same_again
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import STORAGE, is_local, lasting_folder

#: Different reasons that are told.
_REASONS = 3


def places(checked: Checked) -> list[str]:
    """What is said at the start of a command in a Ray job, a line each: where what must outlive it lies; nothing elsewhere."""
    folder = lasting_folder()
    if folder is None:
        return []
    plan = checked.plan
    kept = [f"output {checked.output}"]
    kept += [f"MLflow {plan.tracking_uri}"] if plan is not None else [f"MLflow {checked.store}"] if checked.store else []
    kept += [f"study {plan.storage}"] if plan is not None and plan.storage else []
    below = f"relative places lie below {folder} on {socket.gethostname()} ({STORAGE} names another folder)"
    return [f"Ray deletes a job's working directory; {below}: {', '.join(kept)}"]


def review(plan: Plan, output: str) -> str:
    """How the review is opened: by the output folder, which knows its store; beside a job by the store itself."""
    if lasting_folder() is None:
        return f"review: {folder_review(output, plan.tracking_uri)}"
    if masked(plan.tracking_uri) != plan.tracking_uri:
        return f"review: {shlex.join(['dualsweep', 'ui', plan.experiment])}{set_to(plan.tracking_uri)}"
    command = shlex.join(["dualsweep", "ui", plan.experiment, "--tracking-uri", plan.tracking_uri])
    if not (is_local(plan.tracking_uri) or plan.tracking_uri.startswith("sqlite")):
        return f"review: {command}"
    host = socket.gethostname()
    return f"review: on {host}, where that file is: {command}; then from your machine: ssh -L 5000:127.0.0.1:5000 {host}"


def folder_review(output: str, store: str) -> str:
    """How a sweep or the run of a training is opened in MLflow, by its output folder, which knows its store but for its login."""
    return f"{shlex.join(['dualsweep', 'ui', masked(output)])}{where_hidden(store)}"


def again() -> str:
    """How an interrupted sweep is continued."""
    return same_again() if lasting_folder() is None else "submit the same again"


def interrupted(plan: Plan, done: int, broken_off: Mapping[str, str]) -> str:
    """How many trials an interrupted sweep has done, why trainings were broken off, and how it is continued."""
    told, total = f"interrupted with {done} of {plan.trials} trials done", plan.trials * len(plan.seeds)
    if broken_off:
        reasons = Counter(broken_off.values()).most_common(_REASONS)
        why = "; ".join(reason if count == len(broken_off) else f"{count} x {reason}" for reason, count in reasons)
        told += f" and {len(broken_off)} of {total} training{'s' * (total > 1)} broken off ({why})"
    return f"{told}; to continue: {again()}"

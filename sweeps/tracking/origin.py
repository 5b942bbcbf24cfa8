"""Who began a run, from what: the tags from which MLflow's pages have a run's user, source and version."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import sys
from pathlib import Path

from dualsweep.cluster.git import listed
from dualsweep.cluster.job_files import submission_id
from dualsweep.trainer.config.masking import masked, without_login

#: What a job is told by `dualsweep submit`: the copy of a repository that it works in has no history.
COMMIT = "DUALSWEEP_COMMIT"
#: Seconds that git may take: of a large repository on a slow disk nothing is told.
_PATIENCE = 10.0


def origin(file: str) -> dict[str, str]:
    """The tags of a run that a recipe's or sweep's file began, "" where Python did: those that can be told.

    The commit is that of the file's repository; `dualsweep.git.changed` whether files that git follows were changed since.
    """
    folder = Path(file).absolute().parent if file else Path.cwd()
    kind = "LOCAL" if submission_id() is None else "JOB"
    tags = {"mlflow.source.name": masked(file or Path(sys.argv[0]).name), "mlflow.source.type": kind}
    with contextlib.suppress(OSError, KeyError):  # a user without a name, as in a container
        tags["mlflow.user"] = getpass.getuser()
    commit = os.environ.get(COMMIT) or commit_of(folder)
    if commit:
        commit, _, changed = commit.partition("+")
        tags |= {"mlflow.source.git.commit": commit, "dualsweep.git.changed": "true" if changed else "false"}
    return tags


def whose(folder: Path) -> str:
    """A mark of a person and a repository, the same in every clone of it; without commits that of the folder alone.

    A shallow clone does not have the first commit, and is known by the address that it is of, as others of that address are.
    The person is git's `user.email` there, else the user's name: hosts of containers change theirs, and are not asked.
    """
    person = listed(folder, "config", "user.email") or []
    if not person:
        with contextlib.suppress(OSError, KeyError):
            person = [getpass.getuser()]
    if listed(folder, "rev-parse", "--is-shallow-repository") == ["true"]:
        known = [without_login(url).removesuffix(".git") for url in listed(folder, "config", "remote.origin.url") or []]
    else:
        known = listed(folder, "rev-list", "--max-parents=0", "HEAD") or []
    mark = [*person, known[-1] if known else str(folder.resolve())]
    return hashlib.sha256("\n".join(mark).encode(errors="surrogateescape")).hexdigest()[:12]


def commit_of(folder: Path) -> str:
    """The commit of the git repository that holds a folder, `+changed` where files that it follows were since; "" of none."""
    commit = listed(folder, "rev-parse", "HEAD", timeout_s=_PATIENCE)
    if not commit:
        return ""
    changed = listed(folder, "status", "--porcelain", "--untracked-files=no", timeout_s=_PATIENCE)
    return commit[0] + ("+changed" if changed else "")

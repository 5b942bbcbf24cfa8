"""The entry point of the command line: runs a command, and turns what went wrong into a message and an exit code."""

from __future__ import annotations

import sys

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.proxies import reach_this_machine_directly
from dualsweep.cluster.errors import ClusterError
from dualsweep.sweeps.cli import app
from dualsweep.sweeps.exits import BAD_INPUT, FAILED
from dualsweep.sweeps.interrupts import end_soon, terminate_like_interrupt
from dualsweep.sweeps.lost_cluster import may_restart
from dualsweep.sweeps.options import no_path, refused_by_the_machine
from dualsweep.sweeps.output import tolerate
from dualsweep.sweeps.typed import remember
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.uris import BadPlaceError
from dualsweep.trainer.config.wording import printable
from dualsweep.trainer.errors import TrainingError


def main() -> None:
    """Run `dualsweep` with the arguments of this process."""
    terminate_like_interrupt()
    end_soon()
    may_restart()
    tolerate()
    remember()
    reach_this_machine_directly()
    try:
        app(standalone_mode=True)
    except InputError as error:
        for problem in error.diagnostics:
            print(problem, file=sys.stderr)
        sys.exit(BAD_INPUT)
    except (ClusterError, BadPlaceError, ReviewError) as error:
        print(f"dualsweep: {printable(str(error))}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except TrainingError as error:
        print(f"dualsweep: {printable(str(error))}", file=sys.stderr)
        sys.exit(FAILED)
    except OSError as error:
        if told := no_path(error):
            print(f"dualsweep: {printable(told)}", file=sys.stderr)
            sys.exit(BAD_INPUT)
        if not (told := refused_by_the_machine(error)):
            raise
        print(f"dualsweep: {printable(told)}", file=sys.stderr)
        sys.exit(FAILED)

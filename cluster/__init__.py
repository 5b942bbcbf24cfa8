"""Where a run takes place: planning, connecting, submitting. Importing it doesn't import Ray.

- `dualsweep.cluster.resources`, `dualsweep.cluster.machine`: how many trials fit side by side.
- `dualsweep.cluster.connection`: a cluster of our own for the time of a run, or one that exists.
- `testbed`: a cluster of several nodes on this machine, for trying and testing.
- `preflight`, `jobs`, `follow` beside them: checking, submitting, following and stopping jobs.

All errors are `dualsweep.cluster.errors.ClusterError`.
"""

if __name__ != "dualsweep.cluster":
    raise ModuleNotFoundError("`cluster` is a room of dualsweep: import it as `dualsweep.cluster`", name=__name__)

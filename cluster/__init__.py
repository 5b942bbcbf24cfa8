"""Where a run takes place: planning, connecting, submitting. Importing it doesn't import Ray.

- `cluster.resources`, `cluster.machine`: how many trials fit side by side.
- `cluster.connection`: a cluster of our own for the time of a run, or one that exists.
- `cluster.preflight`, `cluster.jobs`, `cluster.follow`: checking, submitting, following and stopping jobs.

All errors are `cluster.errors.ClusterError`.
"""

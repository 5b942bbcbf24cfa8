"""One worker: assembly of all parts, the loop, the primal updates, warm starts, the final result. It runs on any host.

No Ray: that is in `ray_shell/`; no arithmetic of terms or multipliers.
"""

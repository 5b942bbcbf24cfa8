"""What is measured at the end: final values, judges, metrics of the samples, and the errors of all of them.

Whether a constraint is then met is in `feasibility/`, what became of it in `verdicts/`.
"""

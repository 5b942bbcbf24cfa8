"""Reviewing a sweep: the Pareto front, its hypervolume and its figures, from MLflow alone.

Each name is imported from the module that owns it, so that `import analysis` costs nothing::

    from dualsweep.analysis.publish import publish
    from dualsweep.analysis.reading import read_sweep
    from dualsweep.analysis.review import review

    record = read_sweep("sqlite:///mlflow.db", "digits-budgets")
    outcome = review(record, Path("out"))
    publish("sqlite:///mlflow.db", record, outcome)
"""

if __name__ != "dualsweep.analysis":
    raise ModuleNotFoundError("`analysis` is a room of dualsweep: import it as `dualsweep.analysis`", name=__name__)

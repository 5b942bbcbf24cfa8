"""Reviewing a sweep: the Pareto front, its hypervolume and its figures, from MLflow alone.

Each name is imported from the module that owns it, so that `import analysis` costs nothing::

    from analysis.publish import publish
    from analysis.reading import read_sweep
    from analysis.review import review

    record = read_sweep("sqlite:///mlflow.db", "digits-minority")
    outcome = review(record, Path("out"))
    publish("sqlite:///mlflow.db", record, outcome)
"""

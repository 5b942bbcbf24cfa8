"""What MLflow gets of a sweep, by way of a spool on the disk.

Nothing here raises for MLflow's sake, and nothing is read back for a review: that is in `analysis/`.
"""

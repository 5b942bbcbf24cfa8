"""What MLflow gets of a sweep, by way of a spool on the disk."""

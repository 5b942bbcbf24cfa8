"""Stopping trials early: what has been reported so far says that a trial cannot matter any more.

No Ray, no MLflow, no clock.
"""

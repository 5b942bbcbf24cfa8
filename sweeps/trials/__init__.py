"""Trials and their trainings: what is run, what it comes to, its runs in MLflow.

Which trial is next, where it starts and when it ends is decided in `sweeps/conductor.py`.
"""

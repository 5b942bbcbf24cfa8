"""Trials and their trainings: what is run, where it starts, how it ends."""

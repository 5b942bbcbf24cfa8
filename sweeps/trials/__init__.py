"""Trials and their trainings: what is run, where it starts, what it comes to.

Which trial is next is the study's affair.
"""

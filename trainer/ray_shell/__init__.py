"""A training on Ray: launching workers and the coordinator, following them, errors of other processes.

The only folder of trainer/ that imports Ray; nothing is computed here.
"""

"""The study: what was asked for and told, by Optuna's samplers and in its storages.

The only folder that imports Optuna beside `dual_informed/`; no training starts here.
"""

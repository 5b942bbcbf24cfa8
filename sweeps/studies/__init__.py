"""The study: what was asked for and told, by Optuna's samplers and in its storages."""

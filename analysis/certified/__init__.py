"""The front as trials with multipliers certify it: planes below, attained points above, kriging between (docs/informed.md)."""

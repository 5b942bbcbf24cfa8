"""The front as trials with multipliers certify it: planes below, attained points above, kriging between (docs/informed.md).

Arrays alone: reading trials into them is in `bands.py` and `reading.py`.
"""

"""The search by multipliers: budgets placed by what trials' multipliers say of the front (docs/informed.md).

The front and its band are in `analysis/certified/`.
"""

"""The amortised front: one network for a whole range of multipliers, and what is read off it.

At fixed multipliers lambda the inner problem is plain weighted training, so a network eps(x, t, lambda) trained over draws of
lambda minimises every Lagrangian at once. Its values f(lambda), g(lambda) are points of the front with slope -lambda, and
d(lambda) = f + lambda . g is the dual function, which turns budgets into multipliers (docs/amortised.md).
"""

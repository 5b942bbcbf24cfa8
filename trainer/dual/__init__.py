"""The constrained problem, the dual rules as pure functions, their state, the controller and the coordinator around it.

No torch, no Ray, no recipe: it runs in a small actor, and on a laptop in a test.
"""

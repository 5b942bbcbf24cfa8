"""The sweep as it is written, checked and completed into a plan.

Nothing runs here, and nothing heavy is imported: bad input is answered at once.
"""

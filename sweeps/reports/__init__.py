"""What people are told of ended runs and sweeps: the commands `explain`, `front`, `ui` and `compare`.

No trial runs here.
"""

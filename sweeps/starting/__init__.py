"""What a user begins with: the shipped recipes and sweeps as files of their own, and the schemas by which editors check them.

Nothing runs here, and nothing heavy is imported.
"""

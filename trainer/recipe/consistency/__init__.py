"""The rules across the sections of a recipe, by theme; `check` has all of them.

No section lives here, and nothing that needs a file.
"""

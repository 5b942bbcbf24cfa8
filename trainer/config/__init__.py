"""Input files of any kind: YAML with the line of every key, overrides, import paths, addresses.

Knows nothing of diffusion or recipes, and imports nothing heavy.
"""

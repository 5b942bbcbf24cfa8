"""What `import dualsweep` gives: train, sweep, load and front, which take what Python has at hand, and their results.

What they do is the commands' own; nothing is computed here.
"""

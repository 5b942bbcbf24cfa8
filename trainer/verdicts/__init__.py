"""What became of each constraint, in one word, with the evidence and what to change (docs/explain.md).

Pure: from the histories of a run, how it ended, and its recipe; nothing is read or printed.
"""

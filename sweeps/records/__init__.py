"""What is kept of a trial: where it started, how it ended, its verdicts.

Files and records alone; nothing is run or sent here.
"""

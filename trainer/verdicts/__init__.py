"""What became of each constraint, in one word, with the evidence and what to change (docs/explain.md).

`verdicts` is pure: from the histories of a run, how it ended, and its recipe's dual section and constraints.
"""

from trainer.verdicts.judge import verdicts
from trainer.verdicts.verdict import Histories, Verdict, histories_of

__all__ = ["Histories", "Verdict", "histories_of", "verdicts"]

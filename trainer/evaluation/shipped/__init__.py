"""The shipped metrics of the samples, one file each: the words of `evaluation.metrics`. Each holds a function `(Evidence) ->
dict[str, float]` of its file's name.

Listed by name alone, so that nothing is imported before it is measured; what several share is in `evaluation/`.
"""

from __future__ import annotations

from dualsweep.trainer.config.plug_ins import words

#: Those that are measured where a recipe names none.
BY_DEFAULT = ("class_shares", "frechet", "copying")
NAMES = words(__path__, BY_DEFAULT)

"""Whether memory ran out, which is no mistake of the part that asked for it."""

from __future__ import annotations

#: How torch words, in a plain RuntimeError, what the system refuses on the CPU.
_REFUSED = ("can't allocate memory", "not enough memory", "out of memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the CPU or of a GPU; `dualsweep.trainer.engine.room` has the words for it."""
    of_torch = any(each.__name__ == "OutOfMemoryError" and each.__module__ == "torch" for each in type(error).__mro__)
    if isinstance(error, MemoryError) or of_torch:  # told by its name, as processes without torch ask too
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSED)

"""Tags of any length: MLflow takes some thousand characters of one, and what is cut there can never be read again.

A longer one is written in parts, `NAME.1`, `NAME.2` and so on, and `NAME` itself says how many there are: `in 3 parts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dualsweep.analysis.preference import PREFER

#: Characters of a tag that every MLflow takes.
LONGEST = 5000
#: The tags that are JSON; of the others, which are words, the beginning says enough.
_WHOLE = frozenset(
    {"dualsweep.budgets", "dualsweep.bounds", "dualsweep.changed_params", "dualsweep.objectives", "dualsweep.params", PREFER}
    | {"dualsweep.reference_point", "dualsweep.required", "dualsweep.search"}
)
_IN_PARTS = re.compile(r"in (\d{1,6}) parts")


def in_parts(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags as MLflow gets them."""
    made: dict[str, str] = {}
    for name, text in tags.items():
        if name not in _WHOLE or len(text) <= LONGEST:
            made[name] = text
            continue
        parts = [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]
        made |= {name: f"in {len(parts)} parts"} | {f"{name}.{number}": part for number, part in enumerate(parts, 1)}
    return made


def joined(tags: Mapping[str, str]) -> dict[str, str]:
    """A run's tags with those whole that were written in parts; one whose parts are not all there stays as it is."""
    whole = dict(tags)
    for name in _WHOLE & tags.keys():
        if found := _IN_PARTS.fullmatch(tags[name]):
            parts = [tags.get(f"{name}.{number}") for number in range(1, int(found[1]) + 1)]
            if None not in parts:
                whole[name] = "".join(part for part in parts if part is not None)
    return whole

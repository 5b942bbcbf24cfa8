"""What a training was trained on, in one small file beside its result: `data.json`."""

from __future__ import annotations

import json

from dualsweep.trainer.data.identity import identity
from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.recipe.data import Data

#: Examples that tell one data set from another where all of them would have to be read.
_LOOKED_AT = 256


def description(data: Assembled, asked: Data) -> bytes:
    """The file: the source, its name and what the recipe says of it, the number and shape of examples, a digest of their content,
    and by class how many there are and how many are trained on.

    Raises:
        BadDataError: an example cannot be read.
    """
    split, (source, named) = data.split, asked.named
    examples = split.examples
    labels, names = examples.labels, examples.class_names
    told = {
        "source": source.word,
        "name": named if isinstance(named, str) else source.word,
        "recipe": asked.model_dump(mode="json", exclude_unset=True),
        "examples": len(examples),
        "trained_on": len(split.train),
        "shape": list(examples.shape),
        "digest": identity(examples, _LOOKED_AT),
    }
    if labels is not None:
        told["classes"] = {
            str(name): {"examples": int((labels == label).sum()), "trained_on": int((labels[split.train] == label).sum())}
            for label, name in enumerate(names)
        }
    return json.dumps(told, indent=2).encode()

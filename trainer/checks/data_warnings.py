"""What would train without a word and is seldom meant: told as warnings, by line, and refused by nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.data.class_names import same
from dualsweep.trainer.data.dataset_info import DatasetInfo, Look
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.data import Data
from dualsweep.trainer.recipe.recipe import Recipe

#: Images of a class below which a network copies rather than learns.
FEW = 32
#: The dimensions of an image, and the numbers of channels that one has.
_IMAGE, _CHANNELS = 3, (1, 3, 4)
_MOST_NAMED = 6
#: The span of numbers, of the 2 from -1 to 1, below which all images together are next to one colour.
NARROW = 0.2


def data_warnings(recipe: Recipe, data: Data, info: DatasetInfo, trained: Mapping[ClassName, int]) -> Iterator[Diagnostic]:
    """What is odd about the data as far as it is known; `trained` has the examples of each class that are trained on."""
    keys: Keys = ("data", data.named[0].word)
    yield from _small_classes(data, trained, keys)
    yield from _alike_names(info, keys)
    if info.look is not None:
        yield from _look_warnings(recipe, info.look, keys)


def _small_classes(data: Data, trained: Mapping[ClassName, int], keys: Keys) -> Iterator[Diagnostic]:
    small = {name: count for name, count in trained.items() if 0 < count < FEW}
    if not small:
        return
    thinned = [each for each in data.keep if any(same(each, name) for name in small)]
    named = ", ".join(f"{count} of {show(name)}" for name, count in list(small.items())[:_MOST_NAMED])
    more = f" and {len(small) - _MOST_NAMED} classes more" if len(small) > _MOST_NAMED else ""
    yield Diagnostic(
        ("data", "keep", thinned[0]) if thinned else keys,
        f"should leave at least {FEW} images of each class to train on",
        named + more,
        "give more, or look at `eval/copied_share`: of so few, samples may be copies",
    )


def _alike_names(info: DatasetInfo, keys: Keys) -> Iterator[Diagnostic]:
    seen: dict[str, ClassName] = {}
    for name in info.class_names or ():
        word = str(name).strip().casefold()
        if word in seen:
            received = f"{show(seen[word])} and {show(name)}, two classes"
            yield Diagnostic(keys, "should name each class in one way", received, "put them into one, if one is meant")
        seen[word] = name


def _look_warnings(recipe: Recipe, look: Look, keys: Keys) -> Iterator[Diagnostic]:
    if len(look.shape) != _IMAGE:
        return
    channels, _, width = look.shape
    if channels not in _CHANNELS and width in _CHANNELS:
        received, remedy = f"{list(look.shape)}, whose channels seem to come last", "use x.permute(2, 0, 1)"
        yield Diagnostic(keys, "should hold images [channels, height, width]", received, remedy)
    if look.grey and recipe.leading.load is None:
        received = f"grey images that became RGB: all {look.of} that were looked at have three equal channels"
        remedy = "write data.grey: true; a third of the numbers, and samples that stay grey"
        yield Diagnostic(keys, "should be read as they are", received, remedy)
    if look.low is not None and look.high is not None and 0 <= look.low < look.high:
        received, remedy = f"{look.low:.3g} to {look.high:.3g}: none has a number below 0", "scale 0..1 by x * 2 - 1"
        yield Diagnostic(keys, "should hold images in [-1, 1]", received, remedy)
    elif look.low is not None and look.high is not None and 0 < look.high - look.low < NARROW:
        received = f"numbers from {look.low:.3g} to {look.high:.3g}"
        remedy = "stretch them, as 12 bits in files of 16, or masks of 0 and 1, are next to black"
        yield Diagnostic(keys, "should hold images that reach over much of [-1, 1]", received, remedy)
    if look.constant:
        received = f"{look.constant} of one value alone among the {look.read} that were read"
        yield Diagnostic(keys, "should hold images that show something", received, "look at them, and take them out")

"""Examples read ahead of the steps that will draw them: what is drawn is known long before it is known when."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.data.examples import Integers, OnDemand
from dualsweep.trainer.data.loader import Reading
from dualsweep.trainer.data.loaders import Loaders
from dualsweep.trainer.data.scaling import scale_into, scaled
from dualsweep.trainer.transfer import sent

#: Bytes of examples that a worker holds ahead, of each data set that it reads.
CAPACITY = 256 * 2**20
#: Steps whose examples are read ahead, and examples for each loader, at least, as far as the memory goes.
_STEPS, _FOR_EACH = 4, 4
#: How much the present step counts in what a step is expected to take of a part.
_PRESENT = 0.3


@dataclass
class _Queue:
    """What is read ahead of one part: the slots of its next draws in order, the last of them before draw `following`.

    `expected` is what a step takes of it, about, and `target` how far it is to be read ahead.
    """

    following: int
    slots: deque[int] = field(default_factory=deque)
    expected: float | None = None
    target: int = 0

    @property
    def excess(self) -> int:
        return len(self.slots) - self.target


@dataclass(frozen=True)
class _Guess:
    """A batch that is put together before it is asked for, in a thread, from `slots` by place."""

    slots: list[int]
    batch: NDArray[Any]
    done: Future[None]


class ReadAhead:
    """Serves the draws of some parts in the order of their numbers, read by `count` loader processes into `capacity` bytes.

    The draws of part p are `first[p]`, `first[p] + stride`, …, and `rows(p, numbers)` are their rows of `examples`. How far
    each part is read ahead follows what steps have taken of it; what was read too far is dropped when others need its place, to
    be read again. So multipliers that move cost time at most: what is drawn, and which error it raises, is what
    `examples.fetch` has.
    """

    def __init__(
        self, examples: OnDemand, rows: Callable[[int, range], Integers], first: Mapping[int, int], stride: int, count: int,
        capacity: int,
    ) -> None:  # fmt: skip
        if examples.reader is None:
            raise ValueError("examples must have a reader to be read ahead, but got none; fetch them")
        self._examples, self._rows, self._stride, self._count = examples, rows, stride, count
        dtype = np.asarray(examples.reader(0)).dtype
        self.loaders = Loaders(Reading(examples.reader, examples.shape, dtype.str), count, capacity)
        self._queues = {part: _Queue(number) for part, number in first.items()}
        slots = len(self.loaders.slots)
        self._free = list(range(slots))
        self._ready, self._good = np.zeros(slots, dtype=bool), np.zeros(slots, dtype=bool)
        self._rooms = [np.empty(0), np.empty(0)]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="examples")
        self._guess: _Guess | None = None

    def take(
        self, parts: Integers, numbers: Integers, device: torch.device, following: tuple[Integers, Integers] | None = None
    ) -> torch.Tensor:  # fmt: skip
        """The examples [b, *shape], float32, of the next draws of each part: `numbers` [b] of `parts` [b], in any order.

        `following` are the parts and numbers that will probably be asked for next: they are put together meanwhile. Pixels go
        to a device as they are, and are scaled there. The batch after the next is written over this one: fresh memory for each
        costs more than what is done in it.

        Raises:
            BadDataError: one is not finite, of another shape than the first, or cannot be read.
            TrainingError: loader processes end again and again.
            ValueError: the numbers are not the next ones.
        """
        guess, self._guess = self._guess, None
        if guess is not None:
            guess.done.result()  # it takes no longer than the steps before did
        rows, slots = self._claimed(parts, numbers)
        if guess is not None and guess.slots == slots:  # the same draws in the same places
            batch, odd = guess.batch, [place for place, slot in enumerate(guess.slots) if not self._good[slot]]
            self._free += guess.slots
        else:
            batch = self._room(len(parts), device)
            odd = self._put_together(rows, slots, batch)
        self._rooms.reverse()  # this one is in use now
        self._refill(parts)
        if following is not None:
            self._guess = self._guessed(*following, device)
        return self._sent(torch.from_numpy(batch), rows, odd, device)

    @property
    def ready(self) -> int:
        """Examples that lie ready for draws to come."""
        return sum(int(self._ready[list(queue.slots)].sum()) for queue in self._queues.values())

    def _room(self, count: int, device: torch.device) -> NDArray[Any]:
        """A batch [count, *shape] that is not in use: of numbers, or for a device of pixels, which are less to be moved."""
        pixels = device.type != "cpu" and self.loaders.slots.dtype == np.uint8
        if len(self._rooms[0]) < count:
            self._rooms[0] = np.empty((count, *self._examples.shape), np.uint8 if pixels else np.float32)
        return self._rooms[0][:count]

    def _put(self, batch: NDArray[Any], place: int, slot: int) -> None:
        """Copies a slot; pixels are scaled one image at a time, which stays in the cache."""
        if batch.dtype == self.loaders.slots.dtype:
            batch[place] = self.loaders.slots[slot]
        else:
            scale_into(batch[place], self.loaders.slots[slot])

    def _claimed(self, parts: Integers, numbers: Integers) -> tuple[Integers, list[int | None]]:
        """The rows [b] of the next draws, which are given out with this, and by place the slots of those that have one."""
        rows, slots = np.empty(len(parts), dtype=np.int64), list[int | None]([None] * len(parts))
        for part, queue in self._queues.items():
            places = _in_order(part, parts, numbers)
            first = queue.following - self._stride * len(queue.slots)
            asked = range(first, first + self._stride * len(places), self._stride)
            if numbers[places].tolist() != list(asked):
                raise ValueError(f"draws of part {part} must be taken in order, {asked} next, but got {numbers[places].tolist()}")
            rows[places] = self._rows(part, asked)
            for place in places.tolist():
                if queue.slots:
                    slots[place] = queue.slots.popleft()
                else:
                    queue.following += self._stride
        return rows, slots

    def _put_together(self, rows: Integers, slots: Sequence[int | None], batch: NDArray[Any]) -> list[int]:
        """Fills the batch as slots become ready, those without one as there is room for them; returns the odd places."""
        pending = {slot: place for place, slot in enumerate(slots) if slot is not None}
        later, odd = deque(place for place, slot in enumerate(slots) if slot is None), list[int]()
        while pending or later:
            self._start(later, pending, rows)
            ready = [slot for slot in pending if self._ready[slot]]
            for slot in ready:
                place = pending.pop(slot)
                self._put(batch, place, slot)
                self._free.append(slot)
                if not self._good[slot]:
                    odd.append(place)
            if not ready:
                self._wait()
        return odd

    def _guessed(self, parts: Integers, numbers: Integers, device: torch.device) -> _Guess | None:
        """Begins to put these draws together; None where some are not even on their way."""
        slots = np.empty(len(parts), dtype=np.int64)
        for part, queue in self._queues.items():
            places = _in_order(part, parts, numbers)
            if len(places) > len(queue.slots):
                return None
            slots[places] = [queue.slots[number] for number in range(len(places))]
        batch, chosen = self._room(len(parts), device), slots.tolist()
        return _Guess(chosen, batch, self._thread.submit(self._fill, chosen, batch))

    def _fill(self, slots: Sequence[int], batch: NDArray[Any]) -> None:
        for place, slot in enumerate(slots):
            while not self._ready[slot]:
                self._wait()
            self._put(batch, place, slot)

    def _start(self, later: deque[int], pending: dict[int, int], rows: Integers) -> None:
        """Has the draws at `later` places read, as far as there are slots for them; they are `pending` then."""
        tasks = []
        while later and (slot := self._slot(-math.inf)) is not None:
            place = later.popleft()
            pending[slot] = place
            tasks.append((int(rows[place]), slot))
        self._submit(tasks)

    def _submit(self, tasks: list[tuple[int, int]]) -> None:
        self._ready[[slot for _, slot in tasks]] = False
        self.loaders.submit(tasks)

    def _wait(self) -> None:
        for slot, good in self.loaders.done():
            self._ready[slot], self._good[slot] = True, good

    def _slot(self, least: float) -> int | None:
        """A free slot, else that of the last draw of a part with `least` draws ahead of its target, or more; None where none
        is.
        """
        if self._free:
            return self._free.pop()
        queues = [each for each in self._queues.values() if each.slots and self._ready[each.slots[-1]]]
        longest = max(queues, key=lambda queue: queue.excess, default=None)
        if longest is None or longest.excess < least:
            return None
        longest.following -= self._stride
        return longest.slots.pop()

    def _refill(self, parts: Integers) -> None:
        """Sets how far each part is to be read ahead, and has that read: first what will be drawn first."""
        for part, queue in self._queues.items():
            count = float(np.count_nonzero(parts == part))
            queue.expected = count if queue.expected is None else _PRESENT * count + (1 - _PRESENT) * queue.expected
        step = sum(queue.expected or 0.0 for queue in self._queues.values())
        if not step:
            return
        steps = min(max(_STEPS, _FOR_EACH * self._count / step), len(self.loaders.slots) / step)
        wanted: list[tuple[float, int]] = []
        for part, queue in self._queues.items():
            expected = queue.expected or 0.0
            queue.target = math.ceil(steps * expected)
            wanted += [(place / expected, part) for place in range(len(queue.slots), queue.target)]
        rows = {part: self._following(part, queue) for part, queue in self._queues.items()}
        tasks = []
        for _, part in sorted(wanted):
            slot = self._slot(1)
            if slot is None:
                break
            tasks.append((rows[part].popleft(), slot))
            self._queues[part].slots.append(slot)
            self._queues[part].following += self._stride
        self._submit(tasks)

    def _following(self, part: int, queue: _Queue) -> deque[int]:
        count = max(0, queue.target - len(queue.slots))
        numbers = range(queue.following, queue.following + self._stride * count, self._stride)
        return deque(self._rows(part, numbers).tolist())

    def _sent(self, batch: torch.Tensor, rows: Integers, odd: list[int], device: torch.device) -> torch.Tensor:
        """The examples on the device, those at `odd` places read here, where they are or the error is had.

        They are judged before they are sent, so that nobody waits for the device; pixels are always in range.
        """
        pixels = batch.dtype == torch.uint8
        examples = scaled(sent(batch, device)) if pixels else batch
        for place in sorted(odd):
            examples[place] = sent(self._examples.fetch(rows[place : place + 1])[0], examples.device)
        if self.loaders.slots.dtype != np.uint8 or not self._examples.judged:
            self._examples.judge(scaled(batch), rows)
        return sent(examples, device)

    def close(self) -> None:
        """Ends the loaders at once; after the end it does nothing."""
        self.loaders.kill()
        self._thread.shutdown()  # it waits for answers of which there are no more
        self.loaders.close()


def _in_order(part: int, parts: Integers, numbers: Integers) -> Integers:
    """The places of a part's draws, in the order of their numbers."""
    places = np.flatnonzero(parts == part)
    return places[np.argsort(numbers[places])]

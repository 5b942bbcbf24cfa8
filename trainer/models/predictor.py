"""Any model as one function of (x, t): what it is conditioned on is bound to it, once for all samples."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.multiplier_embedding import Conditioning, condition
from dualsweep.trainer.models.preconditioning import preconditioning
from dualsweep.trainer.transfer import sent

#: What SDXL's network takes together, as one argument.
_ADDED = ("text_embeds", "time_ids")
#: Where the weights of the embedding of multipliers stand among those that a checkpoint stores.
_CONDITIONING = "conditioning."


#: What of each example a network is given.
OfExamples = Literal["", "labels", "captions"]


class Condition(nn.Module):
    """What a network is given beside (x, t): keyword arguments [P, ...], one row for each of P prompts; P is 1 for a class.

    `without` [1, ...] are those of the unconditional prediction, for guidance; None where the network has none. `texts` are
    the prompts; where each example has one of its own, `of_examples`, they are its captions or the names of its classes: P then
    stands for none of them, where the network takes that. `classes` are the names of all classes that the network knows, as far
    as they are known. `negative` is the text that guidance leads away from in place of none; `none` [1, ...] is what examples of
    no text or class are given, where that is not `without`; `encoders` is where lies what embeds texts.
    `pixels` is the number of pixels along a side of x's, for a network that also takes the size of the image.
    """

    def __init__(
        self, given: Mapping[str, Tensor], without: Mapping[str, Tensor] | None = None, texts: Sequence[str] = (),
        pixels: int | None = None, negative: str | None = None, encoders: str | None = None, *,
        classes: Sequence[str] = (), of_examples: OfExamples = "", none: Mapping[str, Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.names, self.texts, self.pixels = tuple(given), tuple(texts), pixels
        self.negative, self.encoders = negative, encoders
        self.classes, self.of_examples = tuple(classes), of_examples
        self.has_unconditional, self.takes_none = without is not None, (without or none) is not None
        self._of_no_text = "without" if none is None else "none"
        for key, values in (("given", given), ("without", without or {}), ("none", none or {})):
            for name, value in values.items():
                self.register_buffer(f"{key}_{name}", value)

    def arguments(self, x: Tensor, prompts: Tensor | None = None, kind: str = "given") -> dict[str, Tensor]:
        """Keyword arguments [B, ...] for x [B, ...], `given` or `without`; `prompts` [B] says which prompt each sample has.

        Raises:
            ValueError: there are several prompts, and none is said.
        """
        arguments = {name: self._rows(name, kind, prompts, len(x)) for name in self.names}
        if self.pixels is not None:
            size = [side * self.pixels for side in x.shape[2:]]
            # The size before and after cropping, with no crop between them (Podell et al. 2023, arXiv 2307.01952, §2.2).
            sizes = torch.tensor([*size, 0, 0, *size], dtype=x.dtype)
            arguments["time_ids"] = sent(sizes, x.device).expand(len(x), 6)
        return arguments

    def _rows(self, name: str, kind: str, prompts: Tensor | None, count: int) -> Tensor:
        table = self.get_buffer(f"{kind}_{name}")
        if prompts is not None:
            prompts = sent(prompts, table.device)
        if kind == "given" and prompts is not None and self.of_examples and self.takes_none:
            # Both are indexed: the table of all captions, which may be gigabytes, is not to be copied at each prediction.
            of_none = prompts == len(table)
            rows = table[prompts.masked_fill(of_none, 0)]
            none = self.get_buffer(f"{self._of_no_text}_{name}")
            return torch.where(of_none.view(-1, *[1] * (table.ndim - 1)), none, rows)
        if len(table) == 1:
            return table.expand(count, *table.shape[1:])
        if prompts is None:
            raise ValueError(
                f"a model of {len(table)} prompts must be told which one each sample has, but got none; give `prompts` [B]"
            )
        return table[prompts]


class Predictor(nn.Module):
    """Any model as one function: x [B, *shape] and t [B] (integers in 0..T-1) to a prediction [B, *shape].

    A model of several prompts also takes which one each sample has, `prompts` [B]. One that is conditioned on multipliers takes
    `multipliers` [B, m], one row for all [1, m], or unless given those of `at`.

    `guidance` is the scale w of classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, in diffusers' convention:
    1 or None is none). Terms on noised examples ask the model as it is; sampling and trajectories ask `guided`.
    """

    preconditioning: Tensor | None
    multipliers: Tensor | None

    def __init__(self, inner: nn.Module, condition: Condition | None = None, guidance: float | None = None) -> None:
        super().__init__()
        self.inner, self.condition = inner, condition
        self.guidance = 1.0 if guidance is None else guidance
        self.register_buffer("preconditioning", None)
        taken = inspect.signature(inner.forward).parameters
        self._names_t, self.takes_multipliers = "timestep" in taken, "multipliers" in taken
        self.conditioning: Conditioning | None = None
        self.register_buffer("multipliers", None, persistent=False)

    def condition_on(self, low: Vector, high: Vector, seed: int) -> None:
        """Makes the prediction depend on multipliers in this range [m], for now in name alone; at first they are 0.

        Raises:
            TrainingError: the network does not take them, or takes already those of the run that it comes from.
        """
        if self.multipliers is not None:
            raise TrainingError(
                "a model that takes `multipliers` must be amortised once, but got one that is loaded at those of its run; start "
                "from model.call"
            )
        if not self.takes_multipliers:
            self.conditioning = condition(self.inner, low, high, seed)
        self.at(np.zeros(len(low)))

    def at(self, multipliers: Vector) -> Self:
        """Takes these multipliers [m] for every prediction that is not given others."""
        self.multipliers = torch.tensor(multipliers, dtype=torch.float32, device=self.device)[None]
        return self

    def under(self, schedule: DDPMScheduler) -> Self:
        """Puts this model under a schedule, and returns it: of flow matching and EDM, what its network predicts becomes v."""
        numbers = preconditioning(schedule)
        self.preconditioning = None if numbers is None else numbers.to(self.device)
        return self

    @property
    def device(self) -> torch.device:
        """Where the network's weights lie; the CPU for one without."""
        return next((each.device for each in self.inner.parameters()), torch.device("cpu"))

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts, one or several; none for a model without."""
        return self.condition.texts if self.condition is not None else ()

    def forward(
        self, x: Tensor, t: Tensor, prompts: Tensor | None = None, multipliers: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        given = self.condition.arguments(x, prompts) if self.condition is not None else {}
        return self._ask(x, t, given, self._asked(multipliers))

    def guided(
        self, x: Tensor, t: Tensor, prompts: Tensor | None = None, multipliers: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """The prediction [B, *shape] with the model's own guidance."""
        return self.led(x, t, self.guidance, prompts, multipliers)

    def _asked(self, multipliers: Tensor | None) -> Tensor | None:
        return self.multipliers if multipliers is None else multipliers

    @property
    def reads_text(self) -> bool:
        """Whether `texts` are prompts, which text encoders embed, and no classes."""
        return bool(self.texts) and not self.by_label

    @property
    def by_label(self) -> bool:
        """Whether each example is predicted under its own class: `texts` are then the classes."""
        return self.of_examples == "labels"

    @property
    def of_examples(self) -> OfExamples:
        """What of each example it is predicted under, of `texts`; nothing where all samples are asked alike."""
        return self.condition.of_examples if self.condition is not None else ""

    @property
    def has_unconditional(self) -> bool:
        """Whether there is an unconditional prediction beside the one that is given the condition."""
        return self.condition is not None and self.condition.has_unconditional

    @property
    def takes_none(self) -> bool:
        """Whether an example may be shown without its condition; it is still to be learned where nothing is unconditional yet."""
        return self.condition is not None and self.condition.takes_none

    def led(
        self, x: Tensor, t: Tensor, guidance: float, prompts: Tensor | None = None, multipliers: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """without + w (given - without), [B, *shape], for the guidance w; both from one pass."""
        if guidance == 1.0 or self.condition is None:
            prediction: Tensor = self(x, t, prompts, multipliers)
            return prediction
        given, without = self.condition.arguments(x, prompts), self.condition.arguments(x, kind="without")
        both = {name: torch.cat([without[name], given[name]]) for name in given}
        asked = self._asked(multipliers)
        rows = asked if asked is None or len(asked) == 1 else torch.cat([asked, asked])
        unconditional, conditional = self._ask(torch.cat([x, x]), torch.cat([t, t]), both, rows).chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    def _ask(self, x: Tensor, t: Tensor, arguments: Mapping[str, Tensor], multipliers: Tensor | None) -> Tensor:
        if self.conditioning is not None:
            self.conditioning.ask(multipliers)
        elif multipliers is not None:
            arguments = {**arguments, "multipliers": multipliers.expand(len(x), -1)}
        if self.preconditioning is None:
            return self._network(x, t, arguments)
        numbers = self.preconditioning[:, t]
        scale, _, of_x, of_output = numbers.view(4, -1, *[1] * (x.ndim - 1)).to(x.dtype)
        prediction: Tensor = of_x * x + of_output * self._network(scale * x, numbers[1], arguments)
        return prediction

    def _network(self, x: Tensor, t: Tensor, arguments: Mapping[str, Tensor]) -> Tensor:
        keywords: dict[str, Any] = {name: value for name, value in arguments.items() if name not in _ADDED}
        if added := {name: arguments[name] for name in _ADDED if name in arguments}:
            keywords["added_cond_kwargs"] = added
        # The order of arguments differs among the networks of diffusers, their names don't; modules of users' own have neither.
        output = self.inner(x, timestep=t, **keywords) if self._names_t else self.inner(x, t, **keywords)
        result: Tensor = output.sample if hasattr(output, "sample") else output
        # A model that predicts its variance too (Nichol & Dhariwal 2021, arXiv 2102.09672) gives the mean first.
        learns_variance = result.ndim == x.ndim and result.ndim > 1 and result.shape[1] == 2 * x.shape[1]
        return result[:, : x.shape[1]] if learns_variance else result

    @property
    def adapted(self) -> bool:
        """Whether the network's own weights are frozen under an adapter."""
        return bool(getattr(self.inner, "peft_config", None))

    def stored(self) -> dict[str, Tensor]:
        """The weights that training changes: all, or those of the adapter."""
        weights = self.inner.state_dict()
        own = {name: value for name, value in weights.items() if "lora_" in name} if self.adapted else weights
        added = self.conditioning.state_dict() if self.conditioning is not None else {}
        return {**own, **{f"{_CONDITIONING}{name}": value for name, value in added.items()}}

    def put_back(self, weights: Mapping[str, Tensor]) -> None:
        """Loads what `stored` returned."""
        own = of_network(weights)
        if self.conditioning is not None:
            added = {name: value for name, value in weights.items() if name not in own}
            self.conditioning.load_state_dict({name.removeprefix(_CONDITIONING): value for name, value in added.items()})
        _, unexpected = self.inner.load_state_dict(own, strict=not self.adapted)
        if unexpected:
            raise KeyError(f"weights must be of the model's adapter, but got {unexpected[0]}")


def of_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's own weights among those that a checkpoint stores."""
    return {name: value for name, value in weights.items() if not name.startswith(_CONDITIONING)}

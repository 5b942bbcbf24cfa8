"""How weights move along a gradient: AdamW, fused and without waiting for the device, or an optimiser that the recipe names."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.train import Train

#: What of an optimiser's own numbers a checkpoint keeps as JSON.
_PLAIN = (bool, int, float, str, type(None))
#: Between the names of what is remembered in a mapping.
_WITHIN = "/"


class Stepper(Protocol):
    """Moves weights, unless the gradient is void, and keeps what it remembers of earlier steps."""

    optimizer: torch.optim.Optimizer
    #: What the recipe gives it beside the rate.
    options: Mapping[str, Any]

    def step(self, void: Tensor) -> None:
        """One step along the gradients that are there; nothing moves where `void`, a scalar on the device, is 1."""
        ...


class Fused:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101): the device itself decides whether a step is void."""

    def __init__(self, parameters: Iterable[nn.Parameter], train: Train) -> None:
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            parameters, lr=train.lr, weight_decay=train.weight_decay, fused=True
        )
        self.options: Mapping[str, Any] = {"weight_decay": train.weight_decay}

    def step(self, void: Tensor) -> None:
        self.optimizer.found_inf = void  # type: ignore[attr-defined]  # where torch's own GradScaler says it
        self.optimizer.step()


class Named:
    """An optimiser of torch's or the user's own, which knows no void steps: each step waits to know whether it is one.

    Raises:
        TrainingError: it can't be made of the parameters, or is none.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], train: Train, part: OwnPart) -> None:
        make: Callable[..., Any] = import_callable(part.call)
        try:
            made = make(list(parameters), lr=train.lr, **part.options)
        except Exception as error:
            raise TrainingError(
                f"the optimiser {part} must take (parameters, lr=…) and its options, but got {type(error).__name__}: {error}; "
                "change train.optimizer"
            ) from error
        if not isinstance(made, torch.optim.Optimizer):
            raise TrainingError(
                f"the optimiser {part} must be a torch.optim.Optimizer, but got a {type(made).__name__}; return one"
            )
        self.optimizer: torch.optim.Optimizer = made
        self.options: Mapping[str, Any] = part.options
        self._part = part

    def step(self, void: Tensor) -> None:
        if bool(void):
            return
        try:
            self.optimizer.step()
        except Exception as error:  # TypeError of torch.optim.LBFGS, RuntimeError of SparseAdam, and what packages raise
            if ran_out(error):
                raise
            raise TrainingError(
                f"the optimiser {self._part} must step without a closure, along dense gradients, but got "
                f"{type(error).__name__}: {error}; change train.optimizer"
            ) from error


def stepper(parameters: Iterable[nn.Parameter], train: Train) -> Stepper:
    """What moves the parameters as the recipe says."""
    if isinstance(train.optimizer, OwnPart):
        return Named(parameters, train, train.optimizer)
    return Fused(parameters, train)


def remembered(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What an optimiser remembers: tensors by `INDEX.NAME`, and the numbers beside them, of parameters and of their groups.

    Raises:
        TrainingError: it remembers something else, which no checkpoint could keep.
    """
    kept = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in kept["state"].items():
        for name, value in _flat(values):
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers[f"{index}.{name}"] = _plain(value, name)
    groups = [
        {name: _plain(value, name) for name, value in group.items() if name != "params" and not isinstance(value, Tensor)}
        for group in kept["param_groups"]
    ]
    return tensors, {"state": numbers, "groups": groups}


def recall(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any] | None) -> None:
    """Puts back what `remembered` returned; `numbers` are None in checkpoints from before there were any."""
    kept = optimizer.state_dict()
    groups = [
        {**group, **own}
        for group, own in zip(kept["param_groups"], (numbers or {}).get("groups", kept["param_groups"]), strict=True)
    ]
    optimizer.load_state_dict({"state": _by_parameter(tensors, numbers), "param_groups": groups})


def take_over(made: Stepper, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any] | None) -> bool:
    """Gives a new optimiser what another one remembered of its parameters; options and rates stay its own.

    Returns whether that has all that this one remembers; if not, it begins with nothing. What groups remember beside their rate
    and options, as Prodigy its estimate of the distance, can't be told from options of before, so it is not taken over: then too
    it begins with nothing, as half of what belongs together is worse than none. To be known it takes one step, without
    a gradient, so weights are to be put in place afterwards.
    """
    optimizer, new = made.optimizer, copy.deepcopy(made.optimizer.state_dict())
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    made.step(torch.zeros((), device=parameters[0].device))
    optimizer.zero_grad(set_to_none=True)
    there, needed = _by_parameter(tensors, numbers), optimizer.state_dict()["state"]
    fits = all(names.keys() <= there.get(index, {}).keys() for index, names in needed.items())
    if any(isinstance(value, Tensor) for names in needed.values() for value in names.values()):
        fits = fits and _alike(new["param_groups"], (numbers or {}).get("groups", ()), {"lr", "initial_lr", *made.options})
    state = {index: {name: there[index][name] for name in names} for index, names in needed.items()} if fits else new["state"]
    optimizer.load_state_dict({"state": state, "param_groups": new["param_groups"]})
    return fits


def _alike(groups: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], but: Set[str]) -> bool:
    """Whether groups have the numbers of others under the names that both have, but for some."""
    return all(
        _plain(group[name], name) == value
        for group, other in zip(groups, others, strict=False)
        for name, value in other.items()
        if name in group and name not in but
    )


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """What is remembered of a parameter by name, `OUTER/INNER` where there is a mapping in it, as bitsandbytes keeps its own."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}{_WITHIN}")
        else:
            yield f"{above}{name}", value


def _by_parameter(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any] | None) -> dict[int, dict[str, Any]]:
    values = dict[int, dict[str, Any]]()
    for key, value in [*tensors.items(), *(numbers or {}).get("state", {}).items()]:
        index, names = key.split(".", 1)
        *above, last = names.split(_WITHIN)
        inner = values.setdefault(int(index), {})
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = value
    return values


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each, name) for each in value]
    if not isinstance(value, _PLAIN):
        raise TrainingError(
            f"an optimiser must remember tensors and plain numbers, which checkpoints keep, but got a {type(value).__name__} as "
            f"`{name}`; use another"
        )
    return value

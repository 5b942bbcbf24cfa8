"""What makes the host wait for a device, refused on a CPU as well, where it costs nothing and nobody would notice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
#: What has a result whose value or shape the host must know.
REFUSED = {
    aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.allclose, aten.is_nonzero, aten.unique_dim,
    aten._unique2, aten.bincount, aten.repeat_interleave,
}  # fmt: skip
#: Indexing, which waits where the index is boolean.
INDEXING = {aten.index, aten.index_put, aten.index_put_}
#: Copies to the host that no dispatcher sees on a CPU.
METHODS = ("numpy", "tolist", "item", "cpu", "__float__", "__int__", "__bool__", "__index__", "__array__")


class Waited(Exception):
    """The host waited for the device."""


class _Refusing(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        packet = func.overloadpacket
        if packet in REFUSED:
            raise Waited(str(func))
        if packet in INDEXING and any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]):
            raise Waited(f"{func} by a boolean tensor")
        return func(*args, **(kwargs or {}))


class Device:
    """`unread` refuses whatever waits; what `reads` wraps may wait all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch, self._refusing = monkeypatch, False
        for name in METHODS:
            monkeypatch.setattr(Tensor, name, self._refused(name, getattr(Tensor, name)))

    def _refused(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self._refusing:
                raise Waited(name)
            return original(tensor, *args, **kwargs)

        return method

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        with _Refusing():
            self._refusing = True
            try:
                yield
            finally:
                self._refusing = False

    def reads(self, owner: Any, name: str) -> None:
        """From now on method `name` of `owner` may wait."""
        original = getattr(owner, name)

        def allowed(*args: Any, **kwargs: Any) -> Any:
            before, self._refusing = self._refusing, False
            try:
                with torch.utils._python_dispatch._disable_current_modes():
                    return original(*args, **kwargs)
            finally:
                self._refusing = before

        self._monkeypatch.setattr(owner, name, allowed)

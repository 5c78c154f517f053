"""Counts of calls that torch dispatches: waits for a device, and operators."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["META", "Calls", "Waits"]

ATEN = torch.ops.aten
META = torch.device("meta")


class Waits(TorchDispatchMode):
    """Count of values read from ``meta``, where the reader gets ones, and of copies to it that block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, operator: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Answer a call of an operator."""
        kwargs = dict(kwargs or {})
        if operator is ATEN._local_scalar_dense.default and args[0].is_meta:
            self.count += 1
            return torch.ones((), dtype=args[0].dtype).item()
        if operator is ATEN._to_copy.default and args[0].is_meta and kwargs.get("device", META).type == "cpu":
            self.count += not kwargs.get("non_blocking", False)
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if operator is ATEN._to_copy.default and not args[0].is_meta and kwargs.get("device", args[0].device) == META:
            self.count += not kwargs.get("non_blocking", False)
        if operator is ATEN.copy_.default and args[1].is_meta and not args[0].is_meta:
            self.count += not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
            return args[0].fill_(1)
        if operator is ATEN.nonzero.default and args[0].is_meta:
            self.count += 1
            return torch.zeros(args[0].numel(), args[0].ndim, dtype=torch.int64, device=META)
        if operator is ATEN.index.Tensor and any(index is not None and index.dtype == torch.bool for index in args[1]):
            self.count += 1
            return operator(args[0], [None if index is None else _places(index) for index in args[1]])
        return operator(*args, **kwargs)


def _places(index: Tensor) -> Tensor:
    """Integers in place of a mask of one dimension."""
    return index if index.dtype != torch.bool else torch.zeros(index.numel(), dtype=torch.int64, device=index.device)


class Calls(TorchDispatchMode):
    """Count of operators called, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operator: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note a call and make it."""
        if not operator.is_view and operator.namespace == "aten":
            self.counts[str(operator)] += 1
        return operator(*args, **(kwargs or {}))

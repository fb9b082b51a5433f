"""Counts the operations that PyTorch is asked for: a figure that no machine changes."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

VIEWS = ("view", "detach", "alias", "split", "slice", "select", "permute", "expand", "unsqueeze", "t", "as_strided")


class Operations(TorchDispatchMode):
    """Within, counts operations by name; views, which compute nothing, are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.sent = 0  # how often something of the CPU was copied to another device, which waits for it

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name not in VIEWS:
            self.counts[name] += 1
        result = func(*args, **(kwargs or {}))
        if name == "_to_copy" and args[0].device.type == "cpu" != result.device.type and result.numel():
            self.sent += 1
        return result


def operations(work: Callable[[], object]) -> Counter[str]:
    """How often each operation was asked for."""
    with Operations() as counted:
        work()
    return counted.counts


def meta(*shape: int) -> torch.Tensor:
    """A tensor on no device at all, whose operations are those of a GPU: it is no CPU."""
    return torch.empty(shape, device="meta")

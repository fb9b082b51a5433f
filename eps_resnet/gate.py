"""The gate S(F): a residual whose every response is within epsilon is replaced by exactly nothing (Sec. 3.1)."""

import torch
from torch import Tensor


def is_closed(residual: Tensor, epsilon: float) -> bool:
    """Whether the gate is closed for this mini-batch: max |F| <= epsilon, over all of (N, C, H, W).

    One decision for the whole batch. The comparison is made in float32 whatever the precision of `residual`, since
    epsilon itself may not be representable in half precision. NaN and infinity leave the gate open: a diverged block
    must not vanish silently. A residual without elements is closed, as nothing in it exceeds epsilon.

    Source: paper, Sec. 3.1; the reference code's construction with L = 1e6 equals this threshold to within 1e-6.
    """
    if residual.numel() == 0:
        return True
    values = residual.detach()
    if values.dim() == 4 and not values.is_contiguous():
        values = values.permute(0, 2, 3, 1)  # channels_last seen as contiguous: aminmax would copy it otherwise
    low, high = torch.aminmax(values)  # one pass; NaN propagates, and every comparison with NaN is false
    threshold = torch.tensor(epsilon, dtype=torch.float32, device=residual.device)
    return bool((-low.float() <= threshold) & (high.float() <= threshold))


def strict_identity(residual: Tensor, epsilon: float) -> Tensor:
    """S(F): zeros, cut from the graph, if the gate is closed; otherwise the residual itself.

    Shapes: (N, C, H, W) to the same. The residual's graph is dropped when the gate is closed, so the block's backward
    pass does not run at all: its gradient is exactly zero, as in the paper, and costs nothing.
    """
    return torch.zeros_like(residual) if is_closed(residual, epsilon) else residual

"""The gate S(F): a residual whose every response is within epsilon is replaced by exactly nothing (Sec. 3.1)."""

import numpy as np
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
    largest = float(torch.maximum(-low, high))  # exact for every precision up to float32
    return largest <= float(np.float32(epsilon))


def gated_sum(shortcut: Tensor, residual: Tensor, epsilon: float) -> tuple[Tensor, bool]:
    """shortcut + S(residual), where S is zero if the gate is closed, else the identity; and whether it is closed.

    Shapes: (N, C, H, W), all three. With the gate closed the result is the shortcut itself and the residual's graph is
    dropped, so the block's backward pass does not run: its gradient is exactly zero, as in the paper.
    """
    closed = is_closed(residual, epsilon)
    return (shortcut if closed else shortcut + residual), closed

"""The gate S(F): a residual whose every response is within epsilon is replaced by exactly nothing (Sec. 3.1)."""

import numpy as np
import torch
from torch import Tensor

from eps_resnet.method.parallel import all_closed


def is_closed(residual: Tensor, epsilon: float) -> bool:
    """Whether the gate is closed for this mini-batch: max |F| <= epsilon, over all of (N, C, H, W).

    One decision for the whole batch. The comparison is made in float32 whatever the precision of `residual`, since
    epsilon itself may not be representable in half precision. NaN and infinity leave the gate open: a diverged block
    must not vanish silently. A residual without elements is closed, as nothing in it exceeds epsilon.

    Source: paper, Sec. 3.1; the reference code's construction with L = 1e6 equals this threshold to within 1e-6.
    """
    if residual.numel() == 0:
        return True
    return float(largest_response(residual)) <= float(np.float32(epsilon))


def largest_response(residual: Tensor) -> Tensor:
    """max |F| over all of (N, C, H, W), a float32 scalar on the same device; NaN if any response is."""
    values = residual.detach()
    if values.dim() == 4 and not values.is_contiguous():
        values = values.permute(0, 2, 3, 1)  # channels_last seen as contiguous: aminmax would copy it otherwise
    low, high = torch.aminmax(values)  # one pass; NaN propagates, and every comparison with NaN is false
    return torch.maximum(-low, high).float()  # exact for every precision up to float32


def gated_sum(
    shortcut: Tensor, residual: Tensor, epsilon: float, slices: int = 1, everywhere: bool = False
) -> tuple[Tensor, bool]:
    """shortcut + S(residual), where S is zero if the gate is closed, else the identity; and whether it is closed.

    Shapes: (N, C, H, W), all three. With the gate closed the result is the shortcut itself and the residual's graph is
    dropped, so the block's backward pass does not run: its gradient is exactly zero, as in the paper.

    Of several `slices`, equal parts along N, each decides alone; the second result is whether all are closed.
    `everywhere`: one decision together with the other processes of a data-parallel training.
    """
    if slices > 1:
        return _sum_of_slices(shortcut, residual, epsilon, slices)
    closed = is_closed(residual, epsilon)
    if everywhere:
        closed = bool(all_closed(torch.tensor(closed, device=residual.device)))
    return (shortcut if closed else shortcut + residual), closed


def _sum_of_slices(shortcut: Tensor, residual: Tensor, epsilon: float, slices: int) -> tuple[Tensor, bool]:
    residuals, shortcuts = residual.chunk(slices), shortcut.chunk(slices)
    closed = [is_closed(part, epsilon) for part in residuals]
    if all(closed):
        return shortcut, True
    if not any(closed):
        return shortcut + residual, False
    parts = zip(shortcuts, residuals, closed, strict=True)
    return torch.cat([short if is_shut else short + part for short, part, is_shut in parts]), False


def masked_sum(
    shortcut: Tensor, residual: Tensor, epsilon: float, slices: int = 1, everywhere: bool = False
) -> tuple[Tensor, Tensor]:
    """What `gated_sum` gives, without waiting for the decision: it stays on the device, a bool scalar.

    For GPUs, where reading a decision holds up everything behind it. The values are the same, and so are the gradients:
    a closed gate's residual is finite, so that its product with 0 adds nothing. Its backward pass runs on zeros.
    """
    limit = float(np.float32(epsilon))
    closed = torch.stack([largest_response(part) <= limit for part in residual.chunk(slices)])
    if everywhere:
        closed = all_closed(closed)
    is_open = (~closed).to(residual.dtype).repeat_interleave(len(residual) // slices if slices > 1 else len(residual))
    return shortcut + residual * is_open[:, None, None, None], closed.all()

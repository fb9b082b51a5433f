"""The gate S(F): a residual whose every response is within epsilon is replaced by exactly nothing (Sec. 3.1)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eps_resnet.method.parallel import all_closed


@dataclass(frozen=True)
class Decision:
    """What a gate decided for a mini-batch, and the largest response it saw. Tensors until a late decision is read.

    Of several slices, `closed`: whether all are; `response`: the largest of all.
    """

    closed: bool | Tensor
    response: float | Tensor


def decide(residual: Tensor, epsilon: float) -> Decision:
    """The gate for this mini-batch: closed if max |F| <= epsilon, over all of (N, C, H, W).

    One decision for the whole batch. The comparison is made in float32 whatever the precision of `residual`, since
    epsilon itself may not be representable in half precision. NaN and infinity leave the gate open: a diverged block
    must not vanish silently. A residual without elements is closed, as nothing in it exceeds epsilon.

    On a GPU `late_decisions` makes the same comparison; a test holds the two to each other.

    Source: paper, Sec. 3.1; the reference code's construction with L = 1e6 equals this threshold to within 1e-6.
    """
    response = float(largest_response(residual))
    return Decision(response <= float(np.float32(epsilon)), response)


def largest_response(residual: Tensor) -> Tensor:
    """max |F| over all of (N, C, H, W), a float32 scalar on the same device; NaN if any response is, 0 of none."""
    if residual.numel() == 0:
        return residual.new_zeros((), dtype=torch.float32)
    values = residual.detach()
    if values.device.type != "cpu":  # one operation; on a CPU aminmax is as fast as reading the memory
        largest: Tensor = torch.linalg.vector_norm(values, torch.inf)
        return largest.float()
    if values.dim() == 4 and not values.is_contiguous():
        values = values.permute(0, 2, 3, 1)  # channels_last seen as contiguous: aminmax would copy it otherwise
    low, high = torch.aminmax(values)  # one pass; NaN propagates, and every comparison with NaN is false
    return torch.maximum(-low, high).float()  # exact for every precision up to float32


def gated_sum(
    shortcut: Tensor, residual: Tensor, epsilon: float, slices: int = 1, everywhere: bool = False
) -> tuple[Tensor, Decision]:
    """shortcut + S(residual), where S is zero if the gate is closed, else the identity; and what the gate decided.

    Shapes: (N, C, H, W), all three. With the gate closed the result is the shortcut itself and the residual's graph is
    dropped, so the block's backward pass does not run: its gradient is exactly zero, as in the paper.

    Of several `slices`, equal parts along N, each decides alone. `everywhere`: one decision together with the other
    processes of a data-parallel training.
    """
    residuals = residual.chunk(slices)
    decisions = [decide(part, epsilon) for part in residuals]
    closed = [bool(decision.closed) for decision in decisions]
    if everywhere:
        closed = [bool(all_closed(torch.tensor(one, device=residual.device))) for one in closed]
    responses = [float(decision.response) for decision in decisions]
    decision = Decision(all(closed), max(responses, key=_nan_last))
    if decision.closed:
        return shortcut, decision
    if not any(closed):
        return shortcut + residual, decision
    parts = zip(shortcut.chunk(slices), residuals, closed, strict=True)
    return torch.cat([short if is_shut else short + part for short, part, is_shut in parts]), decision


def _nan_last(response: float) -> tuple[bool, float]:
    """Orders NaN above all numbers: the largest of some responses is NaN if any of them is."""
    return math.isnan(response), response


def masked_sum(
    shortcut: Tensor, residual: Tensor, epsilon: float, slices: int = 1, everywhere: bool = False
) -> tuple[Tensor, Decision]:
    """What `gated_sum` gives, without waiting for the decision: it stays on the device, as scalars.

    For GPUs, where reading a decision holds up everything behind it. The values are the same, and so are the gradients:
    a closed gate's residual is finite, so that its product with 0 adds nothing. Its backward pass runs on zeros.
    """
    closed, responses = late_decisions(residual, epsilon, slices, everywhere)
    is_open = closed.logical_not().to(residual.dtype)
    if slices > 1:
        is_open = is_open.repeat_interleave(len(residual) // slices)[:, None, None, None]
    total: Tensor = _MaskedSum.apply(shortcut, residual, is_open)
    return total, _over_slices(closed, responses)


def masked_decision(residual: Tensor, epsilon: float, slices: int = 1, everywhere: bool = False) -> Decision:
    """What `masked_sum` decides of a residual that is left out."""
    return _over_slices(*late_decisions(residual, epsilon, slices, everywhere))


def late_decisions(residual: Tensor, epsilon: float, slices: int, everywhere: bool) -> tuple[Tensor, Tensor]:
    """On the device: whether the gate is closed, and the largest response; of several slices one of each (slices,)."""
    responses = largest_response(residual)
    if slices > 1:
        responses = torch.stack([largest_response(part) for part in residual.chunk(slices)])
    closed = responses <= float(np.float32(epsilon))
    return all_closed(closed) if everywhere else closed, responses


def _over_slices(closed: Tensor, responses: Tensor) -> Decision:
    return Decision(closed.all(), responses.max()) if closed.dim() else Decision(closed, responses)


class _MaskedSum(torch.autograd.Function):
    """shortcut + residual x is_open, in one pass each way: nothing is kept of the residual."""

    @staticmethod
    def forward(ctx: Any, shortcut: Tensor, residual: Tensor, is_open: Tensor) -> Tensor:
        ctx.is_open, ctx.precision = is_open, residual.dtype
        return torch.addcmul(shortcut, residual, is_open)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradients[0], (gradients[0] * ctx.is_open).to(ctx.precision), None

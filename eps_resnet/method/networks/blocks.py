"""The residual block with its gate, basic and bottleneck, and the skip that is left where a block was cut out."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eps_resnet.method.gate import Decision, gated_sum, masked_decision, masked_sum
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.layers import BatchNorm, Conv, PoolAndPad

OPEN, LEFT_OUT = Decision(False, math.nan), Decision(True, math.nan)  # of a block without gate; of one not computed


class Skip(nn.Module):
    """What a block is without its residual: the shortcut, after the pre-activation that both branches share, if any."""

    def __init__(self, architecture: Architecture, stage: int, index: int) -> None:
        super().__init__()
        self.place = (stage, index)
        inputs, outputs = architecture.inputs(stage, index), architecture.outputs[stage]
        shares, projection = architecture.shares_activation(stage, index), architecture.projection(stage, index)
        self.entry = BatchNorm(inputs, architecture.slices) if shares else None
        self.shortcut: nn.Module = nn.Identity()
        if projection is not None:
            self.shortcut = Conv(projection, architecture.stride_padding)
        elif inputs != outputs:
            self.shortcut = PoolAndPad(inputs, outputs)

    def enter(self, x: Tensor) -> Tensor:
        """The shared pre-activation: (N, C, H, W) to the same."""
        return x if self.entry is None else F.relu(self.entry(x), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        return cast(Tensor, self.shortcut(self.enter(x)))


class Block(Skip):
    """H(x) = shortcut(x) + S(F(x)), with F = BN-ReLU-convolution, two or three times (Sec. 3.1).

    F is left out where the result does not depend on it: in training if the block is `certified` to stay closed
    (eps_resnet/method/certificate.py), in evaluation if it is `discarded` (docs/fidelity.md).

    `late`: decisions stay on the device, as tensors, until ResNet.read_gates. A block that is then `expected_closed` is
    computed without gradients and left out; whoever trains must look whether it was closed (method/train.py).
    """

    def __init__(self, architecture: Architecture, stage: int, index: int) -> None:
        super().__init__(architecture, stage, index)
        self.epsilon = 0.0 if architecture.gated else None  # the threshold, which the schedule sets; None: no gate
        self.gate_scope, self.slices = architecture.gate_scope, architecture.slices
        self.decision = OPEN  # of the latest mini-batch
        self.certified = self.discarded = self.late = self.expected_closed = False
        shapes, channels = architecture.residual(stage, index), architecture.norms(stage, index)
        self.convs = nn.ModuleList(Conv(shape, architecture.stride_padding) for shape in shapes)
        self.norms = nn.ModuleList(BatchNorm(count, architecture.slices) for count in channels)

    @property
    def weights(self) -> list[Tensor]:
        """The weights of the residual's convolutions: what collapses once the gate stays closed (Fig. 5)."""
        return [cast(Conv, conv).weight for conv in self.convs]

    def residual(self, x: Tensor) -> Tensor:
        """F(x): (N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        without_norm = len(self.convs) - len(self.norms)  # 1 or 0: a leading convolution without pre-activation
        for conv in self.convs[:without_norm]:
            x = conv(x)
        for norm, conv in zip(self.norms, self.convs[without_norm:], strict=True):
            x = conv(F.relu(norm(x), inplace=True))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """H(x): (N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        x = self.enter(x)
        shortcut = self.shortcut(x)
        if self.certified if self.training else self.discarded:
            self.decision = LEFT_OUT
            return cast(Tensor, shortcut)
        if self.epsilon is None:
            return cast(Tensor, shortcut + self.residual(x))
        whole_batch = self.gate_scope == "batch" or not self.training  # evaluation knows no slices
        slices, everywhere = 1 if whole_batch else self.slices, whole_batch and self.training
        if self.expected_closed and self.training:
            with torch.no_grad():
                self.decision = masked_decision(self.residual(x), self.epsilon, slices, everywhere)
            return cast(Tensor, shortcut)
        gated = masked_sum if self.late else gated_sum
        result, self.decision = gated(shortcut, self.residual(x), self.epsilon, slices, everywhere)
        return result

"""The whole network: stem, units, head and side head; and how its weights are drawn."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eps_resnet.method.gate import Decision
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.blocks import Block, Skip
from eps_resnet.method.networks.layers import BatchNorm, Conv, MaxPool

RESIDUALS = 64  # compiled versions of a block: its shapes, in training and evaluation, with and without gradients


class Head(nn.Module):
    """BN-ReLU, global average pooling, linear with bias: (N, C, H, W) to logits (N, classes)."""

    def __init__(self, inputs: int, classes: int, slices: int) -> None:
        super().__init__()
        self.norm = BatchNorm(inputs, slices)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.linear(F.relu(self.norm(x), inplace=True).mean((2, 3)))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A pre-activation ResNet (Sec. 4). `units` holds the blocks, and the skips that are left of pruned ones."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.is_late = False
        self.stem = _stem(architecture)
        units: list[Skip] = []
        self.side_unit: int | None = None
        for stage, kept in enumerate(architecture.kept):
            if 0 not in kept:
                units.append(Skip(architecture, stage, 0))  # where nothing changes it is the identity, without weights
            for index in kept:
                units.append(Block(architecture, stage, index))
                if architecture.side_after == (stage, index):
                    self.side_unit = len(units) - 1
        self.units: Sequence[Skip] = nn.ModuleList(units)  # type: ignore[assignment]
        self.head = Head(architecture.outputs[-1], architecture.classes, architecture.slices)
        self.side_head: Head | None = None
        if architecture.side_after is not None:
            inputs = architecture.outputs[architecture.side_after[0]]
            self.side_head = Head(inputs, architecture.classes, architecture.slices)

    @property
    def blocks(self) -> list[Block]:
        """The residual blocks, input to output."""
        return [unit for unit in self.units if isinstance(unit, Block)]

    def set_epsilon(self, epsilon: float) -> None:
        """Sets the threshold of every gate. Raises ValueError for a network without gates."""
        if not self.architecture.gated:
            raise ValueError("this network has no gates")
        for block in self.blocks:
            block.epsilon = epsilon

    def set_discarded(self, discarded: Sequence[bool]) -> None:
        """Says, one flag per block, which blocks evaluation takes as the identity."""
        for block, is_discarded in zip(self.blocks, discarded, strict=True):
            block.discarded = is_discarded

    def place(self, device: torch.device) -> "ResNet":
        """Moves it to a device, weights in the memory format of its inputs; gates decide late on all but a CPU."""
        self.to(device).to(memory_format=torch.channels_last)
        self.set_late(device.type != "cpu")
        return self

    def set_late(self, late: bool) -> None:
        """Says whether gates leave their decisions on the device until they are read (for GPUs)."""
        self.is_late = late
        for block in self.blocks:
            block.late = late

    def expect_closed(self, expected: Sequence[bool]) -> None:
        """Says, one flag per block, which late gates are expected to be closed in the mini-batches that come."""
        for block, is_expected in zip(self.blocks, expected, strict=True):
            block.expected_closed = block.late and is_expected and not block.certified

    def expects_closed(self) -> bool:
        """Whether there are such blocks."""
        return any(block.expected_closed for block in self.blocks)

    def is_unusable(self, loss: Tensor) -> Tensor:
        """On the device: 1 if the loss is not finite or a block was open that was expected to be closed, else 0."""
        unusable = loss.isfinite().logical_not()
        expected = [cast(Tensor, block.decision.closed) for block in self.blocks if block.expected_closed]
        if expected:
            unusable = unusable | torch.stack(expected).all().logical_not()
        return unusable.float()

    def opened_unexpectedly(self) -> bool:
        """Whether a block was open that was expected to be closed; it is then no longer expected to."""
        opened = [b for b, gate in zip(self.blocks, self.read_gates(), strict=True) if b.expected_closed > gate.closed]
        for block in opened:
            block.expected_closed = False
        return bool(opened)

    def compile_residuals(self) -> None:
        """Compiles every block's F by torch.compile; gates stay outside, as they decide what is computed."""
        import torch._dynamo as dynamo  # takes seconds, for a variant

        dynamo.config.recompile_limit = RESIDUALS  # the default of 8 is less than there are shapes of blocks
        for block in self.blocks:
            block.residual = torch.compile(block.residual)  # type: ignore[method-assign]

    def read_gates(self) -> list[Decision]:
        """Per block, the gate's decision for the latest mini-batch. Waits for a GPU once, not for each block."""
        self.read_late()
        return [block.decision for block in self.blocks]

    def read_late(self, *others: Tensor) -> list[float]:
        """Reads late decisions and, in the same transfer, other scalars, whose values it returns."""
        waiting = [block for block in self.blocks if isinstance(block.decision.response, Tensor)]
        responses = [cast(Tensor, block.decision.response) for block in waiting]
        closed = [cast(Tensor, block.decision.closed) for block in waiting]
        parts = [torch.stack(part).float() for part in (responses, closed, list(others)) if part]
        values: list[float] = torch.cat(parts).tolist() if parts else []
        for block, response, is_closed in zip(waiting, values, values[len(waiting) :], strict=False):
            block.decision = Decision(bool(is_closed), response)
        return values[2 * len(waiting) :]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (N, C, H, W) to logits (N, classes), and in training mode to the side head's logits, if it exists."""
        side = None
        x = self.stem(x)
        for index, unit in enumerate(self.units):
            x = unit(x)
            if self.training and self.side_head is not None and index == self.side_unit:
                side = self.side_head(x)
        if self.training:
            torch._foreach_add_(self._counters(), 1)
        return self.head(x), side

    def _counters(self) -> list[Tensor]:
        """Of each batch norm that saw this mini-batch, how many it has seen; certified blocks' saw none."""
        heads = [self.head] if self.side_head is None else [self.head, self.side_head]
        norms = [cast(BatchNorm, self.stem[1]), *(norm for unit in self.units for norm in _norms(unit))]
        return [cast(Tensor, norm.num_batches_tracked) for norm in [*norms, *(head.norm for head in heads)]]


def _norms(unit: Skip) -> Iterator[BatchNorm]:
    """A unit's batch norms that a training's mini-batch goes through."""
    if unit.entry is not None:
        yield unit.entry
    if isinstance(unit, Block) and not unit.certified:
        yield from cast(Iterable[BatchNorm], unit.norms)


def _stem(architecture: Architecture) -> nn.Sequential:
    """Convolution, BN, ReLU, and max-pooling for ImageNet (Sec. 4)."""
    convolution = Conv(architecture.stem(), architecture.stride_padding)
    norm = BatchNorm(architecture.widths[0], architecture.slices)
    pool = [MaxPool(architecture.stride_padding)] if architecture.family == "imagenet" else []
    return nn.Sequential(convolution, norm, nn.ReLU(inplace=True), *pool)


def initialise(network: ResNet, scheme: Literal["variance_scaling", "gaussian"], generator: torch.Generator) -> None:
    """Draws all convolution and linear weights; biases become 0. Deterministic given the generator's state.

    `variance_scaling` is the reference code's: factor 2, fan-out for convolutions and fan-in for linear layers, normal,
    truncated at two sigma, with TensorFlow's factor 1.3 that makes up for the variance lost by truncation.
    `gaussian` is the paper's text: normal with std 0.01 (Sec. 4).
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        weight = module.weight
        fan = weight.shape[0] * weight[0, 0].numel() if isinstance(module, nn.Conv2d) else module.in_features
        std = math.sqrt(1.3 * 2 / fan)
        with torch.no_grad():
            if scheme == "gaussian":
                nn.init.normal_(weight, std=0.01, generator=generator)
            else:
                nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)
            if module.bias is not None:
                module.bias.zero_()

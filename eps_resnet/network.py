"""Pre-activation ResNets of depth 6n+2 with gates and a side head, and the plain networks left after pruning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eps_resnet.errors import UserError
from eps_resnet.gate import gated_sum
from eps_resnet.registry import DataSet, Recipe, Registry, Run, recipe_of

WIDTHS = (16, 32, 64)  # channels per stage; Sec. 4, "CIFAR-10"
SIDE_STAGE = 1  # the side head sits in the middle stage (reference code)
MIB = 2**20


@dataclass(frozen=True)
class Architecture:
    """Everything that decides a network's shape, without its weights.

    `kept` lists, per stage, which of the unpruned network's n blocks exist; pruning shortens these lists.
    """

    channels: int
    classes: int
    kept: tuple[tuple[int, ...], ...]
    side_after: int | None = None  # block of the middle stage that feeds the side head; None: no side head
    epsilon: float | None = None  # None: no gates
    stride_padding: Literal["same", "symmetric"] = "same"

    def plain(self) -> "Architecture":
        """The same network without gates and side head: what is published, counted and compared."""
        return Architecture(self.channels, self.classes, self.kept, stride_padding=self.stride_padding)

    def without(self, discarded: Sequence[bool]) -> "Architecture":
        """The plain network without the discarded blocks (one flag per block of this network, input to output)."""
        flags = iter(discarded)
        kept = tuple(tuple(index for index in stage if not next(flags)) for stage in self.kept)
        return Architecture(self.channels, self.classes, kept, stride_padding=self.stride_padding)


def architecture_of(run: Run, data: DataSet, recipe: Recipe) -> Architecture:
    """The architecture a run trains. Raises UserError for networks that this release does not build."""
    if recipe.network != "cifar":
        raise UserError(f"The networks of {data.title} are not part of this release.")
    n = (run.depth - 2) // 6
    return Architecture(
        channels=data.channels,
        classes=data.classes,
        kept=(tuple(range(n)),) * 3,
        side_after=None if run.method == "standard" else n // 2,
        epsilon=run.epsilon,
        stride_padding=recipe.stride_padding,
    )


class Shortcut(nn.Module):
    """The identity; where the stage changes, 2x2 average pooling and zero channels on both sides. No weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.extra = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same, or to (N, 2C, H/2, W/2) where the stage changes."""
        if self.extra == 0:
            return x
        return F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, self.extra, self.extra))


class Block(nn.Module):
    """H(x) = shortcut(x) + S(F(x)), with F = [BN-ReLU-]conv3x3(stride)-BN-ReLU-conv3x3 and no biases."""

    def __init__(self, inputs: int, outputs: int, pre_activation: bool, architecture: Architecture) -> None:
        super().__init__()
        self.stride = outputs // inputs
        self.epsilon = architecture.epsilon
        self.closed = False  # the gate's decision for the latest mini-batch
        # TensorFlow's SAME puts the stride's missing border after the image, PyTorch's padding=1 before it.
        self.pad_after = self.stride == 2 and architecture.stride_padding == "same"
        self.shortcut = Shortcut(inputs, outputs)
        self.norm1 = nn.BatchNorm2d(inputs) if pre_activation else None
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 0 if self.pad_after else 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)

    def residual(self, x: Tensor) -> Tensor:
        """F(x): (N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        if self.norm1 is not None:
            x = F.relu(self.norm1(x), inplace=True)
        if self.pad_after:
            x = F.pad(x, (0, 1, 0, 1))
        return self.conv2(F.relu(self.norm2(self.conv1(x)), inplace=True))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """H(x): (N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        shortcut, residual = self.shortcut(x), self.residual(x)
        if self.epsilon is None:
            return shortcut + residual  # type: ignore[no-any-return]
        result, self.closed = gated_sum(shortcut, residual, self.epsilon)
        return result


class Head(nn.Module):
    """BN-ReLU, global average pooling, linear with bias: (N, C, H, W) to logits (N, classes)."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.linear(F.relu(self.norm(x), inplace=True).mean((2, 3)))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A CIFAR-style pre-activation ResNet. `units` holds the blocks, and the shortcuts that pruned blocks leave."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.stem = nn.Sequential(
            nn.Conv2d(architecture.channels, WIDTHS[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
        )
        units: list[nn.Module] = []
        self.side_unit: int | None = None
        for stage, kept in enumerate(architecture.kept):
            before = WIDTHS[max(stage - 1, 0)]
            if stage > 0 and 0 not in kept:
                units.append(Shortcut(before, WIDTHS[stage]))
            for index in kept:
                inputs = before if index == 0 else WIDTHS[stage]
                first_of_all = stage == 0 and index == 0
                units.append(Block(inputs, WIDTHS[stage], not first_of_all, architecture))
                if stage == SIDE_STAGE and index == architecture.side_after:
                    self.side_unit = len(units) - 1
        self.units = nn.ModuleList(units)
        self.head = Head(WIDTHS[-1], architecture.classes)
        self.side_head = Head(WIDTHS[SIDE_STAGE], architecture.classes) if self.side_unit is not None else None

    @property
    def blocks(self) -> list[Block]:
        """The residual blocks, input to output."""
        return [unit for unit in self.units if isinstance(unit, Block)]

    def set_epsilon(self, epsilon: float) -> None:
        """Sets the threshold of every gate. Raises ValueError for a network without gates."""
        if self.architecture.epsilon is None:
            raise ValueError("this network has no gates")
        for block in self.blocks:
            block.epsilon = epsilon

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (N, C, H, W) to logits (N, classes), and in training mode to the side head's logits, if it exists."""
        side = None
        x = self.stem(x)
        for index, unit in enumerate(self.units):
            x = unit(x)
            if self.training and self.side_head is not None and index == self.side_unit:
                side = self.side_head(x)
        return self.head(x), side


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


@dataclass(frozen=True)
class Size:
    """What a network costs. `multiply_adds`: convolutions and linear layers, for one image."""

    parameters: int
    multiply_adds: int
    blocks: tuple[int, ...] = field(default=())

    @property
    def mib(self) -> float:
        """Size of the trainable parameters in MiB (2^20 bytes, four bytes each), the paper's unit in Fig. 7."""
        return self.parameters * 4 / MIB


def size_of(architecture: Architecture, image_size: int) -> Size:
    """Counts parameters (batch-norm scale and shift included) and multiply-adds, without allocating the network."""
    with torch.device("meta"):
        network = ResNet(architecture)
    parameters = sum(p.numel() for p in network.parameters())
    return Size(parameters, _multiply_adds(architecture, image_size), tuple(len(stage) for stage in architecture.kept))


def _multiply_adds(architecture: Architecture, image_size: int) -> int:
    total = 9 * architecture.channels * WIDTHS[0] * image_size**2 + WIDTHS[-1] * architecture.classes
    for stage, kept in enumerate(architecture.kept):
        width, area = WIDTHS[stage], (image_size // 2**stage) ** 2
        for index in kept:
            inputs = WIDTHS[stage - 1] if index == 0 and stage > 0 else width
            total += 9 * (inputs + width) * width * area
    return total


def describe(registry: Registry, key: str) -> dict[str, object]:
    """A run's network before training. Raises UserError for networks that this release does not build."""
    run = registry.run(key)
    data, recipe = registry.datasets[run.dataset], recipe_of(registry, run)
    architecture = architecture_of(run, data, recipe)
    plain, whole = size_of(architecture.plain(), data.size), size_of(architecture, data.size)
    return {
        "key": key,
        "parameters": plain.parameters,
        "parameters_with_side_head": None if architecture.side_after is None else whole.parameters,
        "size_mib": plain.mib,
        "blocks": list(plain.blocks),
        "multiply_adds": plain.multiply_adds,
    }

"""What decides a network's shape: blocks per stage, gates, side head. No weights and no torch in here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.models import Recipe

CIFAR_SIDE_STAGE, IMAGENET_SIDE_STAGE = 1, 2  # the side head's stage, counted from 0 (reference code)


class ConvShape(NamedTuple):
    """A convolution without bias: channels in and out, width of its kernel, stride."""

    inputs: int
    outputs: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class Architecture:
    """Everything that decides a network's shape, without its weights.

    `kept` lists, per stage, which of the unpruned network's blocks exist; pruning shortens these lists.
    """

    family: Literal["cifar", "imagenet"]
    channels: int
    classes: int
    kept: tuple[tuple[int, ...], ...]
    side_after: tuple[int, int] | None = None  # stage and block that feed the side head; None: no side head
    gated: bool = False
    gate_scope: Literal["slice", "batch"] = "slice"
    slices: int = 1  # parts of a mini-batch, in this process, that are normalised alone
    stride_padding: Literal["same", "symmetric"] = "same"

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the 3x3 convolutions per stage (Sec. 4)."""
        return (16, 32, 64) if self.family == "cifar" else (64, 128, 256, 512)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels that leave each stage: a bottleneck widens by four."""
        return tuple(width * (1 if self.family == "cifar" else 4) for width in self.widths)

    @property
    def layers_per_block(self) -> int:
        """Convolutions in a residual block, projection not counted."""
        return 2 if self.family == "cifar" else 3

    def inputs(self, stage: int, index: int) -> int:
        """Channels that enter a block."""
        if index > 0:
            return self.outputs[stage]
        return self.outputs[stage - 1] if stage > 0 else self.widths[0]

    def side(self, stage: int, image_size: int) -> int:
        """Height and width of the maps that leave a stage, for square images of `image_size` pixels a side."""
        halvings = stage if self.family == "cifar" else stage + 2  # ImageNet: twice in the stem
        return -(-image_size >> halvings)

    def stem(self) -> ConvShape:
        """3x3 for small images; 7x7 with stride 2, before max-pooling, for ImageNet (Sec. 4)."""
        kernel, stride = (3, 1) if self.family == "cifar" else (7, 2)
        return ConvShape(self.channels, self.widths[0], kernel, stride)

    def residual(self, stage: int, index: int) -> list[ConvShape]:
        """A block's convolutions. Basic (CIFAR): 3x3, 3x3, the stride on the first. Bottleneck (ImageNet): 1x1, 3x3
        with the stride, 1x1 to four times the width. The first block of every stage but the first halves the map."""
        inputs, width, stride = self.inputs(stage, index), self.widths[stage], 2 if stage > 0 and index == 0 else 1
        if self.family == "cifar":
            return [ConvShape(inputs, width, 3, stride), ConvShape(width, width, 3, 1)]
        expand = ConvShape(width, self.outputs[stage], 1, 1)
        return [ConvShape(inputs, width, 1, 1), ConvShape(width, width, 3, stride), expand]

    def projection(self, stage: int, index: int) -> ConvShape | None:
        """The shortcut's convolution: 1x1, without batch norm, in the first block of each of ImageNet's stages."""
        if self.family == "cifar" or index > 0:
            return None
        return ConvShape(self.inputs(stage, 0), self.outputs[stage], 1, 2 if stage > 0 else 1)

    def shares_activation(self, stage: int, index: int) -> bool:
        """Whether BN-ReLU comes before both branches: ImageNet, first blocks of the later stages (reference code)."""
        return self.family == "imagenet" and stage > 0 and index == 0

    def norms(self, stage: int, index: int) -> list[int]:
        """Channels of the batch norms before a block's convolutions; the very first block has no leading one, nor has
        one whose branches share it."""
        channels = [shape.inputs for shape in self.residual(stage, index)]
        return channels[1:] if self.shares_activation(stage, index) or (stage, index) == (0, 0) else channels

    def plain(self) -> "Architecture":
        """The same network without gates and side head: what is published, counted and compared."""
        return replace(self, side_after=None, gated=False, gate_scope="slice", slices=1)

    def without(self, discarded: Sequence[bool]) -> "Architecture":
        """The plain network without the discarded blocks (one flag per block of this network, input to output)."""
        flags = iter(discarded)
        kept = tuple(tuple(index for index in stage if not next(flags)) for stage in self.kept)
        return replace(self.plain(), kept=kept)


def architecture_of(experiment: Experiment, processes: int = 1) -> Architecture:
    """The architecture that each of the processes trains for a run (Sec. 4; side head as in the reference code)."""
    run, data, recipe, blocks = experiment.run, experiment.data, experiment.recipe, experiment.blocks
    return Architecture(
        family=recipe.network,
        channels=data.channels,
        classes=data.classes,
        kept=tuple(tuple(range(n)) for n in blocks),
        side_after=None if run.method == "standard" else _side_after(recipe, blocks),
        gated=run.epsilon is not None,
        gate_scope=recipe.gate_scope,
        slices=recipe.slices // processes,
        stride_padding=recipe.stride_padding,
    )


def _side_after(recipe: Recipe, blocks: tuple[int, ...]) -> tuple[int, int]:
    """Reference code: block n//2 of the middle stage; on ImageNet the block before the middle of all blocks."""
    if recipe.network == "cifar":
        return CIFAR_SIDE_STAGE, blocks[CIFAR_SIDE_STAGE] // 2
    before = sum(blocks[:IMAGENET_SIDE_STAGE])
    return IMAGENET_SIDE_STAGE, max(0, sum(blocks) // 2 - before - 1)

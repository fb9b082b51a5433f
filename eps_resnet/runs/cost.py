"""What a training costs: multiply-adds, memory, disk; and the speeds that are assumed where none is measured.

How each is computed, and what is left out: docs/cost.md. No torch in here: a plan is asked for often.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from eps_resnet.data import manifest
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet
from eps_resnet.measure.size import size_of
from eps_resnet.method.networks.architecture import Architecture, ConvShape, architecture_of

FORWARD_AND_BACKWARD = 3  # the backward pass computes two products per forward product
# Measured on one core (docs/cost.md): a training step of ResNet-20, 32x32 pixels, batch 128, all gates open.
CPU_MULTIPLY_ADDS_PER_SECOND = 3.9e10
# Of the authors' cards, by family of networks: what is counted here for four trainings, over the times that they give
# for them (published.csv, training_hours; docs/cost.md). 110 layers, CIFAR-10: 8.3e11 and 8.2e11. 101 and 152 layers,
# ImageNet, V100: 2.7e12 and 2.3e12.
GPU_MULTIPLY_ADDS_PER_SECOND = {"cifar": 8.2e11, "imagenet": 2.5e12}
FASTER_CARDS = 4  # peak float32 of an H200 over that of a V100: 67 / 15.7 TFLOPS
SECONDS_PER_HOUR, SECONDS_PER_DAY = 3_600, 86_400
FLOAT_BYTES = 4
COUNTER_BYTES = 8  # of the mini-batches that a batch norm has seen
COPIES_IN_MEMORY = 4  # of the parameters: weights, gradients, momentum, and the settled network
CHECKPOINTS = 3  # two are kept, and a third is there while it is written
BLOCK_ROW_BYTES = 16  # of blocks.parquet, per block and epoch: the committed run of digits, depth 110
# Bytes of the official files, as their servers stated them.
DOWNLOAD_BYTES = {
    "cifar-10-binary.tar.gz": 170_052_171,
    "cifar-100-binary.tar.gz": 168_513_733,
    "train_32x32.mat": 182_040_794,
    "extra_32x32.mat": 1_329_278_602,
    "test_32x32.mat": 64_275_384,
}


@dataclass(frozen=True)
class NetworkCost:
    """What one network costs in training, all gates open."""

    parameters: int  # side head included
    multiply_adds: int  # one image, forward, without side head
    file_bytes: int  # all that is stored of it: parameters and running statistics
    activation_bytes: int  # what a training step keeps of one mini-batch for its backward pass


def network_cost(experiment: Experiment, batch: int | None = None) -> NetworkCost:
    """The cost of a run's network with mini-batches of `batch` images, by default the recipe's."""
    # Gates and slices change none of it: seeds and epsilons of one network share what is counted.
    architecture = replace(architecture_of(experiment), gated=False, gate_scope="slice", slices=1)
    return _count(architecture, experiment.data.size, batch or experiment.recipe.batch)


@cache
def _count(architecture: Architecture, size: int, batch: int) -> NetworkCost:
    """Counts from shapes alone."""
    norms, parameters = list(_norms(architecture)), size_of(architecture, size).parameters
    maps = sum(channels * width**2 for channels, width in _kept_maps(architecture, size))
    return NetworkCost(
        parameters=parameters,
        multiply_adds=size_of(architecture.plain(), size).multiply_adds,
        file_bytes=(parameters + 2 * sum(norms)) * FLOAT_BYTES + len(norms) * COUNTER_BYTES,
        # Of each batch norm also mean and deviation, those of the mini-batch and the running ones.
        activation_bytes=(batch * maps + 4 * sum(norms)) * FLOAT_BYTES,
    )


def _blocks(architecture: Architecture) -> Iterator[tuple[int, int]]:
    """Stage and index of every block, input to output."""
    return ((stage, index) for stage, kept in enumerate(architecture.kept) for index in kept)


def _norms(architecture: Architecture) -> Iterator[int]:
    """Channels of every batch norm."""
    yield architecture.widths[0]
    for stage, index in _blocks(architecture):
        if architecture.shares_activation(stage, index):
            yield architecture.inputs(stage, index)
        yield from architecture.norms(stage, index)
        if architecture.side_after == (stage, index):
            yield architecture.outputs[stage]
    yield architecture.outputs[-1]


def _kept_maps(architecture: Architecture, size: int) -> Iterator[tuple[int, int]]:
    """Channels and width of every map that autograd keeps of one image in a training step.

    A convolution keeps its input, padded if it pads that itself; a batch norm its input; ReLU, which works in place,
    its output; pooling its input and, of a maximum, where it was; a linear layer its input. A sum keeps nothing.
    """
    stem, width = architecture.stem(), _divided(size, architecture.stem().stride)
    yield stem.inputs, _padded(architecture, stem, size) or size
    yield stem.outputs, width
    if architecture.family == "imagenet":
        pool = ConvShape(stem.outputs, stem.outputs, 3, 2)
        yield stem.outputs, width
        yield stem.outputs, _padded(architecture, pool, width)
        width = _divided(width, pool.stride)
        yield 2 * stem.outputs, width  # where the maximum was: integers twice as long as floats
    for stage, index in _blocks(architecture):
        yield from _kept_in_block(architecture, stage, index, width)
        width = _divided(width, 2 if stage > 0 and index == 0 else 1)
        if architecture.side_after == (stage, index):
            yield from _kept_in_head(architecture.outputs[stage], width)
    yield architecture.outputs[-1], width
    yield from _kept_in_head(architecture.outputs[-1], width)


def _kept_in_block(architecture: Architecture, stage: int, index: int, width: int) -> Iterator[tuple[int, int]]:
    shapes = architecture.residual(stage, index)
    first_norm = len(shapes) - len(architecture.norms(stage, index))
    yield shapes[0].inputs, width
    if architecture.shares_activation(stage, index):
        yield shapes[0].inputs, width
    for place, shape in enumerate(shapes):
        if place > 0:
            yield shape.inputs, width  # what the convolution before gave
        if place >= first_norm:
            yield shape.inputs, width
        yield shape.inputs, _padded(architecture, shape, width)
        width = _divided(width, shape.stride)


def _kept_in_head(channels: int, width: int) -> Iterator[tuple[int, int]]:
    """All but the map that enters it."""
    yield channels, width
    yield channels, 1


def _padded(architecture: Architecture, shape: ConvShape, width: int) -> int:
    """The width of the padded copy that is made of a map, TensorFlow's SAME at stride 2; 0 if none is made."""
    if shape.stride == 1 or shape.kernel == 1 or architecture.stride_padding == "symmetric":
        return 0
    return max((_divided(width, shape.stride) - 1) * shape.stride + shape.kernel, width)


def _divided(width: int, stride: int) -> int:
    return -(-width // stride)


def step_multiply_adds(experiment: Experiment, batch: int | None = None) -> int:
    """Multiply-adds of one training step, all gates open."""
    per_image = network_cost(experiment).multiply_adds
    return per_image * FORWARD_AND_BACKWARD * (batch or experiment.recipe.batch)


def training_multiply_adds(experiment: Experiment, epochs: int | None = None) -> float:
    """Multiply-adds of `epochs` epochs (None: of the whole training), with evaluations as often as the recipe tests.

    An upper bound for gated networks: all gates are taken to be open, and closed ones skip their backward pass.
    """
    recipe, archive = experiment.recipe, experiment.data.archives[0]
    steps = recipe.epoch_steps or archive.train_images // recipe.batch
    images = steps * recipe.batch * FORWARD_AND_BACKWARD + archive.test_images / recipe.test_every
    epochs = experiment.epochs if epochs is None else epochs
    return float(network_cost(experiment).multiply_adds) * images * epochs


def cpu_core_days(multiply_adds: float) -> float:
    """Days on one core of the machine on which the throughput was measured."""
    return multiply_adds / CPU_MULTIPLY_ADDS_PER_SECOND / SECONDS_PER_DAY


def memory_bytes(experiment: Experiment, batch: int | None = None) -> int:
    """Memory of a training on its device: parameters four times, activations of a mini-batch, the images it holds.

    Not in it: what the libraries take for themselves (CUDA context, workspace of convolutions, allocator).
    """
    cost = network_cost(experiment, batch)
    return cost.parameters * FLOAT_BYTES * COPIES_IN_MEMORY + cost.activation_bytes + stored_bytes(experiment.data)


def result_bytes(experiment: Experiment) -> int:
    """Disk that a finished run takes at most: its network, a pruned one with nothing cut, a row per block and epoch."""
    rows = sum(experiment.blocks) * experiment.epochs
    return 2 * network_cost(experiment).file_bytes + rows * BLOCK_ROW_BYTES


def checkpoint_bytes(experiment: Experiment) -> int:
    """Disk that the checkpoints of an unfinished training take: network, settled network and momentum, each time."""
    cost = network_cost(experiment)
    return CHECKPOINTS * (2 * cost.file_bytes + cost.parameters * FLOAT_BYTES)


def stored_bytes(data: DataSet) -> int:
    """Bytes of a data set's official images and labels in stored form; 0 for ImageNet, whose files stay the user's."""
    if data.format == "imagenet":
        return 0
    archive = data.archives[0]
    return (archive.train_images + archive.test_images) * (data.channels * data.size**2 + 1)


def download_bytes(data: DataSet) -> int | None:
    """Bytes of a data set's official archives; 0 where nothing is downloaded, None where the size is not known."""
    names = [url.rsplit("/", 1)[-1] for url in data.archives[0].urls]
    sizes = [DOWNLOAD_BYTES.get(name) for name in names]
    return None if None in sizes else sum(size for size in sizes if size)


def data_bytes(layout: Layout, dataset: str, data: DataSet) -> int:
    """Disk that fetching a data set still takes: its archives and its stored form; 0 once it is stored."""
    if manifest.read(layout, dataset) is not None and layout.store(dataset).exists():
        return 0
    return stored_bytes(data) + (download_bytes(data) or 0)


def describe(experiment: Experiment) -> dict[str, object]:
    """A run's network before training."""
    architecture, size = architecture_of(experiment), experiment.data.size
    plain, whole = size_of(architecture.plain(), size), size_of(architecture, size)
    return {
        "key": experiment.key,
        "parameters": plain.parameters,
        "parameters_with_side_head": None if architecture.side_after is None else whole.parameters,
        "size_mib": plain.mib,
        "blocks": list(plain.blocks),
        "multiply_adds": plain.multiply_adds,
    }

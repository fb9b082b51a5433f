"""What a training costs: multiply-adds, memory, disk; and the speeds that are assumed where none is measured.

How each is reckoned, and what is left out: docs/cost.md.
"""

from dataclasses import dataclass, replace
from functools import cache

import torch

from eps_resnet.data import manifest
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import Architecture, architecture_of, blocks_of
from eps_resnet.networks.resnet import ResNet
from eps_resnet.networks.size import size_of
from eps_resnet.registry import Registry, Run, recipe_of
from eps_resnet.schedule import epochs_of

FORWARD_AND_BACKWARD = 3  # the backward pass computes two products per forward product
# Measured on one core (docs/cost.md): a training step of ResNet-20, 32x32 pixels, batch 128, all gates open.
CPU_MULTIPLY_ADDS_PER_SECOND = 3.9e10
# An assumption, not a measurement: 32-bit convolutions of 16 to 64 channels on a recent data-centre card.
GPU_MULTIPLY_ADDS_PER_SECOND = 2.5e12
SECONDS_PER_HOUR, SECONDS_PER_DAY = 3_600, 86_400
FLOAT_BYTES = 4
COPIES_IN_MEMORY = 4  # of the parameters: weights, gradients, momentum, and the settled network
CHECKPOINTS = 3  # two are kept, and a third is there while it is written
BLOCK_ROW_BYTES = 16  # of blocks.parquet, per block and epoch: the committed run of digits, depth 110
SMALL_DEPTHS = (8, 14)  # CIFAR-style networks with one and two blocks per stage
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


def network_cost(registry: Registry, run: Run, batch: int | None = None) -> NetworkCost:
    """The cost of a run's network with mini-batches of `batch` images, by default the recipe's.

    CIFAR-style networks of two depths differ by equal blocks, so two small ones give every other depth exactly: to
    count those of 752 layers takes seconds each.
    """
    if registry.datasets[run.dataset].recipe.network == "imagenet":
        return _counted(registry, run, batch)
    shallow, deeper = (_counted(registry, run.model_copy(update={"depth": depth}), batch) for depth in SMALL_DEPTHS)
    blocks = (run.depth - SMALL_DEPTHS[0]) // (SMALL_DEPTHS[1] - SMALL_DEPTHS[0])
    totals = {name: count + blocks * (vars(deeper)[name] - count) for name, count in vars(shallow).items()}
    return NetworkCost(**totals)


def _counted(registry: Registry, run: Run, batch: int | None) -> NetworkCost:
    data, recipe = registry.datasets[run.dataset], recipe_of(registry, run)
    # Gates compare numbers, and here are none; slices keep as much as the whole mini-batch does.
    architecture = replace(architecture_of(run, data, recipe), epsilon=None, slices=1)
    return _count(architecture, data.size, batch or recipe.batch)


@cache
def _count(architecture: Architecture, size: int, batch: int) -> NetworkCost:
    """Counts by one forward pass without numbers; autograd says which tensors it keeps."""
    with torch.device("meta"):
        network = ResNet(architecture).train()
        images = torch.empty(batch, architecture.channels, size, size)
    kept: dict[int, torch.Tensor] = {}  # by storage, as several of them may be views of one

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = network(images)  # held: what autograd keeps lives as long
    own = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    activations = sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)
    del outputs
    return NetworkCost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        multiply_adds=_multiply_adds(architecture.plain(), size),
        file_bytes=sum(tensor.nbytes for tensor in network.state_dict().values()),
        activation_bytes=activations,
    )


@cache
def _multiply_adds(architecture: Architecture, size: int) -> int:
    return size_of(architecture, size).multiply_adds


def step_multiply_adds(registry: Registry, run: Run, batch: int | None = None) -> int:
    """Multiply-adds of one training step, all gates open."""
    per_image = network_cost(registry, run).multiply_adds
    return per_image * FORWARD_AND_BACKWARD * (batch or recipe_of(registry, run).batch)


def training_multiply_adds(registry: Registry, key: str, epochs: int | None = None) -> float:
    """Multiply-adds of so many epochs (None: of the whole training), each with its evaluation on the test images.

    An upper bound for gated networks: all gates are taken to be open, and closed ones skip their backward pass.
    """
    run = registry.run(key)
    data, recipe = registry.datasets[run.dataset], recipe_of(registry, run)
    archive = data.archives[0]
    steps = recipe.epoch_steps or archive.train_images // recipe.batch
    images = steps * recipe.batch * FORWARD_AND_BACKWARD + archive.test_images
    epochs = epochs_of(recipe, run) if epochs is None else epochs
    return float(network_cost(registry, run).multiply_adds) * images * epochs


def cpu_core_days(multiply_adds: float) -> float:
    """Days on one core of the machine on which the throughput was measured."""
    return multiply_adds / CPU_MULTIPLY_ADDS_PER_SECOND / SECONDS_PER_DAY


def memory_bytes(registry: Registry, run: Run, batch: int | None = None) -> int:
    """Memory of a training on its device: parameters four times, activations of a mini-batch, the images it holds.

    Not in it: what the libraries take for themselves (CUDA context, workspace of convolutions, allocator).
    """
    cost = network_cost(registry, run, batch)
    return (
        cost.parameters * FLOAT_BYTES * COPIES_IN_MEMORY + cost.activation_bytes + stored_bytes(registry, run.dataset)
    )


def result_bytes(registry: Registry, key: str) -> int:
    """Disk that a finished run takes at most: its network, a pruned one with nothing cut, a row per block and epoch."""
    run = registry.run(key)
    recipe = recipe_of(registry, run)
    rows = sum(blocks_of(run.depth, recipe)) * epochs_of(recipe, run)
    return 2 * network_cost(registry, run).file_bytes + rows * BLOCK_ROW_BYTES


def checkpoint_bytes(registry: Registry, run: Run) -> int:
    """Disk that the checkpoints of an unfinished training take: network, settled network and momentum, each time."""
    cost = network_cost(registry, run)
    return CHECKPOINTS * (2 * cost.file_bytes + cost.parameters * FLOAT_BYTES)


def stored_bytes(registry: Registry, dataset: str) -> int:
    """Bytes of a data set's official images and labels in stored form; 0 for ImageNet, whose files stay the user's."""
    data = registry.dataset(dataset)
    if data.format == "imagenet":
        return 0
    archive = data.archives[0]
    return (archive.train_images + archive.test_images) * (data.channels * data.size**2 + 1)


def download_bytes(registry: Registry, dataset: str) -> int | None:
    """Bytes of a data set's official archives; 0 where nothing is downloaded, None where the size is not known."""
    names = [url.rsplit("/", 1)[-1] for url in registry.dataset(dataset).archives[0].urls]
    sizes = [DOWNLOAD_BYTES.get(name) for name in names]
    return None if None in sizes else sum(size for size in sizes if size)


def data_bytes(registry: Registry, layout: Layout, dataset: str) -> int:
    """Disk that fetching a data set still takes: its archives and its stored form; 0 once it is stored."""
    if manifest.read(layout, dataset) is not None and layout.store(dataset).exists():
        return 0
    return stored_bytes(registry, dataset) + (download_bytes(registry, dataset) or 0)

"""Networks of both families: shapes, SAME padding, shortcuts, slices, initialisation."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.operations import operations
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import IMAGENET_BLOCKS, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.networks.architecture import Architecture, ConvShape, architecture_of
from eps_resnet.method.networks.blocks import Block, Skip
from eps_resnet.method.networks.layers import BatchNorm, Conv, MaxPool, PoolAndPad, pad_same
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.streams import stream
from tests.method.trainings import batch, new_training


def plain(depth: int, classes: int = 10) -> Architecture:
    n = (depth - 2) // 6
    return Architecture("cifar", 3, classes, (tuple(range(n)),) * 3)


def imagenet(depth: int) -> Architecture:
    return Architecture("imagenet", 3, 1000, tuple(tuple(range(n)) for n in IMAGENET_BLOCKS[depth]))


@pytest.mark.parametrize(
    ("dataset", "depth", "place"),
    [
        *(("cifar10", 110, (1, 9)), ("cifar10", 20, (1, 1)), ("cifar10", 8, (1, 0))),
        *(("imagenet", 101, (2, 8)), ("imagenet", 152, (2, 13)), ("imagenet", 14, (2, 0))),
    ],
)
def test_the_side_head_sits_where_the_reference_code_has_it(
    experiments: Registry, dataset: str, depth: int, place: tuple[int, int]
) -> None:
    run = Run(dataset=dataset, depth=depth, method="standard_side")
    architecture = architecture_of(experiments.experiment_of(run, Layout()))
    assert architecture.side_after == place
    with torch.device("meta"):
        network = ResNet(architecture)
        images = torch.empty(2, 3, 64, 64)
    assert network.side_unit is not None
    assert network.units[network.side_unit].place == place
    logits, side = network(images)
    assert side is not None
    assert logits.shape == side.shape == (2, architecture.classes)
    assert network.eval()(images)[1] is None


def test_a_strided_convolution_samples_as_tensorflow_same_does() -> None:
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 0, 0] = 1  # reads the top left of its window: with SAME that is pixel (2i, 2j) itself
    seen = {}
    for padding in ("same", "symmetric"):
        conv = Conv(ConvShape(1, 1, 3, 2), padding)
        conv.weight.data = kernel
        seen[padding] = conv(image)[0, 0]
    assert torch.equal(seen["same"], image[0, 0, ::2, ::2])
    assert torch.equal(seen["symmetric"], F.pad(image[0, 0], (1, 0, 1, 0))[:-1:2, :-1:2])


@given(st.integers(1, 40), st.sampled_from([(3, 2), (7, 2), (1, 2), (3, 1)]))
def test_same_padding_gives_the_size_divided_by_the_stride_with_the_odd_pixel_after(
    size: int, shape: tuple[int, int]
) -> None:
    kernel, stride = shape
    padded = pad_same(torch.ones(1, 1, size, size), kernel, stride)
    rows = padded[0, 0, :, 0 if padded.shape[3] == size else padded.shape[3] // 2]
    before, after = int((rows.cumsum(0) == 0).sum()), int((rows.flip(0).cumsum(0) == 0).sum())
    assert after - before in (0, 1)
    assert (padded.shape[2] - kernel) // stride + 1 == -(-size // stride) or kernel < stride
    assert F.max_pool2d(padded, kernel, stride).shape[2] == -(-size // stride)


def test_the_7x7_stem_pads_2_before_and_3_after_and_the_pool_with_minus_infinity() -> None:
    ones = torch.ones(1, 1, 224, 224)
    padded = pad_same(ones, 7, 2)[0, 0, :, 112]
    assert padded[:3].tolist() == [0, 0, 1]
    assert padded[-4:].tolist() == [1, 0, 0, 0]
    assert (MaxPool("same")(-ones[:, :, :112, :112]) == -1).all()  # a border of zeros would win


def test_the_shortcut_pools_and_pads_channels_equally_on_both_sides() -> None:
    x = torch.rand(2, 16, 8, 8)
    y = PoolAndPad(16, 32)(x)
    assert torch.equal(y[:, 8:24], F.avg_pool2d(x, 2))
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_the_very_first_block_alone_has_no_pre_activation() -> None:
    assert [len(block.norms) for block in ResNet(plain(20)).blocks] == [1] + [2] * 8
    with torch.device("meta"):
        blocks = ResNet(imagenet(101)).blocks
    has_entry = [block.entry is not None for block in blocks]
    assert [index for index, has in enumerate(has_entry) if has] == [3, 7, 30]  # the later stages' first blocks
    assert [len(block.norms) for block in blocks] == [2 if index in (0, 3, 7, 30) else 3 for index in range(33)]


def test_imagenets_first_blocks_project_from_the_shared_pre_activation() -> None:
    torch.manual_seed(0)
    architecture, x = imagenet(14), torch.randn(2, 256, 8, 8)
    block = Block(architecture, 1, 0).eval()
    assert block.entry is not None
    activated = F.relu(block.entry(x))
    projected = F.conv2d(activated, block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(x) - block.residual(activated), projected, rtol=1e-4, atol=1e-4)
    skip = Skip(architecture, 1, 0).eval()
    skip.load_state_dict({name: tensor for name, tensor in block.state_dict().items() if name in skip.state_dict()})
    torch.testing.assert_close(skip(x), projected)


@pytest.mark.parametrize("slices", [1, 2, 4])
def test_each_slice_is_normalised_alone_and_the_first_ones_statistics_run(slices: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(8, 3, 4, 4) * torch.arange(1.0, 9.0)[:, None, None, None]
    norm, alone = BatchNorm(3, slices), torch.nn.BatchNorm2d(3)
    parts = x.chunk(slices)
    first = alone(parts[0])
    running = alone.running_mean.clone()
    expected = torch.cat([first, *(alone(part) for part in parts[1:])])
    assert torch.equal(norm(x), expected)
    assert torch.equal(norm.running_mean, running)
    assert torch.equal(norm.eval()(x)[:1], norm(x[:1]))  # evaluation knows no slices


def test_initial_weights_have_the_reference_codes_variance_and_are_truncated() -> None:
    network = ResNet(plain(20))
    initialise(network, "variance_scaling", stream(0, "weights"))
    weight = network.blocks[8].weights[1].detach()
    std = (1.3 * 2 / (9 * 64)) ** 0.5
    assert float(weight.abs().max()) <= 2 * std
    assert float(weight.std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)  # 1.3 makes up for the truncation
    assert not network.head.linear.bias.any()


def test_with_the_papers_gaussian_every_gate_is_closed_at_the_first_step(experiments: Registry) -> None:
    torch.manual_seed(0)
    images = torch.randn(128, 3, 32, 32)
    run = Run(dataset="cifar10", depth=20, method="epsilon_side", epsilon=2.5)
    experiment = experiments.experiment_of(run, Layout())
    for scheme, expected in (("gaussian", True), ("variance_scaling", False)):
        network = ResNet(architecture_of(experiment))
        network.set_epsilon(2.5)
        initialise(network, scheme, stream(0, "weights"))
        network(images)
        assert all(block.decision.closed for block in network.blocks) == expected


def test_each_batch_norm_counts_the_mini_batches_that_it_saw_in_one_operation_for_all(experiments: Registry) -> None:
    network = new_training(experiments, 2.5).network
    network.blocks[1].certified = True
    for _ in range(2):
        network(batch()[0])
    network.eval()(batch()[0])
    counts = {name: int(tensor) for name, tensor in network.state_dict().items() if "num_batches" in name}
    assert set(counts.values()) == {0, 2}
    assert {name.rsplit(".", 3)[0] for name, count in counts.items() if count == 0} == {"units.1"}
    counted = operations(lambda: network.train()(batch()[0]))
    assert (counted["_foreach_add_"], counted["add_"]) == (1, 0)

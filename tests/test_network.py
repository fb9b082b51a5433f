"""Networks: exact sizes, shapes, SAME padding, shortcuts, initialisation."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eps_resnet.network import Architecture, Block, ResNet, Shortcut, architecture_of, initialise, size_of
from eps_resnet.registry import Registry, Run
from eps_resnet.streams import stream


def plain(depth: int, classes: int = 10, channels: int = 3) -> Architecture:
    n = (depth - 2) // 6
    return Architecture(channels, classes, (tuple(range(n)),) * 3)


@pytest.mark.parametrize(("depth", "mib"), [(110, 6.59), (200, 12.15), (500, 30.70), (752, 46.27)])
def test_sizes_equal_the_published_ones(depth: int, mib: float) -> None:
    assert round(size_of(plain(depth), 32).mib, 2) == mib


def test_multiply_adds_equal_those_counted_in_a_forward_pass() -> None:
    for architecture in (plain(20), plain(20).without([True, False, False, True, True, False, True, False, False])):
        counted = 0

        def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
            nonlocal counted
            assert isinstance(module, nn.Conv2d | nn.Linear)
            per_output = module.weight[0].numel()
            counted += per_output * output[0].numel()

        network = ResNet(architecture).eval()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        network(torch.zeros(1, 3, 32, 32))
        assert counted == size_of(architecture, 32).multiply_adds


@pytest.mark.parametrize(("depth", "after"), [(110, 9), (20, 1), (8, 0)])
def test_the_side_head_sits_in_the_middle_of_the_middle_stage(experiments: Registry, depth: int, after: int) -> None:
    data = experiments.datasets["cifar10"]
    run = Run(dataset="cifar10", depth=depth, method="standard_side")
    network = ResNet(architecture_of(run, data, data.recipe))
    n = (depth - 2) // 6
    assert network.side_unit == n + after
    logits, side = network(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    assert side is not None
    assert side.shape == (2, 10)
    assert network.eval()(torch.zeros(2, 3, 32, 32))[1] is None


def test_a_strided_convolution_samples_as_tensorflow_same_does() -> None:
    kernel = torch.zeros(32, 16, 3, 3)
    kernel[0, 0, 0, 0] = 1  # reads the top left of its window: with SAME that is pixel (2i, 2j) itself
    image = torch.arange(64.0).reshape(1, 1, 8, 8).repeat(1, 16, 1, 1)
    seen = {}
    for padding in ("same", "symmetric"):
        block = Block(16, 32, False, Architecture(3, 10, ((0,),) * 3, stride_padding=padding))
        block.conv1.weight.data = kernel
        block.conv1.register_forward_hook(lambda _m, _i, out, p=padding: seen.update({p: out[0, 0]}))
        block(image)
    assert torch.equal(seen["same"], image[0, 0, ::2, ::2])
    assert torch.equal(seen["symmetric"], F.pad(image[0, 0], (1, 0, 1, 0))[:-1:2, :-1:2])


def test_the_shortcut_pools_and_pads_channels_equally_on_both_sides() -> None:
    x = torch.rand(2, 16, 8, 8)
    y = Shortcut(16, 32)(x)
    assert torch.equal(y[:, 8:24], F.avg_pool2d(x, 2))
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_the_very_first_block_alone_has_no_pre_activation() -> None:
    assert [block.norm1 is None for block in ResNet(plain(20)).blocks] == [True] + [False] * 8


def test_initial_weights_have_the_reference_codes_variance_and_are_truncated() -> None:
    network = ResNet(plain(20))
    initialise(network, "variance_scaling", stream(0, "weights"))
    weight = network.blocks[8].conv2.weight.detach()
    std = (1.3 * 2 / (9 * 64)) ** 0.5
    assert float(weight.abs().max()) <= 2 * std
    assert float(weight.std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)  # 1.3 makes up for the truncation
    assert not network.head.linear.bias.any()


def test_with_the_papers_gaussian_every_block_is_dead_at_the_first_step() -> None:
    torch.manual_seed(0)
    images = torch.randn(128, 3, 32, 32)
    for scheme, expected in (("gaussian", True), ("variance_scaling", False)):
        network = ResNet(Architecture(3, 10, (tuple(range(3)),) * 3, epsilon=2.5))
        initialise(network, scheme, stream(0, "weights"))
        network(images)
        assert all(block.closed for block in network.blocks) == expected

"""Sizes and multiply-adds: the published ones, and those of real networks."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.measure.size import size_of
from eps_resnet.method.networks.architecture import Architecture, architecture_of
from eps_resnet.method.networks.resnet import ResNet
from tests.method.test_networks import imagenet, plain


@pytest.mark.parametrize(("depth", "mib"), [(110, 6.59), (200, 12.15), (500, 30.70), (752, 46.27)])
def test_sizes_equal_the_published_ones(depth: int, mib: float) -> None:
    assert round(size_of(plain(depth), 32).mib, 2) == mib


@pytest.mark.parametrize(("depth", "mib", "with_side"), [(101, 169.9, 173.8), (152, 229.6, 233.5)])
def test_imagenet_sizes_equal_the_published_ones_with_the_side_head_counted(
    experiments: Registry, depth: int, mib: float, with_side: float
) -> None:
    run = Run(dataset="imagenet", depth=depth, method="standard_side")
    architecture = architecture_of(experiments.experiment_of(run, Layout()))
    assert round(size_of(architecture.plain(), 224).mib, 1) == mib
    assert round(size_of(architecture, 224).mib, 1) == with_side


@settings(max_examples=15)
@given(st.sampled_from(["cifar", "imagenet"]), st.lists(st.booleans(), min_size=12, max_size=12), st.booleans())
def test_sizes_are_counted_as_a_real_network_has_them(
    family: Literal["cifar", "imagenet"], discarded: list[bool], has_side: bool
) -> None:
    kept = tuple(tuple(range(3)) for _ in range(3 if family == "cifar" else 4))
    side = (1, 1) if has_side else None
    whole = Architecture(family, 3, 10, kept, side_after=side)
    for architecture in (whole, whole.without(discarded[: sum(map(len, kept))])):
        with torch.device("meta"):
            network, counted = ResNet(architecture).eval(), []
            image = torch.zeros(1, 3, 32, 32)

        def count(module: nn.Module, _: object, output: torch.Tensor, counted: list[int] = counted) -> None:
            assert isinstance(module.weight, torch.Tensor)
            counted.append(output[0].numel() * module.weight[0].numel())  # each output is a sum over one filter

        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_hook(count)
        network(image)
        size = size_of(architecture, 32)
        assert size.multiply_adds == sum(counted)
        assert size.parameters == sum(parameter.numel() for parameter in network.parameters())


def test_resnet_101_costs_what_is_known_of_it() -> None:
    # He et al. (CVPR 2016, Table 1) count 7.6e9 for ResNet-101, whose stride sits on the 1x1 convolution
    assert size_of(imagenet(101), 224).multiply_adds == pytest.approx(7.8e9, rel=0.01)

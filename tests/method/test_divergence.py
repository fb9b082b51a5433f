"""Where numbers stop being finite, it is said which layer was first."""

import math

import pytest
import torch

from eps_resnet.method.divergence import DivergenceError, first_not_finite, require_finite_weights
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.resnet import ResNet


def network() -> ResNet:
    torch.manual_seed(0)
    return ResNet(Architecture("cifar", 1, 10, ((0, 1),) * 3))


def test_the_first_layer_that_is_not_finite_is_named_not_those_after_it() -> None:
    net, images = network(), torch.randn(4, 1, 8, 8)
    assert "every layer's results are finite" in first_not_finite(net, images)
    net.units[2].convs[1].weight.data[0, 0, 0, 0] = math.nan  # type: ignore[attr-defined]
    assert first_not_finite(net, images).startswith("layer units.2.convs.1 ")
    net.stem[1].weight.data[0] = math.inf  # type: ignore[index,union-attr]
    assert first_not_finite(net, images).startswith("layer stem.1 ")
    assert "batch itself" in first_not_finite(net, torch.full((4, 1, 8, 8), math.nan))


def test_weights_that_are_not_finite_are_not_saved() -> None:
    net = network()
    require_finite_weights(net, 7)
    net.units[1].norms[0].running_var[0] = math.inf  # type: ignore[attr-defined]
    with pytest.raises(DivergenceError, match=r"After step 7, units\.1\.norms\.0\.running_var is no longer finite"):
        require_finite_weights(net, 7)

"""Pruning: the plain network does what the gated one did, exactly when METHOD says so."""

from copy import deepcopy
from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eps_resnet.measure.prune import prune
from eps_resnet.measure.size import size_of
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.streams import stream

BLOCKS = 9


def gated_network(seed: int) -> ResNet:
    network = ResNet(Architecture("cifar", 3, 10, (tuple(range(3)),) * 3, side_after=(1, 1), gated=True))
    initialise(network, "variance_scaling", stream(seed, "weights"))
    network.set_epsilon(1.0)
    return network.eval()


@cache
def imagenet_network() -> ResNet:
    """A block in each stage, and one more in the second."""
    network = ResNet(Architecture("imagenet", 3, 10, ((0,), (0, 1), (0,), (0,)), side_after=(2, 0), gated=True))
    initialise(network, "variance_scaling", stream(0, "weights"))
    for block in network.blocks:
        if block.entry is not None:  # so that leaving it out shows
            torch.nn.init.uniform_(block.entry.weight, 0.5, 2, generator=stream(1, "scale"))
    network.set_epsilon(1e-3)
    return network.eval()


@given(st.lists(st.booleans(), min_size=BLOCKS, max_size=BLOCKS), st.integers(0, 1000))
def test_gated_and_pruned_logits_are_equal_when_each_gate_is_as_pruning_takes_it(
    discarded: list[bool], seed: int
) -> None:
    network = gated_network(seed)
    with torch.no_grad():
        for block, gone in zip(network.blocks, discarded, strict=True):
            if gone:
                block.weights[-1].mul_(1e-6)
            block.epsilon = 1e-3
        images = torch.randn(4, 3, 16, 16)
        logits, _ = network(images)
        assert [block.decision.closed for block in network.blocks] == discarded
        assert torch.equal(prune(network, discarded)(images)[0], logits)


@settings(max_examples=12)
@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_pruning_an_imagenet_block_keeps_its_projection_and_the_pre_activation_before_it(discarded: list[bool]) -> None:
    network = deepcopy(imagenet_network())
    with torch.no_grad():
        for block, gone in zip(network.blocks, discarded, strict=True):
            if gone:
                block.weights[-1].mul_(1e-6)
        images = torch.randn(2, 3, 32, 32, generator=stream(0, "images"))
        logits, _ = network(images)
        assert [block.decision.closed for block in network.blocks] == discarded
        pruned = prune(network, discarded)
        assert torch.equal(pruned(images)[0], logits)
    assert sum(p.numel() for p in pruned.parameters()) == size_of(pruned.architecture, 32).parameters


def test_a_kept_block_whose_gate_closes_is_run_by_the_pruned_network() -> None:
    network = gated_network(0)
    network.set_epsilon(1e9)
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert not torch.equal(prune(network, [False] * BLOCKS)(images)[0], network(images)[0])


@given(st.lists(st.booleans(), min_size=BLOCKS, max_size=BLOCKS))
def test_the_pruned_network_has_the_counted_size_and_no_gates(discarded: list[bool]) -> None:
    pruned = prune(gated_network(0), discarded)
    assert len(pruned.blocks) == BLOCKS - sum(discarded)
    assert sum(p.numel() for p in pruned.parameters()) == size_of(pruned.architecture, 32).parameters
    assert pruned.side_head is None
    assert all(block.epsilon is None for block in pruned.blocks)

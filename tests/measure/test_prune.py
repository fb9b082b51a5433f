"""Pruning: the plain network does what the gated one did, exactly when METHOD says so; sizes and kept blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.measure.evaluate import evaluate
from eps_resnet.measure.prune import load_pruned, prune, prune_run
from eps_resnet.measure.size import size_of
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.streams import stream
from eps_resnet.method.train import train
from tests.conftest import change

BLOCKS = 9


def gated_network(seed: int) -> ResNet:
    network = ResNet(Architecture("cifar", 3, 10, (tuple(range(3)),) * 3, side_after=(1, 1), epsilon=1.0))
    initialise(network, "variance_scaling", stream(seed, "weights"))
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
        assert [block.closed for block in network.blocks] == discarded
        assert torch.equal(prune(network, discarded)(images)[0], logits)


@settings(max_examples=12)
@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_pruning_an_imagenet_block_keeps_its_projection_and_the_pre_activation_before_it(discarded: list[bool]) -> None:
    network = ResNet(Architecture("imagenet", 3, 10, ((0,), (0, 1), (0,), (0,)), side_after=(2, 0), epsilon=1e-3))
    initialise(network, "variance_scaling", stream(0, "weights"))
    network.eval()
    with torch.no_grad():
        for block, gone in zip(network.blocks, discarded, strict=True):
            if block.entry is not None:
                block.entry.weight.uniform_(0.5, 2, generator=stream(1, "scale"))  # so that leaving it out shows
            if gone:
                block.weights[-1].mul_(1e-6)
        images = torch.randn(2, 3, 64, 64, generator=stream(0, "images"))
        logits, _ = network(images)
        assert [block.closed for block in network.blocks] == discarded
        pruned = prune(network, discarded)
        assert torch.equal(pruned(images)[0], logits)
    assert sum(p.numel() for p in pruned.parameters()) == size_of(pruned.architecture, 64).parameters


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


def test_metrics_agree_with_themselves_and_with_the_history(small: tuple[Registry, Layout]) -> None:
    experiments, layout = small
    for key in experiments.runs:
        train(experiments, layout, key, torch.device("cpu"), 1)
        prune_run(experiments, layout, key)
        evaluate(experiments, layout, key)
        metrics = read_json(layout.metrics(key))
        assert metrics["discarded"] == sum(metrics["blocks"]) - sum(metrics["kept"])
        assert metrics["error"]["settled"] is None  # two epochs at the full rate: nothing has settled
        assert not metrics["settled"]
        assert metrics["error"]["gated"] == metrics["error"]["final"]  # same weights, same batches
        equal = metrics["agreement"]["equal"] / metrics["agreement"]["images"]
        if not metrics["agreement"]["batches_with_other_gates"]:
            assert equal == 1
            assert metrics["error"]["gated"] == metrics["error"]["pruned"]
        assert metrics["layers"]["kept"] == 2 + 2 * sum(metrics["kept"])


def rewrite(layout: Layout, key: str, weights: dict[str, torch.Tensor], facts: dict[str, object]) -> None:
    """Writes another trained network, with the manifest that names it."""
    tensors.write(layout.model(key), weights, facts)
    change(layout.manifest(key), model_sha256=sha256(layout.model(key)))


@pytest.mark.parametrize("discarded", [[False, True, False], [True, True, True], [True, False, True]])
def test_discarded_blocks_go_through_the_files_to_the_metrics(
    small: tuple[Registry, Layout], discarded: list[bool]
) -> None:
    """Two epochs discard nothing, so the trained file is rewritten as if these blocks had collapsed."""
    experiments, layout = small
    key = "digits-8-epsilon_side-2p5-s0"
    train(experiments, layout, key, torch.device("cpu"), 1)
    weights, facts = tensors.read(layout.model(key), "")
    for unit, gone in enumerate(discarded):
        if gone:
            weights[f"units.{unit}.convs.1.weight"] *= 1e-6
    rewrite(layout, key, weights, {**facts, "discarded": discarded})
    prune_run(experiments, layout, key)
    evaluate(experiments, layout, key)
    metrics = read_json(layout.metrics(key))
    assert metrics["kept"] == [int(not gone) for gone in discarded]
    assert metrics["discarded"] == sum(discarded)
    assert metrics["agreement"]["discarded_gates_that_opened"] == 0
    assert metrics["after"]["parameters"] == sum(p.numel() for p in load_pruned(experiments, layout, key).parameters())
    assert metrics["compression"]["size_mib_by_block_ratio"] == pytest.approx(
        metrics["before"]["size_mib"] * (3 - sum(discarded)) / 3
    )


def test_a_pruned_network_of_another_training_is_refused(small: tuple[Registry, Layout]) -> None:
    experiments, layout = small
    key = "digits-8-standard-s0"
    train(experiments, layout, key, torch.device("cpu"), 1)
    prune_run(experiments, layout, key)
    weights, facts = tensors.read(layout.model(key), "")
    rewrite(layout, key, weights, {**facts, "epoch": 1})
    with pytest.raises(UserError, match="is of another training; run `eps-resnet prune"):
        evaluate(experiments, layout, key)

"""Evaluation of a run: its metrics fit its files, and blocks that training discards are gone."""

import pytest
import torch
from eps_resnet.measure.evaluate import evaluate
from eps_resnet.method.train import train

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.atomic import read_json
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.measure.prune import load_pruned, prune_run
from tests.conftest import change


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

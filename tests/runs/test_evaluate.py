"""Evaluation of a run: its metrics fit its files, and the blocks that training discards are gone."""

import pytest
import torch

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError
from eps_resnet.method.networks.layers import Conv
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Metrics
from eps_resnet.runs.evaluate import evaluate
from eps_resnet.runs.networks import load_pruned, prune_run
from tests.conftest import change

Small = tuple[Registry, Layout]
GATED, STANDARD = "digits-8-epsilon_side-2p5-s0", "digits-8-standard-s0"


def metrics_of(experiment: Experiment) -> Metrics:
    metrics = records.read(Metrics, experiment.files.metrics)
    assert metrics is not None
    return metrics


def test_metrics_agree_with_themselves_and_with_the_history(trained: Small) -> None:
    for key in trained[0].runs:
        metrics = metrics_of(trained[0].experiment(key, trained[1]))
        assert metrics.discarded == sum(metrics.blocks) - sum(metrics.kept)
        assert metrics.error.settled is None  # two epochs at the full rate: nothing has settled
        assert not metrics.settled
        assert metrics.error.gated == metrics.error.final  # same weights, same batches
        if not metrics.agreement.batches_with_other_gates:
            assert metrics.agreement.equal == metrics.agreement.images
            assert metrics.error.gated == metrics.error.pruned
        assert metrics.layers.kept == 2 + 2 * sum(metrics.kept)


def rewrite(experiment: Experiment, weights: dict[str, torch.Tensor], facts: dict[str, object]) -> None:
    """Writes another trained network, with the manifest that names it."""
    tensors.write(experiment.files.model, weights, facts)
    change(experiment.files.manifest, model_sha256=sha256(experiment.files.model))


@pytest.mark.parametrize("discarded", [[False, True, False], [True, True, True], [True, False, True]])
def test_discarded_blocks_go_through_the_files_to_the_metrics(trained: Small, discarded: list[bool]) -> None:
    """Two epochs discard nothing, so the trained file is rewritten as if these blocks had collapsed."""
    experiment = trained[0].experiment(GATED, trained[1])
    weights, facts = tensors.read(experiment.files.model, "")
    weights = {name: tensor.clone() for name, tensor in weights.items()}  # the file they lie in is replaced
    for unit, gone in enumerate(discarded):
        if gone:
            weights[f"units.{unit}.convs.1.weight"] *= 1e-6
    rewrite(experiment, weights, {**facts, "discarded": discarded})
    prune_run(experiment)
    evaluate(experiment)
    metrics = metrics_of(experiment)
    assert metrics.kept == [int(not gone) for gone in discarded]
    assert metrics.discarded == sum(discarded)
    assert metrics.agreement.discarded_gates_that_opened == 0
    assert metrics.after.parameters == sum(p.numel() for p in load_pruned(experiment).parameters())
    size = metrics.before.size_mib * (3 - sum(discarded)) / 3
    assert metrics.compression.size_mib_by_block_ratio == pytest.approx(size)


def test_evaluation_has_weights_in_the_memory_format_of_its_inputs(
    trained: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats: list[tuple[bool, bool]] = []
    really = Conv.forward

    def look(conv: Conv, x: torch.Tensor) -> torch.Tensor:
        last = torch.channels_last
        formats.append((x.is_contiguous(memory_format=last), conv.weight.is_contiguous(memory_format=last)))
        return really(conv, x)

    monkeypatch.setattr(Conv, "forward", look)
    evaluate(trained[0].experiment(GATED, trained[1]))
    assert set(formats) == {(True, True)}


def test_a_pruned_network_of_another_training_is_refused(trained: Small) -> None:
    experiment = trained[0].experiment(STANDARD, trained[1])
    weights, facts = tensors.read(experiment.files.model, "")
    rewrite(experiment, weights, {**facts, "epoch": 1})
    with pytest.raises(UserError, match="is of another training; run `eps-resnet prune"):
        evaluate(experiment)

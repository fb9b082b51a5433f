"""Numbers that go wrong or lie at an edge: a loss that diverges, all gates closed or none, one image, one class."""

from pathlib import Path

import pytest
import torch
import yaml

from eps_resnet.data import store
from eps_resnet.data.fetch import fetch
from eps_resnet.data.store import Images
from eps_resnet.evidence.figures import write_figure
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.method.history import read_history
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Metrics
from eps_resnet.runs import checkpoint
from eps_resnet.runs.evaluate import evaluate
from eps_resnet.runs.networks import load_pruned, prune_run
from eps_resnet.runs.train import train
from tests.conftest import small_registry

CPU = torch.device("cpu")
STANDARD = "digits-8-standard-s0"


def gated(epsilon: str) -> str:
    return f"digits-8-epsilon_side-{epsilon}-s0"


def prepared(
    folder: Path, epsilon: float = 2.5, dataset: dict[str, object] | None = None, **recipe: object
) -> Registry:
    """A registry of three runs with this epsilon, and these changes of the data set and its recipe; digits fetched."""
    path = small_registry(folder / "experiments.yaml", {"epoch_steps": 3, **recipe})
    document = yaml.safe_load(path.read_text())
    document["datasets"]["digits"] |= dataset or {}
    document["datasets"]["digits"]["recipe"]["epsilons"] = [epsilon]
    runs = document["runs"]
    run = registry.Run(**{**runs.pop(gated("2p5")), "epsilon": epsilon})
    runs[run.key] = run.model_dump(exclude_none=True)
    path.write_text(yaml.safe_dump(document))
    experiments = registry.load(path)
    fetch(experiments, Layout(folder), "digits")
    return experiments


def finished(experiments: Registry, layout: Layout) -> dict[str, Metrics]:
    """The metrics of all runs, after training, pruning and evaluating."""
    found = {}
    for key in experiments.runs:
        experiment = experiments.experiment(key, layout)
        train(experiment, CPU, 1)
        prune_run(experiment)
        evaluate(experiment)
        metrics = records.read(Metrics, experiment.files.metrics)
        assert metrics is not None
        found[key] = metrics
    return found


def tables(experiments: Registry, layout: Layout) -> str:
    """What the tables of both figures say, which are drawn too."""
    for name in experiments.figures:
        write_figure(experiments, layout, name)
    return "".join((layout.tables(name) / "table.md").read_text() for name in experiments.figures)


@pytest.mark.parametrize("key", [STANDARD, gated("2p5")])
def test_a_loss_that_is_no_longer_finite_stops_the_run_with_step_layer_and_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    experiment = prepared(tmp_path, rate=1e30).experiment(key, Layout(tmp_path))
    monkeypatch.setattr(checkpoint, "SECONDS", -1)
    with pytest.raises(UserError) as error:
        train(experiment, CPU, 1)
    message = str(error.value)
    assert "The loss of step 2 is" in message
    assert "layer units." in message or "layer head." in message or "layer stem." in message
    (path,) = (tmp_path / "work").glob("*/epoch-00000-step-000000001-*.safetensors")
    assert f"The last good checkpoint is {path}." in message
    assert not experiment.files.manifest.exists()


def test_an_epsilon_so_large_that_every_gate_closes_discards_every_block_and_says_so(tmp_path: Path) -> None:
    experiments, layout = prepared(tmp_path, epsilon=1e9), Layout(tmp_path)
    key = gated("1000000000p0")
    metrics = finished(experiments, layout)[key]
    assert (metrics.discarded, metrics.kept) == (3, [0, 0, 0])
    assert metrics.agreement.equal == 360
    assert load_pruned(experiments.experiment(key, layout)).blocks == []
    text = tables(experiments, layout)
    assert f"Every block is discarded, so that stem and head are all that is left: {key}." in text


def test_an_epsilon_so_small_that_no_gate_closes_discards_nothing(tmp_path: Path) -> None:
    experiments, layout = prepared(tmp_path, epsilon=1e-9), Layout(tmp_path)
    metrics = finished(experiments, layout)[gated("0p000000001")]
    assert (metrics.discarded, metrics.kept) == (0, [1, 1, 1])
    assert metrics.error.gated == metrics.error.pruned
    assert "Every block" not in tables(experiments, layout)


@pytest.mark.parametrize("images", [1, 3])
def test_a_test_set_smaller_than_a_batch_is_evaluated_whole(tmp_path: Path, images: int) -> None:
    archive = {"name": "few", "train_images": 130, "test_images": images}
    experiments, layout = prepared(tmp_path, dataset={"archives": [archive]}), Layout(tmp_path)
    for metrics in finished(experiments, layout).values():
        assert metrics.test_images == images
        assert metrics.error.pruned in [wrong / images for wrong in range(images + 1)]


def test_one_class_is_learnt_without_error(tmp_path: Path) -> None:
    experiments, layout = prepared(tmp_path, dataset={"classes": 1}), Layout(tmp_path)
    digits = store.load(layout, "digits")
    labels = {"train_labels": 0 * digits.train_labels, "test_labels": 0 * digits.test_labels}
    archive = experiments.datasets["digits"].archives[0]
    store.save(layout, "digits", vars(Images(**{**vars(digits), **labels})), archive)
    for key, metrics in finished(experiments, layout).items():
        assert metrics.error.pruned == 0
        assert list(read_history(layout.run(key).history)["loss"]) == [0.0, 0.0]

"""Whole trainings: exact repetition and resumption, and what they write."""

import signal
from pathlib import Path

import pandas as pd
import pytest
import torch
from eps_resnet.measure.evaluate import evaluate
from eps_resnet.method.train import train, train_step

from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.atomic import read_json
from eps_resnet.files.interruption import Interrupted
from eps_resnet.measure.prune import prune_run
from eps_resnet.method import train as train_module
from eps_resnet.method.history import (
    read_history,
)
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.schedule import RateSchedule
from eps_resnet.method.state import Training
from eps_resnet.provenance.fingerprints import training_fingerprint
from tests.conftest import small_registry

GATED = "digits-8-epsilon_side-2p5-s0"


CPU = torch.device("cpu")


def results(layout: Layout, key: str) -> dict[str, bytes]:
    """The bytes of all results but the manifest, which holds durations."""
    return {p.name: p.read_bytes() for p in layout.result(key).iterdir() if p.name != "manifest.json"}


def test_a_repeated_run_gives_the_same_bytes(small: tuple[Registry, Layout]) -> None:
    experiments, layout = small
    train(experiments, layout, GATED, CPU, 1)
    first = results(layout, GATED)
    train(experiments, layout, GATED, CPU, 1)
    assert results(layout, GATED) == first
    assert set(first) == {"model.safetensors", "history.csv", "blocks.parquet"}


EVENTFUL: dict[str, object] = {  # six epochs in which everything that a checkpoint must bring back plays a part
    "epochs": {"standard": 6, "epsilon": 6},
    "rate_steps": [1, 2],
    "adaptive_steps": [1, 2],
    "weight_decay_every": 20,  # steps; the decay falls within the second epoch
}


@pytest.mark.parametrize("interrupted_after", [1, 10, 11, 12, 40, 66])  # steps; an epoch has 11
def test_an_interrupted_run_saves_first_and_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted_after: int
) -> None:
    experiments, layout = registry.load(small_registry(tmp_path / "experiments.yaml", EVENTFUL)), Layout(tmp_path)
    fetch(experiments, layout, "digits")
    # A loss of a block is made up in epoch 4, since these short runs lose none: the rate must restart in epoch 5.
    counts = {4: 1, 5: 1, 6: 1}
    observe = RateSchedule.observe_epoch
    monkeypatch.setattr(RateSchedule, "observe_epoch", lambda self, e, _, c: observe(self, e, counts.get(e, 0), c))
    train(experiments, layout, GATED, CPU, 1)
    expected = results(layout, GATED)
    assert list(read_history(layout.history(GATED))["rate"]) == pytest.approx([0.1, 0.01, 0.001, 0.001, 0.1, 0.01])
    layout.manifest(GATED).unlink()

    steps: list[int] = []

    def counted(training: Training, *args: object) -> object:
        result = train_step(training, *args)  # type: ignore[arg-type]
        steps.append(training.step)
        if len(steps) == interrupted_after:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # as Slurm does at a job's time limit
        return result

    monkeypatch.setattr(train_module, "train_step", counted)
    with pytest.raises(Interrupted, match=f"stopped by SIGTERM after step {interrupted_after}, saved in"):
        train(experiments, layout, GATED, CPU, 1)
    assert not layout.manifest(GATED).exists()
    train(experiments, layout, GATED, CPU, 1)
    assert steps == list(range(1, 67))  # each step once
    assert results(layout, GATED) == expected
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_during_the_evaluation_is_obeyed_before_it_ends(
    small: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments, layout = small
    train(experiments, layout, GATED, CPU, 1)
    expected = results(layout, GATED)
    with monkeypatch.context() as patch:
        patch.setattr(TensorBatches, "test", lambda self: iter([signal.raise_signal(signal.SIGTERM), None]))
        with pytest.raises(Interrupted, match="stopped by SIGTERM after step 11,"):
            train(experiments, layout, GATED, CPU, 1)
    train(experiments, layout, GATED, CPU, 1)
    assert results(layout, GATED) == expected


def test_what_a_kill_leaves_beside_the_checkpoints_does_not_cost_the_finished_training(
    small: tuple[Registry, Layout],
) -> None:
    experiments, layout = small
    work = layout.work(training_fingerprint(experiments, layout, GATED))
    work.mkdir(parents=True)
    (work / ".epoch-00001-step-000000011-0123456789abcdef.safetensors.77.part").write_bytes(b"half a checkpoint")
    train(experiments, layout, GATED, CPU, 1)
    assert layout.manifest(GATED).exists()
    assert not work.exists()


@pytest.mark.parametrize(
    ("recipe", "rates", "settled"),
    [
        ({"rate_steps": [1], "epsilon_start_epoch": 2}, [0.1, 0.01, 0.01], 3),  # no gates before
        ({"rate_steps": [1, 2], "epsilon_start_epoch": 2, "adaptive_steps": None}, [0.1, 0.01, 0.001], 3),
        ({"rate_steps": [1], "late_rate": {"rate": 0.05, "epoch": 2, "adaptive_epoch": 2}}, [0.1, 0.01, 0.05], 2),
    ],
)
def test_the_settled_epoch_is_gated_and_at_the_lowest_rate_and_evaluated_as_it_was(
    tmp_path: Path, recipe: dict[str, object], rates: list[float], settled: int
) -> None:
    recipe = {**recipe, "epochs": {"standard": 3, "epsilon": 3}}
    experiments, layout = registry.load(small_registry(tmp_path / "experiments.yaml", recipe)), Layout(tmp_path)
    fetch(experiments, layout, "digits")
    train(experiments, layout, GATED, CPU, 1)
    prune_run(experiments, layout, GATED)
    evaluate(experiments, layout, GATED)
    history, metrics = read_history(layout.history(GATED)).set_index("epoch"), read_json(layout.metrics(GATED))
    assert list(history["rate"]) == pytest.approx(rates)
    assert metrics["epoch"] == settled
    assert metrics["settled"] == (min(rates) <= 0.001)
    assert metrics["error"]["gated"] == history["test_error"][settled]


def test_errors_of_every_nth_epoch_are_those_of_every_epoch(tmp_path: Path) -> None:
    histories, networks, metrics = [], [], []
    for every in (1, 2):
        folder = tmp_path / str(every)
        recipe: dict[str, object] = {"epochs": {"standard": 5, "epsilon": 5}, "test_every": every}
        experiments, layout = registry.load(small_registry(folder / "experiments.yaml", recipe)), Layout(folder)
        fetch(experiments, layout, "digits")
        train(experiments, layout, GATED, CPU, threads=1)
        prune_run(experiments, layout, GATED)
        evaluate(experiments, layout, GATED)
        histories.append(read_history(layout.history(GATED)))
        networks.append(tensors.read(layout.model(GATED), "")[0])
        metrics.append(read_json(layout.metrics(GATED))["error"])
    expected = histories[0].assign(test_error=histories[0]["test_error"].where(histories[0]["epoch"].isin([2, 4, 5])))
    pd.testing.assert_frame_equal(histories[1], expected)
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())
    assert metrics[1]["best"] == expected["test_error"].min()
    assert {**metrics[0], "best": 0, "best_epoch": 0} == {**metrics[1], "best": 0, "best_epoch": 0}


def test_the_first_steps_error_falls(small: tuple[Registry, Layout]) -> None:
    experiments, layout = small
    train(experiments, layout, GATED, CPU, 1)
    history = read_history(layout.history(GATED))
    assert list(history["epoch"]) == [1, 2]
    assert history["train_error"].iloc[1] < history["train_error"].iloc[0] < 0.9

"""Whole trainings: exact repetition and resumption, and what they write."""

import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.interruption import Interrupted
from eps_resnet.method import loop
from eps_resnet.method.history import read_history
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.loop import train_step
from eps_resnet.method.schedule import RateSchedule
from eps_resnet.method.state import Training
from eps_resnet.provenance import records
from eps_resnet.provenance.fingerprints import training_fingerprint
from eps_resnet.provenance.records import Metrics
from eps_resnet.runs.evaluate import evaluate
from eps_resnet.runs.networks import prune_run
from eps_resnet.runs.train import train
from tests.conftest import prepared

Small = tuple[Registry, Layout]
GATED = "digits-8-epsilon_side-2p5-s0"
CPU = torch.device("cpu")
TRAINED = ("model.safetensors", "history.csv", "blocks.parquet")


def gated(small: Small) -> Experiment:
    return small[0].experiment(GATED, small[1])


def results(experiment: Experiment) -> dict[str, bytes]:
    """The bytes of all that a training writes but the manifest, which holds durations."""
    return {name: (experiment.files.folder / name).read_bytes() for name in TRAINED}


def metrics_of(experiment: Experiment) -> Metrics:
    metrics = records.read(Metrics, experiment.files.metrics)
    assert metrics is not None
    return metrics


def test_a_repeated_run_gives_the_same_bytes(trained: Small) -> None:
    experiment = gated(trained)
    first = results(experiment)
    train(experiment, CPU, 1)
    assert results(experiment) == first


EVENTFUL: dict[str, object] = {  # six epochs in which everything that a checkpoint must bring back plays a part
    "epochs": {"standard": 6, "epsilon": 6},
    "epoch_steps": 4,
    "rate_steps": [1, 2],
    "adaptive_steps": [1, 2],
    "weight_decay_every": 7,  # steps; the decay falls within the second epoch
}


def lose_a_block_in_epoch_4(patch: pytest.MonkeyPatch) -> None:
    """Made up, since these short runs lose none: the rate must restart in epoch 5."""
    counts, observe = {4: 1, 5: 1, 6: 1}, RateSchedule.observe_epoch
    patch.setattr(RateSchedule, "observe_epoch", lambda self, e, _, c: observe(self, e, counts.get(e, 0), c))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of the eventful run when nothing happens to it."""
    experiment = gated(prepared(tmp_path_factory.mktemp("uninterrupted"), EVENTFUL))
    with pytest.MonkeyPatch.context() as patch:
        lose_a_block_in_epoch_4(patch)
        train(experiment, CPU, 1)
    assert list(read_history(experiment.files.history)["rate"]) == pytest.approx([0.1, 0.01, 0.001, 0.001, 0.1, 0.01])
    return results(experiment)


@pytest.mark.parametrize("interrupted_after", [1, 3, 4, 5, 14, 24])  # steps; an epoch has 4
def test_an_interrupted_run_saves_first_and_resumes_to_the_same_bytes(
    tmp_path: Path, uninterrupted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, interrupted_after: int
) -> None:
    eventful = gated(prepared(tmp_path, EVENTFUL))
    lose_a_block_in_epoch_4(monkeypatch)
    steps: list[int] = []

    def counted(training: Training, *args: object) -> object:
        result = train_step(training, *args)  # type: ignore[arg-type]
        steps.append(training.step)
        if len(steps) == interrupted_after:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # as Slurm does at a job's time limit
        return result

    monkeypatch.setattr(loop, "train_step", counted)
    with pytest.raises(Interrupted, match=f"stopped by SIGTERM after step {interrupted_after}, saved in"):
        train(eventful, CPU, 1)
    assert not eventful.files.manifest.exists()
    train(eventful, CPU, 1)
    assert steps == list(range(1, 25))  # each step once
    assert results(eventful) == uninterrupted
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_during_the_evaluation_is_obeyed_before_it_ends(
    trained: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = gated(trained)
    expected = results(experiment)
    with monkeypatch.context() as patch:
        patch.setattr(TensorBatches, "test", lambda self: iter([signal.raise_signal(signal.SIGTERM), None]))
        with pytest.raises(Interrupted, match="stopped by SIGTERM after step 11,"):
            train(experiment, CPU, 1)
    train(experiment, CPU, 1)
    assert results(experiment) == expected


def test_what_a_kill_leaves_beside_the_checkpoints_does_not_cost_the_finished_training(small: Small) -> None:
    experiment = gated(small)
    work = experiment.layout.work(training_fingerprint(experiment))
    work.mkdir(parents=True)
    (work / ".epoch-00001-step-000000011-0123456789abcdef.safetensors.77.part").write_bytes(b"half a checkpoint")
    train(experiment, CPU, 1)
    assert experiment.files.manifest.exists()
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
    recipe = {**recipe, "epochs": {"standard": 3, "epsilon": 3}, "epoch_steps": 4}
    experiment = gated(prepared(tmp_path, recipe))
    train(experiment, CPU, 1)
    prune_run(experiment)
    evaluate(experiment)
    history, metrics = read_history(experiment.files.history).set_index("epoch"), metrics_of(experiment)
    assert list(history["rate"]) == pytest.approx(rates)
    assert metrics.epoch == settled
    assert metrics.settled == (min(rates) <= 0.001)
    assert metrics.error.gated == history["test_error"][settled]


def test_errors_of_every_nth_epoch_are_those_of_every_epoch(tmp_path: Path) -> None:
    histories, networks, errors = [], [], []
    for every in (1, 2):
        recipe: dict[str, object] = {"epochs": {"standard": 5, "epsilon": 5}, "epoch_steps": 3, "test_every": every}
        experiment = gated(prepared(tmp_path / str(every), recipe))
        train(experiment, CPU, 1)
        prune_run(experiment)
        evaluate(experiment)
        histories.append(read_history(experiment.files.history))
        networks.append(tensors.read(experiment.files.model, "")[0])
        errors.append(metrics_of(experiment).error.model_dump())
    expected = histories[0].assign(test_error=histories[0]["test_error"].where(histories[0]["epoch"].isin([2, 4, 5])))
    pd.testing.assert_frame_equal(histories[1], expected)
    assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())
    assert errors[1]["best"] == expected["test_error"].min()
    assert {**errors[0], "best": 0, "best_epoch": 0} == {**errors[1], "best": 0, "best_epoch": 0}


def test_the_first_steps_error_falls(trained: Small) -> None:
    history = read_history(gated(trained).files.history)
    assert list(history["epoch"]) == [1, 2]
    assert history["train_error"].iloc[1] < history["train_error"].iloc[0] < 0.9

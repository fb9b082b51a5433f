"""Training: what a closed gate's weights do, exact repetition and resumption, what is recorded."""

import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data.fetch import fetch
from eps_resnet.experiments import registry
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.atomic import read_json
from eps_resnet.files.interruption import Interrupted
from eps_resnet.measure.evaluate import evaluate
from eps_resnet.measure.prune import prune_run
from eps_resnet.method import train as train_module
from eps_resnet.method.history import (
    MOST_EPOCHS,
    Epoch,
    Gates,
    read_blocks,
    read_history,
    recorded_epochs,
    write_blocks,
    write_history,
)
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.inputs.open import open_batches
from eps_resnet.method.networks.architecture import Architecture
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.schedule import RateSchedule
from eps_resnet.method.state import Training
from eps_resnet.method.streams import stream
from eps_resnet.method.train import train, train_epoch, train_step
from eps_resnet.provenance.fingerprints import training_fingerprint
from tests.conftest import small_registry

GATED = "digits-8-epsilon_side-2p5-s0"
CPU = torch.device("cpu")


def new_training(experiments: Registry, epsilon: float, **recipe: object) -> Training:
    changed = experiments.datasets["digits"].recipe.model_copy(update=recipe)
    network = ResNet(Architecture("cifar", 1, 10, (tuple(range(2)),) * 3, side_after=(1, 1), epsilon=epsilon))
    initialise(network, "variance_scaling", stream(0, "weights"))
    return Training(Run(dataset="digits", depth=14, method="epsilon_side", epsilon=epsilon), changed, network)


def test_weights_behind_a_closed_gate_follow_decay_and_momentum_exactly(experiments: Registry) -> None:
    training = new_training(experiments, epsilon=1e-9)
    rate, decay, momentum = 0.1, training.recipe.weight_decay, training.recipe.momentum
    inputs, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    for _ in range(3):  # all gates open: momentum builds up
        train_step(training, inputs, labels, rate)
    training.network.set_epsilon(1e9)
    blocks = training.network.blocks
    weights = [[w.clone() for w in b.weights] for b in blocks]
    buffers = [tuple(training.optimizer.state[w]["momentum_buffer"].clone() for w in b.weights) for b in blocks]
    scale, scale_buffer = blocks[2].norms[1].weight.clone(), None
    scale_buffer = training.optimizer.state[blocks[2].norms[1].weight]["momentum_buffer"].clone()
    for _ in range(5):
        train_step(training, inputs, labels, rate)
        assert all(block.closed for block in blocks)
        for i, block in enumerate(blocks):
            for j, weight in enumerate(block.weights):
                expected_buffer = momentum * buffers[i][j] + decay * weights[i][j]
                expected = weights[i][j] - rate * expected_buffer
                torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-9)
                state = training.optimizer.state[weight]["momentum_buffer"]
                torch.testing.assert_close(state, expected_buffer, rtol=1e-6, atol=1e-9)
            weights[i] = [w.clone() for w in block.weights]
            buffers[i] = tuple(training.optimizer.state[w]["momentum_buffer"].clone() for w in block.weights)
    for _ in range(5):  # batch-norm scales do not decay: they coast on their momentum alone
        scale_buffer = momentum * scale_buffer
        scale = scale - rate * scale_buffer
    torch.testing.assert_close(blocks[2].norms[1].weight, scale, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("decay_on", ["weights", "all"])
def test_what_decays_behind_a_closed_gate_is_what_the_recipe_names(experiments: Registry, decay_on: str) -> None:
    training = new_training(experiments, 1e9, decay_on=decay_on)
    norm = training.network.blocks[2].norms[1]
    inputs, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    train_step(training, inputs, labels, 0.1)
    decayed = torch.full_like(norm.weight, 1 - 0.1 * training.recipe.weight_decay)
    torch.testing.assert_close(norm.weight.detach(), decayed if decay_on == "all" else torch.ones_like(norm.weight))
    weight = training.network.blocks[2].weights[0].detach().clone()
    train_step(training, inputs, labels, 0.1)
    assert float(training.network.blocks[2].weights[0].detach().norm()) < float(weight.norm())


def test_the_optimiser_is_the_recipes(experiments: Registry) -> None:
    """SGD with momentum; Nesterov's looks ahead: rate x (gradient + momentum x buffer) instead of rate x buffer."""
    inputs, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    moved = {}
    for nesterov in (False, True):
        training = new_training(experiments, 1e-9, nesterov=nesterov, weight_decay=0.0)
        bias = training.network.head.linear.bias
        before = bias.detach().clone()
        train_step(training, inputs, labels, 0.1)  # the first buffer is the gradient itself
        moved[nesterov] = bias.detach() - before
    torch.testing.assert_close(moved[True], (1 + training.recipe.momentum) * moved[False])


def test_skipping_a_closed_blocks_backward_pass_equals_a_gradient_of_exact_zeros(experiments: Registry) -> None:
    """The shortcut taken for speed against multiplying the residual by zero, the paper's construction."""
    inputs, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    skipping, multiplying = new_training(experiments, 1e9), new_training(experiments, 1e9)
    for block in multiplying.network.blocks:
        block.forward = lambda x, b=block: b.shortcut(x) + 0 * b.residual(x)  # type: ignore[method-assign]
    for _ in range(4):
        for training in (skipping, multiplying):
            train_step(training, inputs, labels, 0.1)
    for a, b in zip(skipping.network.parameters(), multiplying.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_side_heads_loss_counts_a_tenth(experiments: Registry) -> None:
    training = new_training(experiments, 1e-9)
    inputs, labels = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    head = training.network.side_head
    assert head is not None
    _, side = training.network(inputs)
    (0.1 * torch.nn.functional.cross_entropy(side, labels)).backward()
    expected = head.linear.bias.grad.clone()
    training.optimizer.zero_grad(set_to_none=False)
    before = head.linear.bias.detach().clone()
    train_step(training, inputs, labels, 0.5)
    torch.testing.assert_close(before - head.linear.bias, 0.5 * expected)


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


def test_the_settled_network_is_that_of_the_latest_epoch_at_the_lowest_rate(
    small: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments, layout = small
    data = experiments.datasets["digits"]
    batches = open_batches(experiments, layout, experiments.runs[GATED], CPU)
    training = new_training(experiments, 2.5)
    training.schedule.restarted_after = -100  # the steps of a restart long ago: the lowest rate at once
    record = train_epoch(training, batches)
    assert record.rate == pytest.approx(data.recipe.rate / 100)
    kept = training.settled
    training.schedule.restarted_after = 1  # back to the start rate
    assert train_epoch(training, batches).rate == data.recipe.rate
    assert training.settled is kept
    assert kept.epoch == 1


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


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=20), st.integers(1, 25))
def test_a_block_is_discarded_when_closed_in_every_batch_of_the_window(closed: list[list[bool]], window: int) -> None:
    gates = Gates.of(torch.tensor(closed), window)
    last = closed[-window:]
    assert gates.discarded == [all(step[block] for step in last) for block in range(3)]
    assert gates.flickered == sum(0 < sum(step[block] for step in last) < len(last) for block in range(3))
    assert gates.closed_mean == pytest.approx(np.mean([sum(step) for step in closed]))


def test_block_histories_of_the_deepest_run_stay_small_and_come_back(tmp_path: Path) -> None:
    epochs, blocks = 1000, 375
    draw = np.random.default_rng(0)
    collapse = np.exp(-np.arange(epochs) / 50.0)[:, None, None]  # noise on a decay: hard to compress
    noise = 1 + 0.05 * draw.standard_normal((epochs, blocks, 5))
    percentiles = (np.array([-0.3, -0.05, 0, 0.05, 0.3]) * collapse * noise).astype(np.float16)
    closed = draw.integers(0, 239, (epochs, blocks))
    write_blocks(tmp_path / "blocks.parquet", closed, 238, percentiles)
    assert (tmp_path / "blocks.parquet").stat().st_size < 300_000
    table = read_blocks(tmp_path / "blocks.parquet")
    assert len(table) == 101 * blocks
    row = table[(table["block"] == 200) & (table["epoch"] == 700)].iloc[0]
    assert (row["closed"], row["window"]) == (int(closed[699, 200]), 238)
    assert row["p25"] == float(percentiles[699, 200, 1])


@given(st.integers(1, 2000))
def test_about_a_hundred_epochs_are_recorded_evenly_with_the_first_and_the_last(epochs: int) -> None:
    recorded = recorded_epochs(epochs)
    assert (recorded[0], recorded[-1]) == (1, epochs)
    assert len(recorded) <= MOST_EPOCHS + 2
    assert epochs > MOST_EPOCHS or recorded == list(range(1, epochs + 1))
    assert len({later - earlier for earlier, later in pairwise(recorded[1:-1])}) <= 1


@given(st.floats(0, 1e3), st.floats(0, 1))
def test_histories_keep_every_number_exactly(
    tmp_path_factory: pytest.TempPathFactory, loss: float, error: float
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    write_history(path, [Epoch(1, 0.1, 2.5, loss, error, error, 3, 1, 2.5)])
    read = read_history(path).iloc[0]
    assert (read["loss"], read["test_error"], read["discarded"]) == (loss, error, 3)

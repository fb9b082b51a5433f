"""The training loop: what a closed gate's weights do, the optimiser, the losses, the network that is kept."""

import pytest
import torch

from eps_resnet.experiments.registry import Registry
from eps_resnet.method import history
from eps_resnet.method.history import Epoch, Gates
from eps_resnet.method.loop import keep_snapshots, train_epoch, train_step
from tests.method.trainings import batch, batches_of, new_training


def test_weights_behind_a_closed_gate_follow_decay_and_momentum_exactly(experiments: Registry) -> None:
    training = new_training(experiments, epsilon=1e-9)
    rate, decay, momentum = 0.1, training.recipe.weight_decay, training.recipe.momentum
    inputs, labels = batch()
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
        assert all(block.decision.closed for block in blocks)
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
    inputs, labels = batch()
    train_step(training, inputs, labels, 0.1)
    decayed = torch.full_like(norm.weight, 1 - 0.1 * training.recipe.weight_decay)
    torch.testing.assert_close(norm.weight.detach(), decayed if decay_on == "all" else torch.ones_like(norm.weight))
    weight = training.network.blocks[2].weights[0].detach().clone()
    train_step(training, inputs, labels, 0.1)
    assert float(training.network.blocks[2].weights[0].detach().norm()) < float(weight.norm())


def test_the_optimiser_is_the_recipes(experiments: Registry) -> None:
    """SGD with momentum; Nesterov's looks ahead: rate x (gradient + momentum x buffer) instead of rate x buffer."""
    inputs, labels = batch()
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
    inputs, labels = batch()
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
    inputs, labels = batch()
    head = training.network.side_head
    assert head is not None
    _, side = training.network(inputs)
    (0.1 * torch.nn.functional.cross_entropy(side, labels)).backward()
    expected = head.linear.bias.grad.clone()
    training.optimizer.zero_grad(set_to_none=False)
    before = head.linear.bias.detach().clone()
    train_step(training, inputs, labels, 0.5)
    torch.testing.assert_close(before - head.linear.bias, 0.5 * expected)


def gates_of(flickered: int) -> Gates:
    return Gates(
        closed=(1,) * flickered + (2,) * (6 - flickered), least_responses=(1.0,) * 6, window=2, closed_mean=3.0
    )


@pytest.mark.parametrize(
    ("epochs", "settled", "latest"),
    [  # rate and flickering gates of each epoch
        ([(0.1, 0), (0.01, 2), (0.01, 1), (0.01, 3)], 3, 4),
        ([(0.1, 0), (0.01, 1), (0.01, 1), (0.1, 0)], 3, 3),
        ([(0.01, 0), (0.001, 4), (0.1, 0)], 2, 2),
        ([(0.1, 5), (0.1, 0), (0.1, 6)], 2, 3),
    ],
)
def test_the_settled_network_has_the_fewest_flickering_gates_at_the_lowest_rate_and_the_latest_is_kept_too(
    experiments: Registry, epochs: list[tuple[float, int]], settled: int, latest: int
) -> None:
    training = new_training(experiments, 2.5)
    for number, (rate, flickered) in enumerate(epochs, start=1):
        torch.nn.init.constant_(training.network.head.linear.bias, number)
        record = Epoch(number, rate, 2.5, 1.0, 0.5, 0.5, 6 - flickered, flickered, 3.0)
        keep_snapshots(training, record, gates_of(flickered))
    assert (training.settled.epoch, training.latest.epoch) == (settled, latest)
    assert training.settled.weights["head.linear.bias"][0] == settled
    assert training.latest.weights["head.linear.bias"][0] == latest
    assert bool(training.latest_weights()) == (settled != latest)


def test_the_settled_network_is_that_of_the_latest_epoch_at_the_lowest_rate(experiments: Registry) -> None:
    training = new_training(experiments, 2.5)
    batches = batches_of(training, 128)
    training.schedule.restarted_after = -100  # the steps of a restart long ago: the lowest rate at once
    record = train_epoch(training, batches)
    assert record.rate == pytest.approx(training.recipe.rate / 100)
    kept = training.settled
    training.schedule.restarted_after = 1  # back to the start rate
    assert train_epoch(training, batches).rate == training.recipe.rate
    assert training.settled is kept
    assert kept.epoch == 1


def test_weight_percentiles_are_computed_in_recorded_epochs_alone(
    experiments: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = new_training(experiments, 2.5, epochs={"standard": 5, "epsilon": 5})
    batches = batches_of(training, 128)
    monkeypatch.setattr(history, "MOST_ROWS", 15)  # of 5 epochs of 6 blocks every second one
    for _ in range(5):
        train_epoch(training, batches)
    recorded = [not bool(percentiles.isnan().any()) for percentiles in training.percentiles]
    assert recorded == [True, True, False, True, True]
    assert history.recorded_epochs(5, 6) == [1, 2, 4, 5]

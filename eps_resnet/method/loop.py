"""The training loop: a step of SGD, an epoch of steps, and what follows at an epoch's end."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.method.certificate import certify
from eps_resnet.method.divergence import require_finite_loss
from eps_resnet.method.history import Epoch, Gates, no_percentiles, recorded_epochs, weight_percentiles
from eps_resnet.method.inputs.batches import Batches
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.parallel import Share
from eps_resnet.method.predict import predict
from eps_resnet.method.schedule import epsilon_of, weight_decay
from eps_resnet.method.state import Snapshot, Training
from eps_resnet.method.streams import stream


def new_training(experiment: Experiment, device: torch.device, share: Share = Share()) -> Training:
    """A training before its first step, its weights drawn from the run's seed."""
    network = ResNet(architecture_of(experiment, share.of))
    initialise(network, experiment.recipe.initialisation, stream(experiment.run.seed, "weights"))
    return Training(experiment, network.place(device), share)


def train_epoch(training: Training, batches: Batches, after_step: Callable[[], None] = lambda: None) -> Epoch:
    """One epoch of steps, or what is left of it, then one evaluation; returns its record.

    `after_step` is called where the training can be saved, and may raise Interrupted. The record's test error is
    process 0's alone to measure; elsewhere, and in epochs that the recipe does not test, it is NaN.
    """
    network, epoch, epsilon = training.network, training.epoch + 1, 0.0
    if training.run.epsilon is not None:
        epsilon = epsilon_of(training.recipe, training.run.epsilon, epoch)
        network.set_epsilon(epsilon)
    rate = training.schedule.rate(epoch)
    network.train()
    for inputs, labels in batches.training(epoch, skip=len(training.gates)):
        loss, logits = train_step(training, inputs, labels, rate)
        training.count_step(loss, logits, labels)
        after_step()
    training.gather()
    return finish_epoch(training, batches, rate, epsilon)


def train_step(training: Training, batch: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One step of SGD on inputs (N, C, H, W) and labels (N,). Returns the loss of the main head and its logits.

    Raises DivergenceError, with the weights as they were before the step, if the loss is not finite.
    """
    for group in training.optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = weight_decay(training.recipe, training.step) if group["decays"] else 0.0
    batch = batch.contiguous(memory_format=torch.channels_last)
    step = _late_step if training.network.is_late else _step
    loss, logits = step(training, batch, labels)
    training.step += 1
    return loss, logits


def _step(training: Training, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    total, loss, logits = _forward(training, batch, labels)
    require_finite_loss(float(total.detach()), training.network, batch, training.step)
    total.backward()  # type: ignore[no-untyped-call]
    training.update()
    return loss, logits


def _late_step(training: Training, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Waits for the device once, at its end: only then are the loss and the late decisions read.

    Until then the device itself withholds an update that must not be: of a loss that is not finite, or where a block
    was open after all that was expected to be closed. The pass was then not the network's, and the step is made again,
    from the same running statistics, with that block computed like the others.
    """
    network = training.network
    if network.expects_closed():
        training.statistics.keep()
    while True:
        total, loss, logits = _forward(training, batch, labels)
        total.backward()  # type: ignore[no-untyped-call]
        training.update(network.is_unusable(total.detach()))
        (value,) = network.read_late(total.detach())
        is_finite, opened = math.isfinite(value), network.opened_unexpectedly()
        if training.step == 0 and (opened or not is_finite):
            training.optimizer.state.clear()  # the momentum that a first update would have made was never written
        if not opened:
            require_finite_loss(value, network, batch, training.step)
            return loss, logits
        training.statistics.bring_back()


def _forward(training: Training, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The loss that is trained on, and without gradients the main head's loss and logits."""
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=training.recipe.precision == "bfloat16"):
        logits, side = training.model(batch)
    loss = F.cross_entropy(logits.float(), labels)
    total = loss if side is None else loss + training.recipe.side_weight * F.cross_entropy(side.float(), labels)
    return total, loss.detach(), logits.detach().float()


def finish_epoch(training: Training, batches: Batches, rate: float, epsilon: float) -> Epoch:
    """What follows the steps of an epoch: evaluate, adapt the rate, record, keep the settled network, certify."""
    decisions, responses = torch.stack(training.gates), torch.stack(training.responses)
    gates = Gates.of(decisions, responses / (epsilon or math.nan), training.recipe.discard_window)
    test_error = _evaluate(training, batches, gates.discarded)
    training.schedule.observe_epoch(training.epoch + 1, sum(gates.discarded), decisions.sum(1).tolist())
    record = _record(training, gates, rate, epsilon, test_error)
    keep_snapshots(training, record, gates)
    certify(training, gates.discarded, batches.size)
    if training.share.of == 1:  # several processes compute every block's gradient: none may lack one alone
        training.network.expect_closed(gates.discarded)
    return record


def _evaluate(training: Training, batches: Batches, discarded: list[bool]) -> float:
    """The test error of the epoch, gates on; NaN where the recipe does not test, and in all processes but the first."""
    epoch, recipe = training.epoch + 1, training.recipe
    if recipe.discarded_in_evaluation == "identity":
        training.network.set_discarded(discarded)
    is_tested = epoch % recipe.test_every == 0 or epoch == training.experiment.epochs
    if not is_tested or training.share.index > 0:
        return math.nan
    return predict(training.network, batches, interruptible=training.share.of == 1).error


def _record(training: Training, gates: Gates, rate: float, epsilon: float, test_error: float) -> Epoch:
    """Counts the epoch as finished, and returns what is recorded of it."""
    loss_sum, errors, seen = training.summed()
    record = Epoch(
        epoch=training.epoch + 1,
        rate=rate,
        epsilon=epsilon,
        loss=loss_sum / seen,
        train_error=errors / seen,
        test_error=test_error,
        discarded=sum(gates.discarded),
        flickered=gates.flickered,
        closed_mean=gates.closed_mean,
    )
    is_recorded = record.epoch in recorded_epochs(training.experiment.epochs, len(training.network.blocks))
    percentiles = weight_percentiles(training.network) if is_recorded else no_percentiles(training.network)
    training.finish_epoch(record, gates, torch.from_numpy(percentiles))
    return record


def keep_snapshots(training: Training, record: Epoch, gates: Gates) -> None:
    """Keeps the network if the rate was never lower, as `settled` unless fewer gates flickered in another such epoch.

    A flickering gate mixes two regimes in the running statistics behind it, with which the pruned network is evaluated
    (docs/fidelity.md). While epsilon is held at 0 the network is another than the run's.
    """
    settled, latest = training.settled, training.latest
    is_gated = training.run.epsilon is None or record.epsilon > 0
    if not is_gated or record.rate > latest.rate:
        return
    weights = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    training.latest = Snapshot(record.epoch, record.rate, record.epsilon, gates.discarded, gates.flickered, weights)
    if record.rate < settled.rate or record.flickered <= settled.flickered:
        training.settled = training.latest

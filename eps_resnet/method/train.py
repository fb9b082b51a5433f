"""Trains one run by the paper's recipe, resuming by itself, and writes its network, history and manifest."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files import interruption, tensors
from eps_resnet.files.digests import digest, sha256, write_sealed
from eps_resnet.files.errors import UserError
from eps_resnet.files.interruption import Interrupted
from eps_resnet.files.machine import machine
from eps_resnet.method.certificate import certify
from eps_resnet.method.divergence import DivergenceError, require_finite_loss
from eps_resnet.method.history import Epoch, Gates, weight_percentiles, write_blocks, write_history
from eps_resnet.method.inputs.batches import Batches, open_batches
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.method.networks.resnet import ResNet, initialise
from eps_resnet.method.parallel import joined, share_of
from eps_resnet.method.predict import predict
from eps_resnet.method.schedule import epochs_of, epsilon_of, weight_decay
from eps_resnet.method.state import Settled, Training
from eps_resnet.method.streams import stream
from eps_resnet.provenance.code import git_commit
from eps_resnet.provenance.fingerprints import training_parts
from eps_resnet.runs import checkpoint
from eps_resnet.runs.checkpoint import Keeper
from eps_resnet.runs.progress import reporting

SETTLED_SHARE = 0.01 * (1 + 1e-9)  # settled: the rate fell to a hundredth of its start (docs/fidelity.md), or rounding


def train(
    registry: Registry, layout: Layout, key: str, device: torch.device, threads: int, workers: int | None = None
) -> None:
    """Trains a run to its end and writes its results, all of them or none. Resumes from work/ if it can.

    Started by torchrun, the processes share each mini-batch; process 0 evaluates and writes. Raises UserError if the
    data set is missing, the processes cannot share the recipe's slices, one of them is lost, a checkpoint is of another
    training, or loss or weights are no longer finite; Interrupted, after saving, if a signal asks to stop.
    """
    run, made_from = registry.run(key), training_parts(registry, layout, key)
    recipe, share = recipe_of(registry, run), share_of(recipe_of(registry, run))
    batches = open_batches(registry, layout, run, device, share, workers)
    with joined(share, device):
        network = ResNet(architecture_of(run, registry.datasets[run.dataset], recipe, share.of))
        initialise(network, recipe.initialisation, stream(run.seed, "weights"))
        network.to(device).to(memory_format=torch.channels_last)
        network.set_late(device.type != "cpu" and share.of == 1)
        training = Training(run, recipe, network, share)
        keeper = Keeper(layout.work(digest(made_from)), made_from, training, device)
        keeper.resume(machine(device, threads, share.of))
        try:
            _train_epochs(training, batches, keeper, key)
        except DivergenceError as error:
            raise UserError(f"{error} {keeper.last_good()} The rate may be too high for this network.") from None
    if share.index == 0:
        _write_results(layout, key, training, made_from, batches.mean)
        checkpoint.remove(keeper.folder)


def _train_epochs(training: Training, batches: Batches, keeper: Keeper, key: str) -> None:
    epochs, share = epochs_of(training.recipe, training.run), training.share
    blocks = len(training.network.blocks)
    with (
        reporting(key, epochs, training.epoch, blocks, silent=share.index > 0) as report,
        interruption.deferred(),
    ):
        try:
            while training.epoch < epochs:
                report(train_epoch(training, batches, keeper.after_step))
            keeper.save()
        except Interrupted as stop:
            stop.saved = keeper.save()
            raise


def train_epoch(training: Training, batches: Batches, after_step: Callable[[], None] = lambda: None) -> Epoch:
    """One epoch of steps, or what is left of it, then one evaluation; returns the record.

    Advances the schedule and the settled network. `after_step` is called where the training can be saved, and may raise
    Interrupted. The test error of the record is process 0's alone to measure; elsewhere, and in epochs that the recipe
    does not test, it is NaN.
    """
    network, epoch, epsilon = training.network, training.epoch + 1, 0.0
    if training.run.epsilon is not None:
        epsilon = epsilon_of(training.recipe, training.run.epsilon, epoch)
        network.set_epsilon(epsilon)
    rate = training.schedule.rate(epoch)
    network.train()
    for inputs, labels in batches.training(epoch, skip=len(training.gates)):
        loss, logits = train_step(training, inputs, labels, rate)
        wrong = (logits.argmax(1) != labels).sum()
        training.sums.append(torch.stack([loss * len(labels), wrong, labels.new_tensor(len(labels))]).double())
        training.gates.append(torch.tensor(network.read_gates(), dtype=torch.bool))
        after_step()
    training.gather()
    return _finish_epoch(training, batches, rate, epsilon)


def _finish_epoch(training: Training, batches: Batches, rate: float, epsilon: float) -> Epoch:
    recipe, network, epoch = training.recipe, training.network, training.epoch + 1
    closed_gates = torch.stack(training.gates)
    gates = Gates.of(closed_gates, recipe.discard_window)
    discarded = gates.discarded
    if recipe.discarded_in_evaluation == "identity":
        network.set_discarded(discarded)
    is_tested = epoch % recipe.test_every == 0 or epoch == epochs_of(recipe, training.run)
    test_error = math.nan
    if is_tested and training.share.index == 0:
        test_error = predict(network, batches, interruptible=training.share.of == 1).error

    loss_sum, errors, seen = sum(
        training.sums, torch.zeros(3, dtype=torch.float64, device=batches.mean.device)
    ).tolist()
    training.schedule.observe_epoch(epoch, sum(discarded), closed_gates.sum(1).tolist())
    record = Epoch(
        epoch=epoch,
        rate=rate,
        epsilon=epsilon,
        loss=loss_sum / seen,
        train_error=errors / seen,
        test_error=test_error,
        discarded=sum(discarded),
        flickered=gates.flickered,
        closed_mean=gates.closed_mean,
    )
    training.finish_epoch(record, gates, torch.from_numpy(weight_percentiles(network)))
    is_gated = training.run.epsilon is None or epsilon > 0  # with epsilon held at 0 it is another network
    if is_gated and rate <= training.settled.rate:
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        training.settled = Settled(epoch, rate, epsilon, discarded, gates.flickered, weights)
    if recipe.discarded_in_evaluation == "identity" and training.certifies:
        certify(training, discarded, batches.size)
    network.expect_closed(discarded)
    return record


def train_step(training: Training, batch: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One step of SGD on inputs (N, C, H, W) and labels (N,). Returns the loss of the main head and its logits.

    Gradients are zeroed, not dropped: the block of a closed gate has no backward pass, and the optimiser must still
    see a zero gradient there, so that its weights decay and its momentum is spent. Raises DivergenceError, with the
    weights as they were before the step, if the loss is not finite.
    """
    for group in training.optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = weight_decay(training.recipe, training.step) if group["decays"] else 0.0
    logits, side = _forward(training, batch.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits, labels)
    total = loss if side is None else loss + training.recipe.side_weight * F.cross_entropy(side, labels)
    require_finite_loss(total.detach(), training.network, batch, training.step)
    total.backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=False)
    training.step += 1
    return loss.detach(), logits.detach()


def _forward(training: Training, batch: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits of both heads. Late decisions about blocks expected closed are read here, once, at the end of the pass.

    If one of those blocks was open after all, the pass was not the network's and is made again, from the same running
    statistics, with that block computed like the others.
    """
    network = training.network
    statistics = [buffer.clone() for buffer in network.buffers()] if network.expects_closed() else []
    while True:
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=training.recipe.precision == "bfloat16"):
            logits, side = training.model(batch)
        if not network.expects_closed() or not network.opened_unexpectedly():
            return logits.float(), None if side is None else side.float()
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)


def _write_results(layout: Layout, key: str, training: Training, made_from: dict[str, Any], mean: Tensor) -> None:
    fingerprint, settled = digest(made_from), training.settled
    facts = {
        "fingerprint": fingerprint,
        "epoch": settled.epoch,
        "epsilon": settled.epsilon,
        "settled": settled.rate <= SETTLED_SHARE * training.recipe.rate,
        "discarded": settled.discarded,
        "flickered": settled.flickered,
    }
    tensors.write(layout.model(key), {**settled.weights, "mean_image": mean}, facts)
    write_history(layout.history(key), training.history)
    closed, percentiles = torch.stack(training.closed), torch.stack(training.percentiles)
    write_blocks(layout.blocks(key), closed.numpy(), training.window, percentiles.numpy())
    *earlier, last = training.machines
    manifest = {
        "key": key,
        "fingerprint": fingerprint,
        "model_sha256": sha256(layout.model(key)),
        "history_sha256": sha256(layout.history(key)),
        "blocks_sha256": sha256(layout.blocks(key)),
        "made_from": made_from,
        "git_commit": git_commit(),
        "machine": last,
        **({"earlier_machines": earlier} if earlier else {}),
        "seconds": {"training": round(training.seconds, 3)},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_sealed(layout.manifest(key), manifest)  # last: a run without it is not finished

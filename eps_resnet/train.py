"""Trains one run by the paper's recipe, resuming by itself, and writes its network, history and manifest."""

import math
import platform
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eps_resnet import checkpoint, tensors
from eps_resnet.data.batches import Batches, open_batches
from eps_resnet.errors import UserError
from eps_resnet.files import sha256, write_json
from eps_resnet.history import Epoch, Gates, weight_percentiles, write_blocks, write_history
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import architecture_of
from eps_resnet.networks.resnet import ResNet, initialise
from eps_resnet.parallel import Share, combine, distributed, is_same, join, leave, share_of
from eps_resnet.predict import predict
from eps_resnet.progress import reporting
from eps_resnet.provenance import git_commit, training_fingerprint, training_parts
from eps_resnet.registry import Recipe, Registry, Run, recipe_of
from eps_resnet.schedule import RateSchedule, epochs_of, epsilon_of, weight_decay
from eps_resnet.streams import stream

CHECKPOINT_SECONDS = 60  # a kill loses at most about this much work; it changes no number
SETTLED_SHARE = 0.01 * (1 + 1e-9)  # settled: the rate fell to a hundredth of its start (docs/fidelity.md), or rounding


@dataclass
class Settled:
    """The network after the latest epoch at the lowest rate so far: it is the one that is pruned and reported."""

    epoch: int = 0
    rate: float = math.inf
    epsilon: float = 0.0
    discarded: list[bool] = field(default_factory=list)
    flickered: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Training:
    """The state of one training: everything that a checkpoint must bring back."""

    def __init__(self, run: Run, recipe: Recipe, network: ResNet, share: Share = Share()) -> None:
        self.run, self.recipe, self.network, self.share = run, recipe, network, share
        self.model = distributed(network, share, has_gates=run.epsilon is not None)
        self.optimizer = _optimizer(network, recipe)
        self.schedule = RateSchedule.of(recipe, run)
        self.epoch = self.step = 0
        self.settled = Settled()
        self.history: list[Epoch] = []
        self.closed: list[Tensor] = []  # per epoch, (blocks,): batches of the window with the gate closed
        self.percentiles: list[Tensor] = []  # per epoch, (blocks, 5)
        self.window = 0
        self.seconds = 0.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain values and tensors only."""
        plain = ("epoch", "step", "closed", "percentiles", "window", "seconds")
        return {
            **{name: getattr(self, name) for name in plain},
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state(),
            "settled": vars(self.settled),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continues where `state` was taken."""
        self.network.load_state_dict(state.pop("network"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        self.settled = Settled(**state.pop("settled"))
        self.history = [Epoch(**epoch) for epoch in state.pop("history")]
        vars(self.schedule).update(state.pop("schedule"))
        vars(self).update(state)


def train(
    registry: Registry, layout: Layout, key: str, device: torch.device, threads: int, workers: int | None = None
) -> None:
    """Trains a run to its end and writes its results, all of them or none. Resumes from work/ if it can.

    Started by torchrun, the processes share each mini-batch; process 0 evaluates and writes. Raises UserError if the
    data set is missing, the processes cannot share the recipe's slices, or the loss is no longer finite.
    """
    run = registry.run(key)
    recipe, work = recipe_of(registry, run), layout.work(training_fingerprint(registry, layout, key))
    share = share_of(recipe)
    batches = open_batches(registry, layout, run, device, share, workers)
    join(share, device)
    network = ResNet(architecture_of(run, registry.datasets[run.dataset], recipe, share.of))
    initialise(network, recipe.initialisation, stream(run.seed, "weights"))
    network.to(device).to(memory_format=torch.channels_last)
    training = Training(run, recipe, network, share)
    if saved := checkpoint.load(work):
        training.restore(saved)
    if not is_same(training.epoch, device):
        raise UserError(f"The processes resume from different epochs; do all of them see {work}?")

    epochs, last_saved = epochs_of(recipe, run), time.monotonic()
    with reporting(key, epochs, training.epoch, len(network.blocks), silent=share.index > 0) as report:
        while training.epoch < epochs:
            started = time.monotonic()
            report(train_epoch(training, batches))
            training.seconds += time.monotonic() - started
            is_due = training.epoch == epochs or time.monotonic() - last_saved > CHECKPOINT_SECONDS
            if is_due and share.index == 0:
                checkpoint.save(work, training.epoch, training.state())
                last_saved = time.monotonic()
    leave(share)
    if share.index == 0:
        _write_results(registry, layout, key, training, batches.mean, device, threads)


def train_epoch(training: Training, batches: Batches) -> Epoch:
    """One epoch of steps, then one evaluation; advances the schedule and the settled network, returns the record.

    The test error of the record is process 0's alone to measure; elsewhere it is NaN.
    """
    recipe, schedule, network = training.recipe, training.schedule, training.network
    training.epoch += 1
    epsilon = 0.0
    if training.run.epsilon is not None:
        epsilon = epsilon_of(recipe, training.run.epsilon, training.epoch)
        network.set_epsilon(epsilon)
    rate = schedule.rate(training.epoch)
    sums, closed = torch.zeros(3, dtype=torch.float64, device=batches.mean.device), []  # of loss, errors, images
    network.train()
    for inputs, labels in batches.training(training.epoch):
        loss, logits = train_step(training, inputs, labels, rate)
        sums += torch.stack([loss * len(labels), (logits.argmax(1) != labels).sum(), labels.new_tensor(len(labels))])
        closed.append([block.closed for block in network.blocks])
    closed_gates, sums = combine(torch.tensor(closed, dtype=torch.bool), sums)
    loss_sum, wrong, seen = sums.tolist()
    if not math.isfinite(loss_sum):
        raise UserError(f"The loss is no longer finite in epoch {training.epoch}; a lower rate or decay may help.")

    gates = Gates.of(closed_gates, recipe.discard_window)
    discarded = gates.discarded
    schedule.observe_epoch(training.epoch, sum(discarded), closed_gates.sum(1).tolist())
    record = Epoch(
        epoch=training.epoch,
        rate=rate,
        epsilon=epsilon,
        loss=loss_sum / seen,
        train_error=wrong / seen,
        test_error=predict(network, batches).error if training.share.index == 0 else math.nan,
        discarded=sum(discarded),
        flickered=gates.flickered,
        closed_mean=gates.closed_mean,
    )
    training.history.append(record)
    training.closed.append(torch.tensor(gates.closed, dtype=torch.int32))
    training.percentiles.append(torch.from_numpy(weight_percentiles(network)))
    training.window = gates.window
    is_gated = training.run.epsilon is None or epsilon > 0  # with epsilon held at 0 it is another network
    if is_gated and rate <= training.settled.rate:
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        training.settled = Settled(training.epoch, rate, epsilon, discarded, gates.flickered, weights)
    return record


def train_step(training: Training, batch: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One step of SGD on inputs (N, C, H, W) and labels (N,). Returns the loss of the main head and its logits.

    Gradients are zeroed, not dropped: the block of a closed gate has no backward pass, and the optimiser must still
    see a zero gradient there, so that its weights decay and its momentum is spent.
    """
    for group in training.optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = weight_decay(training.recipe, training.step) if group["decays"] else 0.0
    logits, side = training.model(batch.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits, labels)
    total = loss if side is None else loss + training.recipe.side_weight * F.cross_entropy(side, labels)
    total.backward()  # type: ignore[no-untyped-call]
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=False)
    training.step += 1
    return loss.detach(), logits.detach()


def _optimizer(network: ResNet, recipe: Recipe) -> torch.optim.SGD:
    decaying: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
        is_weight = parameter.dim() > 1  # of a convolution or a linear layer
        (decaying if is_weight or recipe.decay_on == "all" else others).append(parameter)
    groups = [{"params": decaying, "decays": True}, {"params": others, "decays": False}]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)


def _write_results(
    registry: Registry, layout: Layout, key: str, training: Training, mean: Tensor, device: torch.device, threads: int
) -> None:
    fingerprint, settled = training_fingerprint(registry, layout, key), training.settled
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
    write_blocks(layout.blocks(key), torch.stack(training.closed), training.window, torch.stack(training.percentiles))
    manifest = {
        "key": key,
        "fingerprint": fingerprint,
        "model_sha256": sha256(layout.model(key)),
        "made_from": training_parts(registry, layout, key),
        "git_commit": git_commit(),
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processor": platform.machine(),
            "processes": training.share.of,
            "threads": threads,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "seconds": {"training": round(training.seconds, 3)},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(layout.manifest(key), manifest)  # last: a run without it is not finished
    checkpoint.remove(layout.work(fingerprint))

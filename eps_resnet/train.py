"""Trains one run by the paper's recipe, resuming by itself, and writes its network, history and manifest."""

import platform
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eps_resnet import checkpoint, tensors
from eps_resnet.data import store
from eps_resnet.data.augment import mean_image, steps_per_epoch, training_batches
from eps_resnet.data.store import Images
from eps_resnet.errors import UserError
from eps_resnet.files import sha256, write_json
from eps_resnet.history import Epoch, Gates, weight_percentiles, write_blocks, write_history
from eps_resnet.layout import Layout
from eps_resnet.network import ResNet, architecture_of, initialise
from eps_resnet.predict import predict
from eps_resnet.progress import reporting
from eps_resnet.provenance import training_fingerprint, training_parts
from eps_resnet.registry import Recipe, Registry, Run, recipe_of
from eps_resnet.schedule import RateSchedule, epochs_of, epsilon_of, weight_decay
from eps_resnet.streams import stream

CHECKPOINT_SECONDS = 60  # a kill loses at most about this much work; it changes no number
SETTLED_LEVEL = 2  # settled: the rate has fallen to a hundredth of its start (docs/fidelity.md)


@dataclass
class Settled:
    """The network after the latest epoch at the lowest rate so far: it is the one that is pruned and reported."""

    epoch: int = 0
    level: int = -1
    discarded: list[bool] = field(default_factory=list)
    flickered: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Training:
    """The state of one training: everything that a checkpoint must bring back."""

    def __init__(self, run: Run, recipe: Recipe, network: ResNet) -> None:
        self.run, self.recipe, self.network = run, recipe, network
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


def train(registry: Registry, layout: Layout, key: str, device: torch.device, threads: int) -> None:
    """Trains a run to its end and writes its results, all of them or none. Resumes from work/ if it can.

    Raises UserError if the data set is missing or the loss is no longer finite.
    """
    run = registry.run(key)
    recipe, fingerprint = recipe_of(registry, run), training_fingerprint(registry, layout, key)
    images = store.load(layout, run.dataset)
    _check(recipe, images)
    images = Images(**{name: tensor.to(device) for name, tensor in vars(images).items()})
    mean = mean_image(images.train_images)
    network = ResNet(architecture_of(run, registry.datasets[run.dataset], recipe))
    initialise(network, recipe.initialisation, stream(run.seed, "weights"))
    network.to(device).to(memory_format=torch.channels_last)
    training = Training(run, recipe, network)
    if saved := checkpoint.load(layout.work(fingerprint)):
        training.restore(saved)

    epochs, last_saved = epochs_of(recipe, run), time.monotonic()
    with reporting(key, epochs, training.epoch, len(network.blocks)) as report:
        while training.epoch < epochs:
            started = time.monotonic()
            report(train_epoch(training, images, mean))
            training.seconds += time.monotonic() - started
            if training.epoch == epochs or time.monotonic() - last_saved > CHECKPOINT_SECONDS:
                checkpoint.save(layout.work(fingerprint), training.epoch, training.state())
                last_saved = time.monotonic()
    _write_results(registry, layout, key, training, mean, device, threads)


def train_epoch(training: Training, images: Images, mean: Tensor) -> Epoch:
    """One epoch of steps, then one evaluation; advances the schedule and the settled network, returns the record."""
    recipe, schedule, network = training.recipe, training.schedule, training.network
    training.epoch += 1
    epsilon = 0.0
    if training.run.epsilon is not None:
        epsilon = epsilon_of(recipe, training.run.epsilon, training.epoch)
        network.set_epsilon(epsilon)
    level, rate = schedule.level(training.epoch), schedule.rate(training.epoch)
    loss_sum, wrong, seen, closed = torch.zeros((), device=mean.device), torch.zeros((), device=mean.device), 0, []
    network.train()
    for batch, labels in training_batches(
        images.train_images, images.train_labels, mean, recipe, training.run.seed, training.epoch
    ):
        loss, logits = train_step(training, batch, labels.long(), rate)
        loss_sum += loss * len(labels)
        wrong += (logits.argmax(1) != labels).sum()
        seen += len(labels)
        closed.append([block.closed for block in network.blocks])
        schedule.observe_step(sum(closed[-1]))
    if not torch.isfinite(loss_sum):
        raise UserError(f"The loss is no longer finite in epoch {training.epoch}; a lower rate or decay may help.")

    gates = Gates.of(torch.tensor(closed, dtype=torch.bool), recipe.discard_window)
    discarded = gates.discarded
    schedule.observe_epoch(training.epoch, sum(discarded))
    predictions = predict(network, images.test_images, mean, recipe)
    record = Epoch(
        epoch=training.epoch,
        rate=rate,
        epsilon=epsilon,
        loss=float(loss_sum) / seen,
        train_error=float(wrong) / seen,
        test_error=predictions.error(images.test_labels),
        discarded=sum(discarded),
        flickered=gates.flickered,
        closed_mean=gates.closed_mean,
    )
    training.history.append(record)
    training.closed.append(torch.tensor(gates.closed, dtype=torch.int32))
    training.percentiles.append(torch.from_numpy(weight_percentiles(network)))
    training.window = gates.window
    if level >= training.settled.level:
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        training.settled = Settled(training.epoch, level, discarded, gates.flickered, weights)
    return record


def train_step(training: Training, batch: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """One step of SGD on inputs (N, C, H, W) and labels (N,). Returns the loss of the main head and its logits.

    Gradients are zeroed, not dropped: the block of a closed gate has no backward pass, and the optimiser must still
    see a zero gradient there, so that its weights decay and its momentum is spent.
    """
    for group in training.optimizer.param_groups:
        group["lr"] = rate
        group["weight_decay"] = weight_decay(training.recipe, training.step) if group["decays"] else 0.0
    logits, side = training.network(batch.contiguous(memory_format=torch.channels_last))
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
        (decaying if parameter.dim() > 1 else others).append(parameter)  # convolution and linear weights decay
    groups = [{"params": decaying, "decays": True}, {"params": others, "decays": False}]
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)


def _check(recipe: Recipe, images: Images) -> None:
    if recipe.epoch_steps or recipe.augmentation.brightness or recipe.augmentation.contrast:
        raise UserError("This release does not apply epoch_steps, brightness or contrast; the run's recipe has them.")
    if steps_per_epoch(len(images.train_labels), recipe) == 0:
        raise UserError(
            f"A batch has {recipe.batch} images, but there are only {len(images.train_labels)} to train on."
        )


def _write_results(
    registry: Registry, layout: Layout, key: str, training: Training, mean: Tensor, device: torch.device, threads: int
) -> None:
    fingerprint, settled = training_fingerprint(registry, layout, key), training.settled
    facts = {
        "fingerprint": fingerprint,
        "epoch": settled.epoch,
        "settled": settled.level >= SETTLED_LEVEL,
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
        "machine": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "processor": platform.machine(),
            "threads": threads,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "seconds": {"training": round(training.seconds, 3)},
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_json(layout.manifest(key), manifest)  # last: a run without it is not finished
    checkpoint.remove(layout.work(fingerprint))

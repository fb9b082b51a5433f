"""How much of a whole training certificates save: measured on the demo's digits, computed for 752 layers.

The computation takes the share of discarded blocks over the epochs of the paper's Figure 9 and the project's own rate
schedule. A block costs three units a step while it is open (forward one, backward two), one while it is closed, none
once it is certified. When that is follows from the decay of its bound since it closed; the bound at closing is taken to
be that of freshly drawn weights.
"""

import csv
import math
import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Line
from benchmarks.trainings import CPU, REGISTRY, experiment_of, training_of
from eps_resnet.data import digits
from eps_resnet.evidence.published import published_csv
from eps_resnet.method.certificate import response_bound
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.loop import new_training, train_epoch
from eps_resnet.method.schedule import RateSchedule
from eps_resnet.method.state import Training

ITEM, DEMO, PAPER = "4 certified blocks", "digits-56-epsilon_side-2p5-s0", "752-epsilon_side-2p5-s0"
OPEN, CLOSED = 3.0, 1.0  # units a block and step; certified: none
STEPS = 390  # an epoch of CIFAR


def lines(cores: int) -> list[Line]:
    """The demo's training with and without certificates, and the two of Figure 9 computed."""
    torch.set_num_threads(1)  # as trainings are
    return [_demo(cores), *(_computed(dataset, cores) for dataset in ("cifar10", "cifar100"))]


def _demo(cores: int) -> Line:
    without, (training, seconds) = _train(False)[1], _train(True)
    certified = sum(block.certified for block in training.network.blocks)
    note = f"{certified} of {training.history[-1].discarded} discarded blocks certified at the end; trained once each"
    what = f"whole training of {DEMO}: as fast as without certificates"
    speed = without / seconds
    return Line(ITEM, what, speed, speed, speed, cores, note=note)


def _train(certifies: bool) -> tuple[Training, float]:
    experiment = experiment_of(REGISTRY.run(DEMO))
    training = new_training(experiment, CPU)
    training.certifies = certifies
    images = digits.read(experiment.data.archives[0])
    batches = TensorBatches(images, experiment.recipe, experiment.run.seed, CPU)
    started = time.perf_counter()
    for _ in range(experiment.epochs):
        train_epoch(training, batches)
    return training, time.perf_counter() - started


def _computed(dataset: str, cores: int) -> Line:
    run = REGISTRY.run(f"{dataset}-{PAPER}")
    experiment = experiment_of(run)
    data, recipe, epochs, blocks = experiment.data, experiment.recipe, experiment.epochs, sum(experiment.blocks)
    discarded = _discarded(data.published_name or "", epochs, blocks)
    schedule, folds = RateSchedule.of(recipe, run), np.zeros(epochs + 1)
    for epoch in range(1, epochs + 1):  # by how many powers of e weights without gradient have decayed since the start
        decay = STEPS * schedule.rate(epoch) * recipe.weight_decay / (1 - recipe.momentum)
        folds[epoch] = folds[epoch - 1] + decay
        schedule.observe_epoch(epoch, int(discarded[epoch]), [])
    needed = [math.log(bound / run.epsilon) for bound in _bounds()] if run.epsilon else []
    closing = [int(np.argmax(discarded > block)) for block in range(discarded[-1])]
    certified = [np.searchsorted(folds, folds[epoch] + needed[block % 3]) for block, epoch in enumerate(closing)]
    open_steps = sum(closing) + (blocks - len(closing)) * epochs
    without = OPEN * open_steps + CLOSED * sum(epochs - epoch for epoch in closing)
    saved = CLOSED * sum(max(0, epochs - epoch) for epoch in certified)
    waits = [int(late - epoch) for late, epoch in zip(certified, closing, strict=True) if late <= epochs]
    note = (
        f"computed, not run; {len(waits)} of {len(closing)} discarded blocks are certified, "
        f"{statistics.median(waits):.0f} epochs after they closed (median); closed gates alone: "
        f"{OPEN * blocks * epochs / without:.2f} times as fast as all open"
    )
    speed = without / (without - saved)
    what = f"whole training of {run.depth} layers, {data.title}, by Figure 9: as fast as without certificates"
    return Line(ITEM, what, speed, speed, speed, cores, note=note)


def _discarded(name: str, epochs: int, blocks: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many blocks are discarded after each epoch, from 0 on: Figure 9, straight lines in between."""
    with published_csv().open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["figure"] == "9" and row["dataset"] == name]
    points = sorted((float(row["epoch"]), float(row["value"])) for row in rows)
    share = np.interp(np.arange(epochs + 1), [epoch for epoch, _ in points], [value for _, value in points])
    return np.maximum.accumulate(np.round(share * blocks).astype(int))


def _bounds() -> list[float]:
    """Of a block of each stage of a CIFAR network whose weights are freshly drawn."""
    training = training_of(20)
    bounds = []
    for stage in range(3):
        weight = training.network.blocks[3 * stage + 1].weights[-1].detach()
        parts = weight.clamp(min=0), (-weight).clamp(min=0)
        scale, shift = torch.ones(weight.shape[1]), torch.zeros(weight.shape[1])  # as batch norm begins
        side = training.network.architecture.side(stage, 32)
        bounds.append(response_bound(scale, shift, parts, 128 * side**2))
    return bounds

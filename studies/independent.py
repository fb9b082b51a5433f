"""pytorchcv's pre-activation ResNet-20 in a plain loop on the images of cifar10-cpu, for docs/cifar10-cpu.md.

    python -m studies.independent      under an hour on one core, after `snakemake --cores 2 cifar10-cpu`

An independent check of the standard network here: the same images, epochs, rates, decay of weights and crops, other
code, other draws. Once as pytorchcv has it, and once with what the paper's network has otherwise: batch norm and ReLU
after the first convolution, pooled shortcuts where stages change, weights drawn by fan-out. What still differs then is
what is subtracted from pixels (the mean of a channel, not of a pixel) and the padding of strides.
"""

import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import fmean, median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.inputs import CPU
from benchmarks.peers import peers_network, plain_epochs
from benchmarks.trainings import REGISTRY, experiment_of, new_training
from eps_resnet.data import store
from eps_resnet.data.store import Images
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.files.atomic import read_json, write_text
from eps_resnet.files.machine import machine
from eps_resnet.method.inputs.batches import TensorBatches
from eps_resnet.method.loop import train_epoch

DATASET, DEPTH, WEIGHT_DECAY = "cifar10-cpu", 20, 0.001
OURS = [
    run
    for run in REGISTRY.runs.values()
    if (run.dataset, run.depth, run.method, run.weight_decay, run.variant)
    == (DATASET, DEPTH, "standard", WEIGHT_DECAY, None)
]
TIMED = 3  # epochs of ours and theirs, in turns
RESULTS = Path(__file__).parent / "results" / "independent.json"


def main() -> None:
    """Trains theirs with each seed and times both, if that was not done, beside the errors of our finished runs."""
    torch.set_num_threads(1)
    images, found = store.load(Layout(), DATASET), read_json(RESULTS) or {"errors": {}}
    ours = {str(run.seed): read_json(experiment_of(run).files.metrics) for run in OURS}
    found["errors"]["ours"] = {seed: metrics["error"]["final"] for seed, metrics in ours.items()}
    if "seconds_an_epoch" not in found:
        found |= {"seconds_an_epoch": _speeds(images), "machine": machine(CPU, 1, 1)}
    for name, make in NETWORKS.items():
        errors = found["errors"].setdefault(name, {})
        for run in OURS:
            if str(run.seed) not in errors:
                errors[str(run.seed)] = _last_error(make, run, images)
                write_text(RESULTS, json.dumps(found, indent=2) + "\n")
    for name, seconds in found["seconds_an_epoch"].items():
        print(f"{name}: {median(seconds):.1f} s an epoch")
    for name, errors in found["errors"].items():
        print(
            f"{name}: test errors {', '.join(f'{e:.2%}' for e in errors.values())}, mean {fmean(errors.values()):.2%}"
        )


def _as_the_papers(images: Images) -> nn.Module:
    """pytorchcv's network with the paper's stem, shortcuts and initialisation."""
    network = peers_network(images)
    stem = nn.Sequential(network.get_submodule("features.init_block"), nn.BatchNorm2d(16), nn.ReLU())
    network.set_submodule("features.init_block", stem)
    for name, padding in (("features.stage2.unit1", 8), ("features.stage3.unit1", 16)):
        network.set_submodule(name, PooledUnit(network.get_submodule(name), padding))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    return network


class PooledUnit(nn.Module):
    """A unit of pytorchcv's in which the stage changes, with the shortcut pooled and padded instead of projected."""

    def __init__(self, unit: nn.Module, padding: int) -> None:
        super().__init__()
        self.body, self.padding = unit.get_submodule("body"), padding

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2C, H/2, W/2)."""
        residual: Tensor = self.body(x)[0]
        return residual + F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, self.padding, self.padding))


NETWORKS = {"pytorchcv": peers_network, "pytorchcv, as the paper's": _as_the_papers}


def _last_error(make: Callable[[Images], nn.Module], run: Run, images: Images) -> float:
    torch.manual_seed(run.seed)
    experiment = experiment_of(run)
    last = experiment.epochs
    *_, error = islice(plain_epochs(make(images), run, experiment.recipe, images, {last}), last)
    return error


def _speeds(images: Images) -> dict[str, list[float]]:
    """Seconds of epochs without a test, ours and theirs in turns."""
    run = OURS[0]
    training = new_training(run)
    batches = TensorBatches(images, training.recipe, run.seed, CPU)
    theirs = plain_epochs(peers_network(images), run, training.recipe, images, ())
    seconds: dict[str, list[float]] = {"ours": [], "pytorchcv": []}
    for _ in range(TIMED):
        for name, epoch in (("ours", lambda: train_epoch(training, batches)), ("pytorchcv", lambda: next(theirs))):
            started = time.perf_counter()
            epoch()
            seconds[name].append(round(time.perf_counter() - started, 3))
    return seconds


if __name__ == "__main__":
    main()

"""pytorchcv's pre-activation ResNet-20 in a plain loop on the images of cifar10-cpu, for docs/cifar10-cpu-recipe.md.

    python -m benchmarks.independent      about ten minutes on one core, after `snakemake --cores 2 cifar10-cpu`

An independent check of the standard network here: the same images, epochs, rates, decay of weights and crops. What
differs is the code, the draws, the initialisation, what is subtracted from pixels (the mean of a channel, not of a
pixel), projections where stages change, and the padding of strides.
"""

import json
import time
from itertools import islice
from pathlib import Path
from statistics import fmean, median

import torch

from benchmarks.inputs import CPU
from benchmarks.peers import plain_epochs
from benchmarks.trainings import REGISTRY, new_training
from eps_resnet.data import store
from eps_resnet.data.batches import TensorBatches
from eps_resnet.files import read_json, write_text
from eps_resnet.layout import Layout
from eps_resnet.machine import machine
from eps_resnet.registry import Run, recipe_of
from eps_resnet.schedule import epochs_of
from eps_resnet.train import train_epoch

DATASET, DEPTH, WEIGHT_DECAY = "cifar10-cpu", 20, 0.001
OURS = [
    run
    for run in REGISTRY.runs.values()
    if (run.dataset, run.depth, run.method, run.weight_decay) == (DATASET, DEPTH, "standard", WEIGHT_DECAY)
]
TIMED = 3  # epochs of ours and theirs, in turns
RESULTS = Path(__file__).parent / "results" / "independent.json"


def main() -> None:
    """Trains theirs with each seed, times both, and writes all of it beside the errors of our finished runs."""
    torch.set_num_threads(1)
    found = {
        "ours": {run.seed: read_json(Layout().metrics(run.key))["error"]["final"] for run in OURS},
        "theirs": {run.seed: _last_error(run) for run in OURS},
        "seconds_an_epoch": _speeds(),
        "machine": machine(CPU, 1, 1),
    }
    write_text(RESULTS, json.dumps(found, indent=2) + "\n")
    means = [fmean(found[name].values()) for name in ("ours", "theirs")]  # type: ignore[attr-defined]
    print(f"test error, mean: ours {means[0]:.2%}, theirs {means[1]:.2%}; all of it in {RESULTS}")


def _last_error(run: Run) -> float:
    recipe = recipe_of(REGISTRY, run)
    last = epochs_of(recipe, run)
    *_, error = islice(plain_epochs(run, recipe, store.load(Layout(), DATASET), {last}), last)
    return error


def _speeds() -> dict[str, list[float]]:
    """Seconds of epochs without a test, ours and theirs in turns."""
    run, images = OURS[0], store.load(Layout(), DATASET)
    training = new_training(run)
    batches = TensorBatches(images, training.recipe, run.seed, CPU)
    theirs = plain_epochs(run, training.recipe, images, ())
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(TIMED):
        for name, epoch in (("ours", lambda: train_epoch(training, batches)), ("theirs", lambda: next(theirs))):
            started = time.perf_counter()
            epoch()
            seconds[name].append(round(time.perf_counter() - started, 3))
    print(", ".join(f"{name} {median(times):.1f} s an epoch" for name, times in seconds.items()))
    return seconds


if __name__ == "__main__":
    main()

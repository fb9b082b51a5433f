"""What a job reserves on Slurm, and on Kubernetes: minutes, and memory of the machine (not of its cards).

The plan's estimates with a margin, so that short trainings need not wait for long gaps in the queue. Too little loses
nothing: a training that is stopped at its limit goes on in the next attempt, which asks for twice as much, and so does
the one after that. How many cards, and the longest time allowed: `cards`, `needs_card` and `minutes` in workflow.py.
No torch in here: Snakemake asks for every job.
"""

from math import ceil
from typing import Literal

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.operations.speed import speed_of
from eps_resnet.runs import cost

Stage = Literal["train", "prune", "evaluate"]

MARGIN = 2  # of time and memory: the assumed speed may be too high, and libraries take memory of their own
START_MINUTES = 10  # to start Python from a shared file system, and to read and write files there
DOUBLINGS = 2  # at most: later attempts follow preemptions or time limits, and what asks for too much never starts
# Megabytes of a process before it holds a network, with Snakemake's two in the same job. Measured on a CPU: 1,000 of a
# training and 300 of Snakemake; with CUDA an assumption, as no GPU run has been made.
CPU_PROCESS, GPU_PROCESS = 2_000, 6_000
WORKER = 600  # megabytes of a process that decodes images, an assumption: three mini-batches of ImageNet are 120
MEGABYTE = 10**6


def minutes(experiment: Experiment, stage: Stage, attempt: int = 1) -> int:
    """Minutes that a job of this stage asks for, counting attempts from 1."""
    seconds = _multiply_adds(experiment, stage) / speed_of(experiment, {}).multiply_adds_per_second
    return (START_MINUTES + ceil(MARGIN * seconds / 60)) * _factor(attempt)


def _multiply_adds(experiment: Experiment, stage: Stage) -> float:
    """Of all that a stage computes, however much of it a former attempt has done."""
    if stage == "train":
        return cost.training_multiply_adds(experiment)
    if stage == "prune":
        return 0
    tests = experiment.data.archives[0].test_images
    passes = 2 * tests  # by the gated and the pruned network
    return passes * cost.step_multiply_adds(experiment, 1) / cost.FORWARD_AND_BACKWARD


def megabytes(experiment: Experiment, stage: Stage, attempt: int = 1, processes: int = 1, workers: int = 0) -> int:
    """Megabytes of memory that a job of this stage asks for, counting attempts from 1.

    `processes` train together; `workers` decode images, all together.
    """
    if stage == "prune":
        return _rounded(CPU_PROCESS + MARGIN * cost.network_cost(experiment).file_bytes / MEGABYTE) * _factor(attempt)
    if experiment.recipe.device == "cpu":
        process = CPU_PROCESS + MARGIN * cost.memory_bytes(experiment) / MEGABYTE
    else:  # the card holds the network; the machine holds the images on their way there, and checkpoints
        process = GPU_PROCESS + MARGIN * cost.stored_bytes(experiment.data) / MEGABYTE
    written = MARGIN * cost.checkpoint_bytes(experiment) / MEGABYTE
    return _rounded(processes * process + workers * WORKER + written) * _factor(attempt)


def _factor(attempt: int) -> int:
    return int(2 ** min(attempt - 1, DOUBLINGS))


def _rounded(amount: float) -> int:
    """To the next hundred, so that requests are easy to read."""
    return ceil(amount / 100) * 100

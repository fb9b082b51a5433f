"""Times training steps on this machine, for `eps-resnet plan --calibrate`."""

import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, replace

import torch

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import write_json
from eps_resnet.files.errors import UserError
from eps_resnet.method.arithmetic import prepare
from eps_resnet.method.loop import new_training, train_step
from eps_resnet.operations.speed import THREADS, Timing, here, network_name, read_timings
from eps_resnet.runs import device, memory
from eps_resnet.runs.cost import (
    CPU_MULTIPLY_ADDS_PER_SECOND,
    GPU_MULTIPLY_ADDS_PER_SECOND,
    memory_bytes,
    step_multiply_adds,
)

WARM_UP, TIMED = 1, 3  # steps; the median of the timed ones counts
STEP_SECONDS = 4.0  # a network whose step would take longer, at the assumed speed, is timed in parts
# Memory for timing on a CPU. STEP_SECONDS keeps far below it what is needed at the paper's sizes.
CPU_ROOM = 4 * 2**30
GPU_ROOM = 0.9  # share of the card's free memory
# Depths timed in place of a larger network: a line through their two times gives its own.
STAND_INS = {"cifar": (20, 56), "imagenet": (14, 101)}


def calibrate(layout: Layout, experiments: Iterable[Experiment]) -> None:
    """Times training steps of each run's network on this machine and adds them to work/speed.json.

    Random images, all gates open. On the GPU where the recipe names one and there is one, else on one core. Raises
    UserError if every card is claimed by a training, or the machine is too busy for the times to mean anything.
    """
    prepare(THREADS)
    memory.keep_freed()  # as training does
    timings = read_timings(layout)[0]
    networks = {network_name(experiment.run): experiment for experiment in experiments}
    wants_card = device.has_gpu() and any(experiment.recipe.device == "gpu" for experiment in networks.values())
    card = torch.device("cuda", device.claim_card(device.cards())) if wants_card else None
    steps: dict[tuple[str, int], float] = {}  # a network that stands in for several is timed once
    for name, experiment in networks.items():
        where = card if card and experiment.recipe.device == "gpu" else torch.device("cpu")
        timings[name] = timing = _time(steps, experiment, where)
        timed = ", ".join(f"depth {depth} with {batch} images" for depth, batch in timing.timed)
        print(f"{name}: {timing.seconds:.3g} s a step on the {timing.device} (timed: {timed})", file=sys.stderr)
        entries = {name: asdict(entry) for name, entry in sorted(timings.items())}
        write_json(layout.speed, {"machine": here(), "networks": entries})  # each time: what was timed is kept


def _seconds(experiment: Experiment, batch: int, where: torch.device) -> float:
    """Median seconds of a training step with a mini-batch of random images, all gates open."""
    data, training = experiment.data, new_training(experiment, where)
    training.network.train()
    if experiment.run.epsilon is not None:
        training.network.set_epsilon(0.0)
    images = torch.randn(batch, data.channels, data.size, data.size, device=where)
    labels = torch.zeros(batch, dtype=torch.int64, device=where)
    seconds = []
    for _ in range(WARM_UP + TIMED):
        started = _now(where)
        train_step(training, images, labels, rate=0.0)
        seconds.append(_now(where) - started)
    return statistics.median(seconds[WARM_UP:])


def _now(where: torch.device) -> float:
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter()


def _time(steps: dict[tuple[str, int], float], experiment: Experiment, where: torch.device) -> Timing:
    timed = what_is_timed(experiment, where)
    smaller = [(of_depth(experiment, depth), batch) for depth, batch in timed]
    work = [step_multiply_adds(network, batch) for network, batch in smaller]
    keys = [(network_name(network.run), batch) for network, batch in smaller]
    for key, (network, batch) in zip(keys, smaller, strict=True):
        if key not in steps:
            steps[key] = _seconds(network, batch, where)
    whole, seconds = step_multiply_adds(experiment), [steps[key] for key in keys]
    return Timing("gpu" if where.type == "cuda" else "cpu", whole, extended(work, seconds, whole), timed)


def of_depth(experiment: Experiment, depth: int) -> Experiment:
    """The same run with a network of another depth."""
    return replace(experiment, run=experiment.run.model_copy(update={"depth": depth}))


def extended(work: list[int], seconds: list[float], whole: int) -> float:
    """Seconds of a step of `whole` multiply-adds, on the line through the one or two steps that were timed.

    Raises UserError where the larger of two steps was not the slower one.
    """
    if len(work) == 1:
        return seconds[0]
    slope = (seconds[1] - seconds[0]) / (work[1] - work[0])
    if slope <= 0:
        raise UserError(
            f"A step of {work[1]:.2g} multiply-adds took {seconds[1]:.3g} s, one of {work[0]:.2g} {seconds[0]:.3g} s: "
            "such times say nothing. Stop what else runs on this machine, then calibrate again."
        )
    return seconds[1] + slope * (whole - work[1])


def what_is_timed(experiment: Experiment, where: torch.device) -> tuple[tuple[int, int], ...]:
    """Pairs of depth and batch: the network itself if its step is short and small enough, else two stand-ins."""
    recipe = experiment.recipe
    if _fits(experiment, recipe.batch, where):
        return ((experiment.run.depth, recipe.batch),)
    shallow, middle = STAND_INS[recipe.network]
    stand_in, batch = of_depth(experiment, middle), recipe.batch
    while not _fits(stand_in, batch, where) and batch > recipe.slices:
        batch = max(recipe.slices, batch // 2 // recipe.slices * recipe.slices)
    return (shallow, batch), (middle, batch)


def _fits(experiment: Experiment, batch: int, where: torch.device) -> bool:
    is_cpu = where.type == "cpu"
    assumed = CPU_MULTIPLY_ADDS_PER_SECOND if is_cpu else GPU_MULTIPLY_ADDS_PER_SECOND[experiment.recipe.network]
    room = CPU_ROOM if is_cpu else GPU_ROOM * torch.cuda.mem_get_info(where)[0]
    is_short = step_multiply_adds(experiment, batch) / assumed <= STEP_SECONDS
    return is_short and memory_bytes(experiment, batch) <= room

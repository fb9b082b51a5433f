"""How the cost of a step grows with depth, and whether the deepest network of the paper fits into memory."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.gates import peak_mib
from benchmarks.measure import Line
from benchmarks.trainings import step_of, training_of

ITEM, DEPTHS, DEEPEST = "9 scaling", (20, 56, 110), 752
ROUNDS = 7
GIB = 1024  # MiB


def lines(cores: int) -> list[Line]:
    """The deepest network's step against the line through the others', and its peak memory."""
    steps = [step_of(training_of(depth)) for depth in DEPTHS]
    for step in steps:
        step()
    seconds = [[_seconds(step) for step in steps] for _ in range(ROUNDS)]  # in turns
    slope, start = np.polyfit(DEPTHS, np.median(seconds, axis=0), 1)
    del steps
    step = step_of(training_of(DEEPEST))
    step()
    ratios = sorted(_seconds(step) / (start + slope * DEEPEST) for _ in range(ROUNDS))
    what = f"step of ResNet-{DEEPEST} / straight line through {', '.join(map(str, DEPTHS))} layers"
    note = f"{1000 * slope:.2f} ms a layer and {1000 * start:.0f} ms beside them"
    linear = Line(ITEM, what, ratios[ROUNDS // 2], ratios[0], ratios[-1], cores, at_most=1.1, note=note)
    del step
    if cores > 1:
        return [linear]
    peak = peak_mib("open", DEEPEST) / GIB  # the same on more cores
    memory = Line(
        ITEM, f"peak memory of a process with ResNet-{DEEPEST}, batch 128", peak, peak, peak, cores, at_most=16
    )
    return [linear, replace(memory, unit="GiB", note="no activation checkpointing")]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

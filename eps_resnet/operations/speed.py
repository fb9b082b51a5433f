"""How fast networks train: timed on this machine by `eps-resnet plan --calibrate`, else as the authors' did."""

from dataclasses import dataclass
from typing import Any, Literal

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.files.atomic import read_json
from eps_resnet.runs import cost

THREADS = 1  # as Snakemake trains

Device = Literal["gpu", "cpu"]
Source = Literal["measured", "scaled", "published", "assumed"]
EXPLANATION = (
    "Speed: measured (this network, on this machine), scaled (smaller ones were), published (of the authors' cards: "
    f"{cost.GPU_MULTIPLY_ADDS_PER_SECOND['cifar']:.2g} multiply-adds a second, on ImageNet "
    f"{cost.GPU_MULTIPLY_ADDS_PER_SECOND['imagenet']:.2g}; a recent card may be {cost.FASTER_CARDS} times as fast) or "
    f"assumed ({cost.CPU_MULTIPLY_ADDS_PER_SECOND:.2g} on a core). `eps-resnet plan --calibrate` measures."
)


@dataclass(frozen=True)
class Speed:
    """Multiply-adds a second in training one network, where, and how that is known.

    `measured`: this network was timed on this machine. `scaled`: smaller ones were. `published`: that of the authors'
    cards. `assumed`: a core's.
    """

    multiply_adds_per_second: float
    device: Device
    source: Source


@dataclass(frozen=True)
class Timing:
    """One entry of work/speed.json: the step of one network, and what was timed for it, as pairs of depth and batch."""

    device: Device
    multiply_adds: int
    seconds: float
    timed: tuple[tuple[int, int], ...]


def network_name(run: Run) -> str:
    """The network of a run, whatever its epsilon, decay and seed."""
    return f"{run.dataset}-{run.depth}-{run.method}"


def here() -> dict[str, Any]:
    """What a measured speed holds for: this machine, its card if PyTorch sees one, as Snakemake trains on it."""
    import torch

    from eps_resnet.files.machine import machine
    from eps_resnet.runs import device

    return machine(torch.device("cuda" if device.has_gpu() else "cpu"), THREADS, processes=1)


def speed_of(experiment: Experiment, timings: dict[str, Timing]) -> Speed:
    """The speed of a run's network: from its timing, or else the one of the device that its recipe names."""
    timing = timings.get(network_name(experiment.run))
    if timing is not None and timing.multiply_adds == cost.step_multiply_adds(experiment):
        return Speed(timing.multiply_adds / timing.seconds, timing.device, "scaled" if timing.timed[1:] else "measured")
    if experiment.recipe.device == "gpu":
        return Speed(cost.GPU_MULTIPLY_ADDS_PER_SECOND[experiment.recipe.network], "gpu", "published")
    return Speed(cost.CPU_MULTIPLY_ADDS_PER_SECOND, "cpu", "assumed")


def read_timings(layout: Layout) -> tuple[dict[str, Timing], str | None]:
    """The timings of this machine by network, and why there are none if a file of another machine is there."""
    document = read_json(layout.speed)
    if document is None:
        return {}, None
    now = here()
    try:
        then = {name: document["machine"][name] for name in now}
        timings = {name: Timing(**timing) for name, timing in document["networks"].items()}
    except (KeyError, TypeError, AttributeError):
        return {}, f"{layout.speed} is not as `eps-resnet plan --calibrate` writes it; it is ignored."
    if differing := [f"{name} {then[name]} there, {now[name]} here" for name in now if then[name] != now[name]]:
        return {}, f"{layout.speed} is ignored, it was measured elsewhere: {'; '.join(differing)}."
    return timings, None

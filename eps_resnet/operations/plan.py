"""What a target still needs: its runs, which are done, and the hours, disk and memory that the others will take."""

from collections.abc import Iterable
from dataclasses import dataclass

from eps_resnet.exchange.further_runs import configuration
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.operations.speed import Device, Source, Timing, speed_of
from eps_resnet.provenance import state
from eps_resnet.provenance.fingerprints import CHECKPOINTS, training_fingerprint
from eps_resnet.runs import cost


@dataclass(frozen=True)
class Item:
    """One run of a plan. Multiply-adds, hours and bytes are those still to spend; memory is that of its training."""

    key: str
    state: state.State
    epochs_left: int
    epochs: int
    multiply_adds: float
    hours: float
    device: Device  # whose hours they are
    speed: Source
    disk_bytes: int
    checkpoint_bytes: int
    memory_bytes: int


@dataclass(frozen=True)
class Total:
    """Sums over some runs of a plan; of checkpoints and memory the most that one training takes."""

    runs: int
    done: int
    multiply_adds: float
    gpu_hours: float
    core_hours: float
    results_bytes: int
    data_bytes: int
    checkpoint_bytes: int
    memory_bytes: int


def in_order_of_worth(registry: Registry) -> list[str]:
    """Every run, those first that tell most for what they cost: first seeds before further ones, cheap before dear.

    So that, however far a sweep has come, as much as possible can be compared.
    """
    seeds: dict[Run, list[int]] = {}
    for run in registry.runs.values():
        seeds.setdefault(configuration(run), []).append(run.seed)

    def worth(key: str) -> tuple[int, float]:
        run = registry.runs[key]
        rank = sorted(seeds[configuration(run)]).index(run.seed)
        return rank, cost.training_multiply_adds(registry.experiment(key, Layout()))

    return sorted(registry.runs, key=worth)


def plan(experiments: Iterable[Experiment], timings: dict[str, Timing]) -> list[Item]:
    """What each run still needs, computed with these timings of this machine where they cover its network."""
    return [_item(experiment, timings) for experiment in experiments]


def _item(experiment: Experiment, timings: dict[str, Timing]) -> Item:
    left = epochs_left(experiment)
    speed, multiply_adds = speed_of(experiment, timings), cost.training_multiply_adds(experiment, left)
    return Item(
        key=experiment.key,
        state=state.state(experiment),
        epochs_left=left,
        epochs=experiment.epochs,
        multiply_adds=multiply_adds,
        hours=multiply_adds / speed.multiply_adds_per_second / cost.SECONDS_PER_HOUR,
        device=speed.device,
        speed=speed.source,
        disk_bytes=cost.result_bytes(experiment) if left else 0,
        checkpoint_bytes=cost.checkpoint_bytes(experiment) if left else 0,
        memory_bytes=cost.memory_bytes(experiment) if left else 0,
    )


def epochs_left(experiment: Experiment) -> int:
    """Epochs of a run that are still to be trained; its newest checkpoint has the number of those behind it."""
    if state.is_evaluated(experiment):
        return 0  # its network may be absent
    if state.is_trained(experiment) and experiment.files.model.exists():
        return 0
    checkpoints = experiment.layout.work(training_fingerprint(experiment)).glob(CHECKPOINTS)
    return experiment.epochs - max((int(path.name.split("-")[1]) for path in checkpoints), default=0)


def total(registry: Registry, layout: Layout, items: list[Item]) -> Total:
    """The sum over runs of a plan, with the data sets that are still to be fetched for them."""
    unfinished = {registry.run(item.key).dataset for item in items if item.state != "done"}
    return Total(
        runs=len(items),
        done=sum(item.state == "done" for item in items),
        multiply_adds=sum(item.multiply_adds for item in items),
        gpu_hours=sum(item.hours for item in items if item.device == "gpu"),
        core_hours=sum(item.hours for item in items if item.device == "cpu"),
        results_bytes=sum(item.disk_bytes for item in items),
        data_bytes=sum(cost.data_bytes(layout, name, registry.datasets[name]) for name in sorted(unfinished)),
        checkpoint_bytes=max((item.checkpoint_bytes for item in items), default=0),
        memory_bytes=max((item.memory_bytes for item in items), default=0),
    )


def totals(registry: Registry, layout: Layout, items: list[Item]) -> dict[str, Total]:
    """The totals of each data set by its name, in the registry's order, and of everything as `total`."""
    by_dataset = {name: [i for i in items if registry.run(i.key).dataset == name] for name in registry.datasets}
    parts = {name: total(registry, layout, part) for name, part in by_dataset.items() if part}
    return {**parts, "total": total(registry, layout, items)}

"""What a target still needs: its runs, which are done, and the hours, disk and memory that the others will take."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.errors import UserError
from eps_resnet.method.schedule import epochs_of
from eps_resnet.operations.speed import Device, Source, Timing, speed_of
from eps_resnet.provenance import fingerprints, state
from eps_resnet.runs.cost import (
    SECONDS_PER_HOUR,
    checkpoint_bytes,
    data_bytes,
    memory_bytes,
    result_bytes,
    training_multiply_adds,
)

ALL, DEMO = "all", "demo"  # Snakemake's targets beside figures


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


def runs_of(registry: Registry, targets: Iterable[str]) -> list[str]:
    """The keys of the runs that targets need, each once, in the registry's order.

    A target is `all` (the paper), `demo`, a data set, a figure or a run, as Snakemake's are. Raises UserError for
    anything else.
    """
    needed: set[str] = set()
    for target in targets:
        needed |= set(_runs_of(registry, target))
    return [key for key in registry.runs if key in needed]


def _runs_of(registry: Registry, target: str) -> Iterable[str]:
    if target in (ALL, DEMO):
        wanted = {n for n, data in registry.datasets.items() if (data.is_papers if target == ALL else data.demo)}
        return [key for key, run in registry.runs.items() if run.dataset in wanted]
    if target in registry.datasets:
        return [key for key, run in registry.runs.items() if run.dataset == target]
    if target in registry.figures:
        return registry.runs_of(target)
    if target in registry.runs:
        return [target]
    near = get_close_matches(
        target, [ALL, DEMO, *registry.datasets, *registry.figures, *registry.runs], n=3, cutoff=0.4
    )
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    raise UserError(f"No target is called {target!r}. There are {ALL}, {DEMO}, the data sets, figures and runs{hint}")


def in_order_of_worth(registry: Registry) -> list[str]:
    """Every run, those first that tell most for what they cost: first seeds before further ones, cheap before dear.

    So that, however far a sweep has come, as much as possible can be compared.
    """
    seeds: dict[Run, list[int]] = {}
    for run in registry.runs.values():
        seeds.setdefault(run.model_copy(update={"seed": 0}), []).append(run.seed)

    def worth(key: str) -> tuple[int, float]:
        run = registry.runs[key]
        rank = sorted(seeds[run.model_copy(update={"seed": 0})]).index(run.seed)
        return rank, training_multiply_adds(registry, key)

    return sorted(registry.runs, key=worth)


def plan(registry: Registry, layout: Layout, keys: list[str], timings: dict[str, Timing]) -> list[Item]:
    """What each run still needs, reckoned with these timings of this machine where they cover its network."""
    return [_item(registry, layout, key, timings) for key in keys]


def _item(registry: Registry, layout: Layout, key: str, timings: dict[str, Timing]) -> Item:
    run = registry.run(key)
    epochs = epochs_of(recipe_of(registry, run), run)
    left = epochs_left(registry, layout, key, epochs)
    speed, multiply_adds = speed_of(registry, run, timings), training_multiply_adds(registry, key, left)
    return Item(
        key=key,
        state=state.state(registry, layout, key),
        epochs_left=left,
        epochs=epochs,
        multiply_adds=multiply_adds,
        hours=multiply_adds / speed.multiply_adds_per_second / SECONDS_PER_HOUR,
        device=speed.device,
        speed=speed.source,
        disk_bytes=result_bytes(registry, key) if left else 0,
        checkpoint_bytes=checkpoint_bytes(registry, run) if left else 0,
        memory_bytes=memory_bytes(registry, run) if left else 0,
    )


def epochs_left(registry: Registry, layout: Layout, key: str, epochs: int) -> int:
    """Epochs of a run that are still to be trained; its newest checkpoint has the number of those behind it."""
    if state.is_evaluated(registry, layout, key):
        return 0  # its network may be absent
    if state.is_trained(registry, layout, key) and layout.model(key).exists():
        return 0
    checkpoints = layout.work(fingerprints.training_fingerprint(registry, layout, key)).glob(fingerprints.CHECKPOINTS)
    return epochs - max((int(path.name.split("-")[1]) for path in checkpoints), default=0)


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
        data_bytes=sum(data_bytes(registry, layout, name) for name in sorted(unfinished)),
        checkpoint_bytes=max((item.checkpoint_bytes for item in items), default=0),
        memory_bytes=max((item.memory_bytes for item in items), default=0),
    )


def totals(registry: Registry, layout: Layout, items: list[Item]) -> dict[str, Total]:
    """The totals of each data set by its name, in the registry's order, and of everything as `total`."""
    by_dataset = {name: [i for i in items if registry.run(i.key).dataset == name] for name in registry.datasets}
    parts = {name: total(registry, layout, part) for name, part in by_dataset.items() if part}
    return {**parts, "total": total(registry, layout, items)}

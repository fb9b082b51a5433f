"""What is still to do and what it takes: networks before training, hours, disk and memory."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Column, Table

from eps_resnet.cli.options import (
    EXPERIMENTS,
    HERE,
    PLAN,
    All,
    AsJson,
    RegistryFile,
    Root,
    RunKey,
    Targets,
    chosen,
    load,
)
from eps_resnet.cli.printing import coloured, numeric, plain_console, print_facts, print_json, print_text
from eps_resnet.experiments.layout import Layout

if TYPE_CHECKING:
    from eps_resnet.operations.plan import Item, Total

commands = typer.Typer()


@commands.command(rich_help_panel=PLAN)
def describe(run: RunKey, as_json: AsJson = False, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what a run's network is before training: parameters, blocks, multiply-adds."""
    from eps_resnet.runs.cost import describe

    print_facts(describe(chosen(registry_file, run)), as_json)


@commands.command(rich_help_panel=PLAN)
def plan(
    targets: Targets = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Time the networks on this machine first.")] = False,
    every: All = False,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Say what targets still need: hours, disk, memory and how the speed is known; of named targets each run."""
    from eps_resnet.experiments import targets as targets_module
    from eps_resnet.operations import plan as module
    from eps_resnet.operations import speed

    experiments, layout = load(registry_file), Layout(root)
    keys = targets_module.runs_of(experiments, targets or [targets_module.ALL])
    chosen_runs = [experiments.experiment(key, layout) for key in keys]
    if calibrate:
        unfinished = {item.key for item in module.plan(chosen_runs, {}) if item.epochs_left}
        from eps_resnet.operations.calibration import calibrate as time_networks

        time_networks(layout, (experiment for experiment in chosen_runs if experiment.key in unfinished))
    timings, ignored = speed.read_timings(layout)
    items = module.plan(chosen_runs, timings)
    totals = module.totals(experiments, layout, items)
    if as_json:
        print_json({"runs": items, "totals": totals, "machine": speed.here(), "ignored": ignored})
        return
    titles = {name: data.title for name, data in experiments.datasets.items()}
    _print_totals(titles, totals)
    shown = [item for item in items if every or (targets and item.state != "done")]
    if shown:
        _print_runs(shown)
    _print_explanation(totals["total"], speed.EXPLANATION)
    if len(shown) < len(items):
        print_text("Every run: --all. Those of a figure or data set that are not done: eps-resnet plan TARGET")
    if ignored:
        print_text(ignored)


def _print_totals(titles: dict[str, str], totals: "dict[str, Total]") -> None:
    numbers = numeric("runs", "done", "multiply-adds", "hours", "disk", "memory")
    view = Table("data set", *numbers, box=box.SIMPLE_HEAD, show_edge=False)
    for name, part in totals.items() if len(totals) > 2 else list(totals.items())[:1]:
        hours = [_hours(h, kind) for h, kind in ((part.gpu_hours, "gpu"), (part.core_hours, "cpu")) if h]
        counts = (str(part.runs), str(part.done), f"{part.multiply_adds:.2g}", " + ".join(hours) or "–")
        sizes = (_bytes(part.results_bytes + part.data_bytes), _bytes(part.memory_bytes))
        view.add_row(titles.get(name, name), *counts, *sizes)
    plain_console().print(view, "")


def _print_runs(items: "list[Item]") -> None:
    run, speed = Column("run", no_wrap=True), Column("speed", no_wrap=True)
    view = Table(run, "state", *numeric("epochs", "hours"), speed, box=box.SIMPLE_HEAD, show_edge=False)  # 80 columns
    for item in items:
        needs = (str(item.epochs_left), _hours(item.hours, item.device), item.speed) if item.epochs_left else ()
        view.add_row(item.key, coloured(item.state), *(needs or ("–" if item.state == "done" else "evaluate", "–", "")))
    plain_console().print(view, "")


def _print_explanation(whole: "Total", explanation: str) -> None:
    print_text(
        "Epochs, hours and disk are those still to spend; hours with all gates open. Disk: "
        f"{_bytes(whole.results_bytes)} of networks, {_bytes(whole.data_bytes)} of data sets to fetch (ImageNet's own "
        f"files not counted); beside that, up to {_bytes(whole.checkpoint_bytes)} of checkpoints for each training "
        f"under way. Memory: the most that one training takes on its device. {explanation} How all this is computed: "
        "docs/cost.md."
    )


def _hours(hours: float, device: str) -> str:
    digits = 0 if hours >= 100 else 1 if hours >= 1 else 3
    return f"{hours:,.{digits}f} {'GPU' if device == 'gpu' else 'core'}"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"

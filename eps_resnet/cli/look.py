"""Looks at what there is: runs, networks, results, what would be redone, what is still to do."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Column, Table

from eps_resnet.cli.options import EXPERIMENTS, HERE, AsJson, RegistryFile, Root, Targets, chosen, load
from eps_resnet.cli.printing import plain_console, print_facts, print_json
from eps_resnet.experiments.layout import Layout

if TYPE_CHECKING:
    from eps_resnet.operations.plan import Item, Total

commands = typer.Typer()


@commands.command()
def runs(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """List every run and its state: done, partial, stale or missing."""
    from eps_resnet.provenance import state

    experiments, layout = load(registry_file), Layout(root)
    rows = [
        {
            "key": key,
            **run.model_dump(include={"dataset", "depth", "method", "epsilon", "seed"}),
            "state": state.state(experiments.experiment(key, layout)),
        }
        for key, run in experiments.runs.items()
    ]
    if as_json:
        print_json(rows)
        return
    view = Table("run", "state")
    for row in rows:
        view.add_row(str(row["key"]), str(row["state"]))
    plain_console().print(view)


@commands.command()
def why(run: str, as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what would be redone for a run, and because of what."""
    from eps_resnet.operations import why as module

    steps = module.why(load(registry_file), Layout(root), run)
    if as_json:
        print_json(steps)
        return
    width = max(len(step.name) for step in steps)
    for step in steps:
        for line, reason in enumerate(step.reasons or (f"current {step.rests_on}".rstrip(),)):
            print(f"{'' if line else step.name:{width}}  {reason}")


@commands.command()
def verify(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Compare all data, results and tables with their records; fail if one is stale, altered or lost."""
    from eps_resnet.operations.verify import verify

    found = verify(load(registry_file), Layout(root))
    if as_json:
        print_json(found)
    else:
        if found.by_lineage:
            print(
                f"{len(found.by_lineage)} records were made by other code, from which the lineage leads to the present "
                "one; `eps-resnet why RUN` shows by which entries."
            )
        for problem in found.problems:
            print(f"{problem.path} {problem.problem}.\n  {problem.remedy}")
        if found.line_ends:
            print(
                f"{len(found.line_ends)} files, {found.line_ends[0]} the first of them, are right but for the ends of "
                "their lines, which are CRLF instead of LF: git's core.autocrlf wrote them so.\n  Commit or keep aside "
                "what is your own, then `git rm -rq --cached .` and `git reset --hard` write what was committed."
            )
        print(
            f"{len(found.verified)} files are what their records say, {len(found.problems) + len(found.line_ends)} are "
            "not; "
            f"{len(found.absent)} are not here (networks and images, made where they are needed)."
        )
    if found.problems or found.line_ends:
        raise SystemExit(1)


@commands.command()
def describe(run: str, as_json: AsJson = False, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Say what a run's network is before training: parameters, blocks, multiply-adds."""
    from eps_resnet.runs.cost import describe

    print_facts(describe(chosen(registry_file, run)), as_json)


@commands.command()
def show(run: str, as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Show a run's result: what was discarded, errors, size."""
    from eps_resnet.provenance import records
    from eps_resnet.provenance.records import Metrics
    from eps_resnet.provenance.state import state

    experiment = chosen(registry_file, run, root)
    metrics = records.read(Metrics, experiment.files.metrics)
    facts: dict[str, Any] = {"key": run, "state": state(experiment)}
    if metrics is not None:
        facts |= {
            "discarded": metrics.discarded,
            "blocks": metrics.blocks,
            "kept": metrics.kept,
            "error_gated": metrics.error.gated,
            "error_pruned": metrics.error.pruned,
            "agreement": metrics.agreement.equal / metrics.agreement.images,
            "parameters": metrics.after.parameters,
            "size_mib": metrics.after.size_mib,
            "epoch": metrics.epoch,
            "settled": metrics.settled,
        }
    print_facts(facts, as_json)


@commands.command()
def plan(
    targets: Targets = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Time the networks on this machine first.")] = False,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Say what targets still need: runs and their states, hours, disk and memory, and how the speed is known."""
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
    _print_plan(items, titles, totals, speed.EXPLANATION)
    if ignored:
        plain_console().print(ignored)


def _print_plan(items: "list[Item]", titles: dict[str, str], totals: "dict[str, Total]", explanation: str) -> None:
    console = plain_console()
    view = Table(Column("run", no_wrap=True), "state", box=box.SIMPLE_HEAD, show_edge=False)  # 80 columns
    for heading in ("epochs", "hours"):
        view.add_column(heading, justify="right")
    view.add_column("speed")
    for item in items:
        needs = (str(item.epochs_left), _hours(item.hours, item.device), item.speed) if item.epochs_left else ()
        view.add_row(item.key, item.state, *(needs or ("–" if item.state == "done" else "evaluate", "–", "")))
    console.print(view)
    console.print()
    view = Table("data set", box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("runs", "done", "multiply-adds", "hours", "disk", "memory"):
        view.add_column(heading, justify="right")
    for name, part in totals.items() if len(totals) > 2 else list(totals.items())[:1]:
        hours = [_hours(h, kind) for h, kind in ((part.gpu_hours, "gpu"), (part.core_hours, "cpu")) if h]
        counts = (str(part.runs), str(part.done), f"{part.multiply_adds:.2g}", " + ".join(hours) or "–")
        sizes = (_bytes(part.results_bytes + part.data_bytes), _bytes(part.memory_bytes))
        view.add_row(titles.get(name, name), *counts, *sizes)
    console.print(view)
    whole = totals["total"]
    console.print(
        "\nEpochs, hours and disk are those still to spend; hours with all gates open. Disk: "
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

"""Looks at what there is: runs, their results, what would be redone, what is not as its record says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.table import Column
from rich.text import Text

from eps_resnet.cli.options import (
    CHECK,
    EXPERIMENTS,
    HERE,
    SEE,
    All,
    AsJson,
    RegistryFile,
    Root,
    RunKey,
    Target,
    chosen,
    keys_of,
    load,
)
from eps_resnet.cli.printing import coloured, numeric, plain_console, plain_table, print_facts, print_json, print_text
from eps_resnet.cli.words import plural, seeds_together
from eps_resnet.experiments.layout import Layout

if TYPE_CHECKING:
    from eps_resnet.operations.verify import Verification
    from eps_resnet.operations.why import Step

commands = typer.Typer()

States = Literal["done", "partial", "stale", "missing"]
FEW = 3  # names that stand for many, where not all are asked for


@commands.command(rich_help_panel=SEE)
def runs(
    target: Target = None,
    state: Annotated[States | None, typer.Option("--state", help="Only runs in this state.")] = None,
    every: All = False,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Count runs by state (done, partial, stale or missing), and list those that are not missing."""
    from eps_resnet.provenance import state as module

    experiments, layout = load(registry_file), Layout(root)
    states = {key: module.state(experiments.experiment(key, layout)) for key in keys_of(experiments, target)}
    if as_json:
        fields = {"dataset", "depth", "method", "epsilon", "seed"}
        rows = [(key, found) for key, found in states.items() if state in (None, found)]
        print_json([{"key": k, **experiments.runs[k].model_dump(include=fields), "state": s} for k, s in rows])
        return
    _print_counts({key: experiments.runs[key].dataset for key in states}, states)
    wanted = [state] if state else ["partial", "stale", "done", *(["missing"] if every else [])]
    for one in wanted:
        _print_state(one, [key for key, found in states.items() if found == one])
    if "missing" in states.values() and "missing" not in wanted:
        print_text("\nThe missing ones: --all. What they need: eps-resnet plan")


def _print_counts(datasets: Mapping[str, str], states: Mapping[str, str]) -> None:
    heads = get_args(States)
    view = plain_table("data set", *numeric("runs", *heads))
    for name in dict.fromkeys(datasets.values()):
        own = [found for key, found in states.items() if datasets[key] == name]
        view.add_row(name, str(len(own)), *(str(own.count(one)) for one in heads))
    plain_console().print(view)


def _print_state(state: str, keys: Sequence[str]) -> None:
    if keys:
        print_text(Text.assemble("\n", coloured(state)))
        for name in seeds_together(keys):
            print_text(name, indent=2)


@commands.command(rich_help_panel=CHECK)
def why(
    target: Target = None,
    every: All = False,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Say what would be redone for a run, or for the runs of a data set or figure, and because of what."""
    from eps_resnet.operations import why as module

    experiments, layout = load(registry_file), Layout(root)
    found = module.why_each(experiments, layout, keys_of(experiments, target))
    is_one = target in experiments.runs
    if as_json:
        print_json(found[str(target)] if is_one else found)
    elif is_one:
        _print_steps(found[str(target)])
    else:
        _print_reasons(found, every)


def _print_steps(steps: "Iterable[Step]") -> None:
    view = plain_table(Column(no_wrap=True), Column(overflow="fold"), headings=False)
    for step in steps:
        for line, reason in enumerate(step.reasons or (f"current {step.rests_on}".rstrip(),)):
            view.add_row("" if line else step.name, reason)
    plain_console().print(view)


def _print_reasons(found: "dict[str, list[Step]]", every: bool) -> None:
    """What is redone of many runs: each reason once, with the runs and figures that it concerns."""
    runs: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    figures: dict[tuple[str, ...], dict[str, None]] = {}
    for key, (_, *steps) in found.items():
        own, shown = steps[:2], steps[2:]
        if due := next((step for step in own if step.reasons), None):
            runs.setdefault((due.name, due.reasons), []).append(key)
        for step in shown:
            if step.reasons:
                figures.setdefault(step.reasons, {})[step.name] = None
    redone = sum(map(len, runs.values()))
    print_text(f"{plural(len(found), 'run')}: {len(found) - redone} current, {redone} to be made or redone")
    for (name, reasons), keys in runs.items():
        _print_reason(f"{name}, {plural(len(keys), 'run')}", reasons, seeds_together(keys), every)
    for reasons, names in figures.items():
        why = ("they show these runs",) if reasons == ("it shows this run",) else reasons
        _print_reason(plural(len(names), "figure"), why, list(names), every)
    if found:
        print_text("\nOf one run, step by step: eps-resnet why RUN")


def _print_reason(heading: str, reasons: Iterable[str], names: Sequence[str], every: bool) -> None:
    print_text(Text.assemble("\n", (heading, "bold"), f": {'; '.join(reasons)}"))
    shown = names if every else names[:FEW]
    for name in shown:
        print_text(name, indent=2)
    if rest := len(names) - len(shown):
        print_text(f"and {rest} more: --all", indent=2)


@commands.command(rich_help_panel=CHECK)
def verify(as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
    """Compare all data, results and tables with their records; fail if one is stale, altered or lost."""
    from eps_resnet.operations.verify import verify

    found = verify(load(registry_file), Layout(root))
    if as_json:
        print_json(found)
    else:
        _print_verification(found)
    if found.problems or found.line_ends:
        raise SystemExit(1)


def _print_verification(found: "Verification") -> None:
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
    wrong = len(found.problems) + len(found.line_ends)
    print(
        f"{len(found.verified)} files are what their records say, {wrong} are not; {len(found.absent)} are not here "
        "(networks and images, made where they are needed)."
    )


@commands.command(rich_help_panel=SEE)
def show(run: RunKey, as_json: AsJson = False, root: Root = HERE, registry_file: RegistryFile = EXPERIMENTS) -> None:
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

"""The project itself: seeds, imports, generated files, locks, the lineage of its code."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from eps_resnet.cli.options import EXPERIMENTS, HERE, PROJECT, AsJson, RegistryFile, Root, Targets, load
from eps_resnet.cli.printing import print_json
from eps_resnet.data.own import LARGEST, SMALLEST
from eps_resnet.experiments.layout import Layout

commands = typer.Typer()


@commands.command("import", rich_help_panel=PROJECT)
def import_results(
    folder: Annotated[Path, typer.Argument(help="Another project: a clone, or a copy of a cluster's folder.")],
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Take over finished runs made from the same recipe, code and images; fail if one is refused."""
    from eps_resnet.exchange.import_results import import_results
    from eps_resnet.experiments.yaml_file import shown

    outcomes = import_results(registry_file, Layout(root), folder)
    if as_json:
        print_json(outcomes)
    else:
        for outcome in outcomes:
            reasons = f": {'; '.join(outcome.reasons)}" if outcome.reasons else ""
            print(f"{shown(outcome.key)}  {outcome.outcome}{reasons}")
    counts = {name: sum(o.outcome == name for o in outcomes) for name in ("imported", "already here", "refused")}
    print(", ".join(f"{count} {name}" for name, count in counts.items()) + ".", file=sys.stderr)
    if counts["imported"]:
        _generate_if_ours(registry_file)
        print("`make tables` writes tables, drawings and the report with them.", file=sys.stderr)
    if counts["refused"]:
        raise SystemExit(1)


@commands.command(rich_help_panel=PROJECT)
def seeds(
    count: Annotated[int, typer.Argument(min=1, max=100, help="How many seeds each configuration shall have, from 0.")],
    targets: Targets = None,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Add further seeds to the registry."""
    from eps_resnet.exchange.further_runs import add_runs, further_seeds
    from eps_resnet.experiments.targets import ALL, runs_of

    experiments = load(registry_file)
    added = further_seeds(experiments, runs_of(experiments, targets or [ALL]), count)
    if added:
        add_runs(registry_file, added)
        _generate_if_ours(registry_file)
    print(f"{registry_file}: {len(added)} runs added.", file=sys.stderr)


@commands.command("add-data", rich_help_panel=PROJECT)
def add_data(
    path: Annotated[Path, typer.Argument(help="An .npz file, or a folder with train/CLASS/ and test/CLASS/.")],
    name: Annotated[str, typer.Option(help="What the data set shall be called.")],
    size: Annotated[
        int | None,
        typer.Option(min=SMALLEST, max=LARGEST, help="Height and width to shrink images to; else theirs, at most 32."),
    ] = None,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Add your own images to the registry, with a recipe scaled to their number, six runs and two figures."""
    from eps_resnet.operations.add_data import add_data
    from eps_resnet.operations.plan import plan
    from eps_resnet.operations.speed import read_timings

    layout = Layout(root)
    added = add_data(registry_file, layout, path, name, size)
    _generate_if_ours(registry_file)
    look, runs = added.look, [added.registry.experiment(key, layout) for key in added.runs]
    hours = sum(item.hours for item in plan(runs, read_timings(layout)[0]))
    print(
        f"{name}: {look.train_images:,} training and {look.test_images:,} test images of {len(look.classes)} classes, "
        f"{added.size}x{added.size} pixels."
    )
    print(
        f"{registry_file} has {len(runs)} runs on it and their recipe, with reasons; change there what you know better."
    )
    print(f"Next: snakemake --cores 2 {_options(root, registry_file)}{name}")
    print(f"About {hours:.1f} core-hours at an assumed speed; `eps-resnet plan {name} --calibrate` measures it here.")


def _options(root: Path, registry_file: Path) -> str:
    """What a call of Snakemake must be told of another root and another registry."""
    given = {"root": (root, HERE), "registry": (registry_file, EXPERIMENTS)}
    words = [shlex.quote(f"{option}={path}") for option, (path, usual) in given.items() if path != usual]
    return f"--config {' '.join(words)} -- " if words else ""


def _generate_if_ours(registry_file: Path) -> None:
    """Keeps the generated files in step with the project's own registry."""
    if registry_file.resolve() == EXPERIMENTS.resolve():
        generate()


@commands.command(rich_help_panel=PROJECT)
def unlock() -> None:
    """Release the lock that a killed Snakemake left in this folder; refused while its process lives."""
    from eps_resnet.operations import working_folder

    print(working_folder.unlock(), file=sys.stderr)


@commands.command(rich_help_panel=PROJECT)
def attest() -> None:
    """Compare the present code with the former one by short trainings; if they agree, former results stay current."""
    from eps_resnet.operations.attest import attest

    added = attest()
    for entry in added:
        found = f"{len(entry.probes)} probes agree" if entry.probes else "all results here were made by this code"
        print(f"{entry.layer}: {found}; added to the lineage.", file=sys.stderr)
    if not added:
        print("The code that makes results is the attested one.", file=sys.stderr)


@commands.command(rich_help_panel=PROJECT)
def generate() -> None:
    """Write what is generated from the registry: dvc.yaml, Snakemake's JSON schema, what git ignores of results."""
    from eps_resnet.files.atomic import write_text
    from eps_resnet.operations.generated import FILES

    experiments = load(EXPERIMENTS)
    for path, content in FILES.items():
        write_text(path, content(experiments))
        print(path, file=sys.stderr)

"""Options that commands share, and how they load what they work on."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eps_resnet.experiments.layout import expanded

if TYPE_CHECKING:
    from eps_resnet.experiments.experiment import Experiment
    from eps_resnet.experiments.registry import Registry

HERE, EXPERIMENTS = Path(), Path("config/experiments.yaml")
# The groups of commands in the help.
SEE, CHECK, STEP, PLAN, PROJECT = (*("See results", "Check", "One step of a run", "Plan and machine", "The project"),)


def targets_beginning(incomplete: str) -> list[str]:
    """What the registry of this folder names, for a shell that completes a word."""
    from eps_resnet.files.errors import UserError

    try:
        registry = load(EXPERIMENTS)
    except UserError:
        return []
    names: Iterable[str] = (*registry.datasets, *registry.figures, *registry.runs)
    return [name for name in names if name.startswith(incomplete)]


Root = Annotated[
    Path, typer.Option("--root", help="Folder of the results: the project itself, or demo.", callback=expanded)
]
RegistryFile = Annotated[Path, typer.Option("--registry", help="Lists data sets, runs and figures.", callback=expanded)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
All = Annotated[bool, typer.Option("--all", help="Print every row, also those that have nothing to say.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads; results are only equal at equal numbers.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that decode images (ImageNet); else all cores.")]
Sharing = Annotated[int, typer.Option(min=1, help="Trainings and evaluations that may use one GPU at a time.")]
RunKey = Annotated[str, typer.Argument(help="A run's name.", autocompletion=targets_beginning)]
Figures = Annotated[
    list[str] | None, typer.Argument(help="All of them if none is named.", autocompletion=targets_beginning)
]
Targets = Annotated[
    list[str] | None,
    typer.Argument(help="all, demo, data sets, figures or runs; by default all.", autocompletion=targets_beginning),
]
Target = Annotated[
    str | None,
    typer.Argument(help="A data set, a figure or a run; by default all there are.", autocompletion=targets_beginning),
]


def load(path: Path) -> "Registry":
    """The registry in a file."""
    from eps_resnet.experiments import registry

    return registry.load(path)


def chosen(path: Path, key: str, root: Path = HERE) -> "Experiment":
    """A run of the registry in a file, with its results below a root."""
    from eps_resnet.experiments.layout import Layout

    return load(path).experiment(key, Layout(root))


def keys_of(registry: "Registry", target: str | None) -> list[str]:
    """The runs that a target needs; all that the registry lists if none is named."""
    from eps_resnet.experiments.targets import runs_of

    return list(registry.runs) if target is None else runs_of(registry, [target])

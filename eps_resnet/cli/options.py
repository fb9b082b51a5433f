"""Options that commands share, and how they load what they work on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eps_resnet.experiments.layout import expanded

if TYPE_CHECKING:
    from eps_resnet.experiments.experiment import Experiment
    from eps_resnet.experiments.registry import Registry


Root = Annotated[
    Path, typer.Option("--root", help="Folder of the results: the project itself, or demo.", callback=expanded)
]
RegistryFile = Annotated[Path, typer.Option("--registry", help="Lists data sets, runs and figures.", callback=expanded)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads; results are only equal at equal numbers.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that decode images (ImageNet); else all cores.")]
Sharing = Annotated[int, typer.Option(min=1, help="Trainings and evaluations that may use one GPU at a time.")]
Figures = Annotated[list[str] | None, typer.Argument(help="All of them if none is named.")]
Targets = Annotated[list[str] | None, typer.Argument(help="all, demo, data sets, figures or runs; by default all.")]
HERE, EXPERIMENTS = Path(), Path("config/experiments.yaml")


def load(path: Path) -> "Registry":
    """The registry in a file."""
    from eps_resnet.experiments import registry

    return registry.load(path)


def chosen(path: Path, key: str, root: Path = HERE) -> "Experiment":
    """A run of the registry in a file, with its results below a root."""
    from eps_resnet.experiments.layout import Layout

    return load(path).experiment(key, Layout(root))

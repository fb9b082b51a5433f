"""A rehearsal at full size: the workflow with invented results that no one can take for real.

`eps-resnet simulate FOLDER` writes a registry that says of itself that it is simulated. With it, every command and rule
works as ever, but trains nothing (invented.py). What keeps its numbers apart: docs/simulation.md.
"""

from pathlib import Path

from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Archive, DataSet
from eps_resnet.experiments.registry import Registry, as_yaml, load
from eps_resnet.files.atomic import read_json, write_text
from eps_resnet.files.errors import UserError

WORD = "SIMULATED"
REMARK = f"{WORD}: every number of ours is invented and nothing was trained; only the workflow is rehearsed."
MARK = "simulated"  # the key that every manifest and metrics file of a simulation has


def simulated(registry: Registry, seeds: int) -> Registry:
    """A registry of every configuration of the paper, so many seeds of each, that is marked as a simulation.

    Its data sets accept no real copy, their titles and remarks say what they are, and it needs no GPU.
    """
    datasets = {name: _simulated(data) for name, data in registry.datasets.items() if data.is_papers}
    configurations = [run for run in registry.runs.values() if run.dataset in datasets and run.seed == 0]
    runs = [run.model_copy(update={"seed": seed}) for run in configurations for seed in range(seeds)]
    parts = {
        "simulated": True,
        "datasets": datasets,
        "runs": {run.key: run for run in runs},
        "figures": {name: figure for name, figure in registry.figures.items() if figure.dataset in datasets},
    }
    return registry.model_copy(update=parts)


def _simulated(data: DataSet) -> DataSet:
    real = data.archives[0]
    images = {"train_images": real.train_images, "test_images": real.test_images}
    archive = Archive.model_validate({"name": MARK, "differs": REMARK, **images})
    recipe = data.recipe.model_copy(update={"device": "cpu"})
    title = f"{data.title} ({WORD.lower()})"
    return data.model_copy(update={"title": title, "remark": REMARK, "archives": (archive,), "recipe": recipe})


def write_registry(registry: Registry, folder: Path, seeds: int) -> Path:
    """Writes the registry of a simulation into a folder of its own and returns its path.

    Raises UserError if the folder holds anything but a simulation.
    """
    path = folder / "experiments.yaml"
    if folder.exists() and any(folder.iterdir()) and not (path.exists() and load(path).simulated):
        raise UserError(f"{folder} holds something else than a simulation; name a folder that is new or empty.")
    header = f"# {REMARK}\n# Written by `eps-resnet simulate`.\n"
    write_text(path, header + as_yaml(simulated(registry, seeds)))
    return path


def require_own_folder(registry_file: Path, layout: Layout) -> None:
    """Raises UserError unless results are kept beside the simulation's registry, and there are no real ones."""
    manifests = sorted(layout.result("").glob("*/manifest.json"))
    if real := [path for path in manifests if not _is_marked(path)]:
        raise UserError(f"{real[0].parent} is no result of a simulation; a simulation needs a folder of its own.")
    if registry_file.resolve().parent != layout.root.resolve():
        raise UserError(
            f"{registry_file} is a simulation: its results are invented, and stay beside it. Use "
            f"`--root {registry_file.parent}` (`snakemake --config root={registry_file.parent} ...`)."
        )


def require_none(layout: Layout) -> None:
    """Raises UserError if invented results lie where real ones are asked for."""
    if found := simulated_results(layout):
        raise UserError(
            f"{found[0].parent} is simulated ({len(found)} files in all): its numbers are invented, and nothing is "
            "made of them here. Delete it; or, to look at the simulation, give its own registry with --registry."
        )


def simulated_results(layout: Layout) -> list[Path]:
    """The manifests and metrics below a root that say that they are simulated, those of figures among them."""
    files = [*layout.result("").glob("*/m*.json"), *layout.tables("").glob("*/manifest.json")]
    return [path for path in sorted(files) if _is_marked(path)]


def _is_marked(path: Path) -> bool:
    return isinstance(document := read_json(path), dict) and MARK in document

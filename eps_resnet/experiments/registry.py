"""The registry: every data set with its recipe, every run and every figure, read from config/experiments.yaml.

`json_schema()` is written to workflow/schemas/experiments.schema.json.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import PrivateAttr, ValidationError, model_validator

from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import IMAGENET_BLOCKS, DataSet, Figure, Name, Run, Strict
from eps_resnet.experiments.yaml_file import explain, read_as_json, shown
from eps_resnet.files.errors import UserError

Named = TypeVar("Named", Run, Figure, DataSet)


class Registry(Strict):
    """config/experiments.yaml."""

    datasets: dict[Name, DataSet]
    runs: dict[str, Run]
    figures: dict[str, Figure]
    _experiments: dict[tuple[str, Layout], Experiment] = PrivateAttr(default_factory=dict)  # one each, for all who ask

    @model_validator(mode="after")
    def _augmentation_fits_the_format(self) -> "Registry":
        for name, data in self.datasets.items():
            crops = data.recipe.augmentation
            has_own = crops.area is not None or crops.saturation > 0 or crops.lighting > 0
            has_others = crops.pad > 0 or crops.elastic
            is_jpeg = data.format == "imagenet"
            if is_jpeg != (crops.area is not None) or (has_others if is_jpeg else has_own):
                raise ValueError(
                    f"datasets.{name}.recipe.augmentation: area, saturation and lighting belong to format imagenet, "
                    "which needs area; pad and elastic belong to the others"
                )
            if (data.format == "imagenet") == (data.recipe.pixel_divisor is not None):
                raise ValueError(
                    f"datasets.{name}.recipe.pixel_divisor: must be given, but not for format imagenet; "
                    f"found {data.recipe.pixel_divisor}"
                )
        return self

    @model_validator(mode="after")
    def _published_names_are_unique(self) -> "Registry":
        owners: dict[str, str] = {}
        for name, data in self.datasets.items():
            if not data.is_papers:
                continue
            if (owner := owners.setdefault(str(data.published_name), name)) != name:
                raise ValueError(
                    f"datasets.{name}.published_name: {data.published_name!r} is already that of {owner!r}; "
                    "the paper's numbers can belong to one data set only; a smaller version of it needs `reduced`"
                )
        return self

    @model_validator(mode="after")
    def _runs_are_consistent(self) -> "Registry":
        for key, run in self.runs.items():
            data = self.datasets.get(run.dataset)
            if data is None:
                raise ValueError(f"runs.{key}.dataset: {run.dataset!r} is not one of {sorted(self.datasets)}")
            _check_depth(f"runs.{key}.depth", run.depth, data.recipe.network)
            if run.variant not in (None, *data.variants):
                raise ValueError(f"runs.{key}.variant: {run.variant!r} is not one of {sorted(data.variants)}")
            own = run.model_copy(update={"weight_decay": None})
            if run.weight_decay == data.recipe_of(own).weight_decay:
                raise ValueError(
                    f"runs.{key}.weight_decay: {run.weight_decay:g} is the recipe's own, so this would be one seed "
                    "twice; leave it out"
                )
            if key != run.key:
                raise ValueError(f"runs.{key}: a run with these values is called {run.key!r}")
        return self

    @model_validator(mode="after")
    def _figures_are_consistent(self) -> "Registry":
        for name, figure in self.figures.items():
            if figure.dataset not in self.datasets:
                raise ValueError(f"figures.{name}.dataset: {figure.dataset!r} is not one of {sorted(self.datasets)}")
            if name != figure.name:
                raise ValueError(f"figures.{name}: it is called {figure.name!r}")
            if not self.runs_of(name):
                raise ValueError(f"figures.{name}.select: no run matches")
        return self

    def model_copy(self, **changes: Any) -> "Registry":
        """A copy, with experiments of its own."""
        copy = super().model_copy(**changes)
        copy._experiments = {}
        return copy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registry) and all(
            getattr(self, name) == getattr(other, name) for name in Registry.model_fields
        )

    def run(self, key: str) -> Run:
        """The run of that key. Raises UserError with the nearest keys if there is none."""
        return _named("run", key, self.runs)

    def experiment(self, key: str, layout: Layout) -> Experiment:
        """That run with all that belongs to it. Raises UserError with the nearest keys if there is none."""
        place = key, layout
        if place not in self._experiments:
            self._experiments[place] = self.experiment_of(self.run(key), layout)
        return self._experiments[place]

    def experiment_of(self, run: Run, layout: Layout) -> Experiment:
        """The same for a run of this registry's data sets that it need not list."""
        data = self.datasets[run.dataset]
        return Experiment(run.key, run, data, data.recipe_of(run), layout)

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises UserError if there is none."""
        return _named("figure", name, self.figures)

    def dataset(self, name: str) -> DataSet:
        """The data set of that name. Raises UserError if there is none."""
        return _named("data set", name, self.datasets)

    def runs_of(self, figure_name: str) -> dict[str, Run]:
        """The runs a figure needs, by key, in the registry's order."""
        figure = self.figures[figure_name]
        epsilons = self.datasets[figure.dataset].recipe.epsilons
        return {
            k: r for k, r in self.runs.items() if r.dataset == figure.dataset and figure.select.matches(r, epsilons)
        }


def _check_depth(where: str, depth: int, network: str) -> None:
    if network == "imagenet" and depth not in IMAGENET_BLOCKS:
        raise ValueError(f"{where}: must be one of {', '.join(map(str, IMAGENET_BLOCKS))}, found {depth}")
    if network == "cifar" and (depth < 8 or (depth - 2) % 6):
        raise ValueError(f"{where}: must be 6n+2 (8, 14, 20, ... 110, ...), found {depth}")


def _named(kind: str, name: str, known: Mapping[str, Named]) -> Named:
    if name not in known:
        hint = suggestion(name, known) or f"known: {', '.join(known)}"
        raise UserError(f"No {kind} is called {name!r} in the registry; {hint}")
    return known[name]


def suggestion(name: str, known: Iterable[str]) -> str:
    """Which known names may be meant, in words; nothing where none is near."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"did you mean {' or '.join(near)}?" if near else ""


def load(path: Path) -> Registry:
    """Reads and checks the registry. Raises UserError naming each wrong key, its value and what is allowed.

    Whatever the file holds, nothing else is raised, and the message is short and printable.
    """
    document = read_as_json(path)
    try:
        return Registry.model_validate_json(document, strict=True)  # "yes" is no number and 1 is no boolean
    except ValidationError as error:
        raise UserError(f"{shown(path)} is not valid:\n" + "\n".join(explain(error))) from None


def as_yaml(registry: Registry) -> str:
    """The registry as a file that `load` reads; what has its default value is left out."""
    document = registry.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None)


def json_schema() -> dict[str, Any]:
    """The JSON schema of config/experiments.yaml."""
    schema = Registry.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

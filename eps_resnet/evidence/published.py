"""The paper's numbers, read off its figures, with their uncertainties (paper_tables/published), and its recipes."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, ValidationError, model_validator

from eps_resnet.experiments.models import Count, DataSet, Method, Positive, PublishedName, Recipe, Run, Strict
from eps_resnet.experiments.yaml_file import explain
from eps_resnet.files.errors import UserError

# What the paper's data sets are, whatever the registry calls them.
_IMAGE_KEYS = ("format", "size", "channels", "classes", "train_images", "test_images")
IMAGES: dict[str, dict[str, Any]] = {
    name: dict(zip(_IMAGE_KEYS, values, strict=True))
    for name, *values in (
        ("CIFAR-10", "cifar10", 32, 3, 10, 50_000, 10_000),
        ("CIFAR-100", "cifar100", 32, 3, 100, 50_000, 10_000),
        ("SVHN", "svhn", 32, 3, 10, 604_388, 26_032),
        ("ImageNet", "imagenet", 224, 3, 1000, 1_281_167, 50_000),
    )
}

# Every key of a recipe and its accepted values, by data set: the project's default first, then what the paper or its
# code does otherwise. The rows of docs/fidelity.md say which is whose. Any other value is another experiment.
_CIFAR: dict[str, tuple[Any, ...]] = {
    "network": ("cifar",),
    "batch": (128,),
    "drop_last": (True,),
    "epochs": ({"standard": 200, "epsilon": 1000}, {"standard": 1000, "epsilon": 1000}),  # code: 1000 for all
    "epoch_steps": (None,),
    "rate": (0.1,),
    "first_rate": (None, 0.01),  # code's plots of baselines
    "rate_steps": ((82, 123),),
    "adaptive_steps": ((41, 61),),
    "late_rate": (None, {"rate": 2e-4, "epoch": 300, "adaptive_epoch": 150}),  # code
    "restart_on": ("discarded", "running_average"),  # code
    "momentum": (0.9,),
    "nesterov": (False,),
    "weight_decay": (2e-4,),
    "decay_on": ("weights",),
    "weight_decay_every": (480_000,),
    "weight_decay_factor": (0.2, 1.0),  # paper: the decay never falls
    "slices": (1,),
    "gate_scope": ("slice", "batch"),  # paper
    "epsilon_start_epoch": (0, 150),  # code, last commit
    "test_every": (1,),
    "discard_window": (238,),
    "side_weight": (0.1,),
    "augmentation": ({"pad": 4, "flip": True},),
    "pixel_divisor": (128.0,),
    "stride_padding": ("same",),
    "initialisation": ("variance_scaling", "gaussian"),  # paper
    "discarded_in_evaluation": ("identity", "gated"),  # code
    "precision": ("float32",),
    "compiled": (False,),
}
_SVHN_CHANGES = {"pad": 4, "brightness": 10.0, "contrast": (0.8, 1.2)}
RECIPES: dict[str, dict[str, tuple[Any, ...]]] = {
    "CIFAR-10": _CIFAR,
    "CIFAR-100": _CIFAR,
    "SVHN": {
        **_CIFAR,
        "epochs": ({"standard": 80, "epsilon": 150}, {"standard": 200, "epsilon": 200}),  # code: 200 for all
        "rate_steps": ((20, 28, 50),),
        "adaptive_steps": ((10, 14, 25),),
        "late_rate": (None,),
        "epsilon_start_epoch": (0,),
        # Paper: as on CIFAR. Code: elastic deformation too.
        "augmentation": (_SVHN_CHANGES, {"pad": 4, "flip": True}, {**_SVHN_CHANGES, "elastic": True}),
    },
    "ImageNet": {
        **_CIFAR,
        "network": ("imagenet",),
        "batch": (256,),
        "epochs": ({"standard": 110, "epsilon": 110},),
        "epoch_steps": (5000,),
        "rate_steps": ((30, 60, 85, 95),),
        "adaptive_steps": (None,),
        "late_rate": (None,),
        "nesterov": (True, False),  # paper
        "weight_decay": (1e-4, 2e-4),  # paper
        "slices": (4, 1),  # paper: 256 images on each GPU
        "epsilon_start_epoch": (0,),
        "augmentation": (
            {
                "area": {"share": (0.08, 1.0), "aspect": (0.75, 4 / 3), "test_short_side": 256},
                "flip": True,
                "brightness": 30.0,
                "contrast": (0.8, 1.2),
                "saturation": 0.4,
                "lighting": 0.1,
            },
        ),
        "pixel_divisor": (None,),
    },
}


# Networks of that depth are trained otherwise (run_imagenet.sh: 6 GPUs with 42 images each).
AT_DEPTH: dict[tuple[str, int], dict[str, tuple[Any, ...]]] = {
    ("ImageNet", 152): {"batch": (252, 256), "slices": (6, 1)},
}


def recipe_difference(data: DataSet, recipe: Recipe, run: Run) -> str | None:
    """How a run's training differs from all that paper and code do (`RECIPES`), in words; None if it does not."""
    return "; ".join(recipe_differences(data, recipe, run).values()) or None


def recipe_differences(data: DataSet, recipe: Recipe, run: Run) -> dict[str, str]:
    """The same for each key of data set or recipe in which it does; nothing for a data set not of the paper."""
    if data.published_name is None:
        return {}
    images = {key: (wanted,) for key, wanted in IMAGES[data.published_name].items()}
    accepted = {**images, **_accepted(data, run)}
    taken = {key: max(getattr(archive, key) for archive in data.archives) for key in ("train_images", "test_images")}
    steps = recipe.epoch_steps or taken["train_images"] // recipe.batch
    found = {**data.model_dump(include=set(images)), **taken, **_found(recipe, run)}
    found["discard_window"] = min(recipe.discard_window, steps)  # it ends with the epoch
    return {
        key: f"{key} {in_words(found[key])} instead of {' or '.join(map(in_words, values))}"
        for key, values in accepted.items()
        if found[key] not in values
    }


def reasons(data: DataSet, runs: Iterable[Run]) -> list[str]:
    """How these runs of a smaller version differ from the paper's experiment, and why: a sentence for each key.

    The registry gives the reasons (`reduced`). Runs' own weight decays are left out, as they stand beside each run.
    """
    found: dict[str, str] = {}
    for run in runs if data.reduced else ():
        found = {**recipe_differences(data, data.recipe, run), **found}
    return [f"{words}: {data.reduced.get(key, 'no reason is given')}." for key, words in found.items()]


def decays(data: DataSet) -> tuple[float, ...]:
    """The weight decays that paper and reference code have for the published data set that this is, or is made of."""
    return RECIPES[data.published_name]["weight_decay"] if data.published_name else ()


def recipe_choices(data: DataSet, recipe: Recipe, run: Run) -> str | None:
    """The accepted values of a run's recipe that are not the project's default, in words; None if there are none."""
    found, accepted = _found(recipe, run), _accepted(data, run)
    choices = [
        f"{key} {in_words(found[key])} (default {in_words(values[0])})"
        for key, values in accepted.items()
        if found[key] in values and found[key] != values[0]
    ]
    return "; ".join(choices) or None


def in_words(value: Any) -> str:
    """A value of a recipe as people write it: none, yes, `82, 123`, `pad 4, flip`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = (key if part is True else f"{key} {in_words(part)}" for key, part in value.items())
        return ", ".join(parts) or "none"
    if isinstance(value, tuple | list):
        return ", ".join(map(in_words, value)) or "none"
    return str(value)


def _found(recipe: Recipe, run: Run) -> dict[str, Any]:
    """A run's recipe as `RECIPES` writes it, but of its epochs those of its method."""
    changes = recipe.augmentation.model_dump(exclude_defaults=True)
    own = {"epochs": recipe.epochs_of(run.method), "rate_steps": recipe.rate_steps_of(run.method)}
    return {**recipe.model_dump(), "augmentation": changes, **own}


def _accepted(data: DataSet, run: Run) -> dict[str, tuple[Any, ...]]:
    accepted = RECIPES[data.published_name or ""]
    length = "epsilon" if run.method == "epsilon_side" else "standard"
    epochs = dict.fromkeys(epochs[length] for epochs in accepted["epochs"])
    return {**accepted, **AT_DEPTH.get((data.published_name or "", run.depth), {}), "epochs": tuple(epochs)}


Metric = Literal[
    "val_error", "top1_error", "top5_error", "discarded_ratio", "kept_fraction", "param_size_mb", "training_hours"
]
UNITS = {"param_size_mb": "MiB", "training_hours": "h"}  # of the metrics that are no fractions
_ALL_CIFAR, _TOPS = ("CIFAR-10", "CIFAR-100"), ("top1_error", "top5_error")
# Panels of the paper's figures, its text and the reference code's README: their data sets and metrics.
PANELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "1": (("CIFAR-100",), ("kept_fraction", "discarded_ratio", "val_error")),
    "3": (("CIFAR-10",), ("val_error",)),
    "6a": (("CIFAR-10",), ("val_error",)),
    "6b": (("CIFAR-100",), ("val_error",)),
    "6c": (("SVHN",), ("val_error",)),
    "6d": (("ImageNet",), _TOPS),
    "6e": (("CIFAR-10",), ("discarded_ratio",)),
    "6f": (("CIFAR-100",), ("discarded_ratio",)),
    "6g": (("SVHN",), ("discarded_ratio",)),
    "6h": (("ImageNet",), ("discarded_ratio",)),
    "7a": (("CIFAR-10",), ("param_size_mb",)),
    "7b": (("CIFAR-100",), ("param_size_mb",)),
    "7c": (("SVHN",), ("param_size_mb",)),
    "7d": (("ImageNet",), ("param_size_mb",)),
    "8a": (_ALL_CIFAR, ("val_error",)),
    "8b": (_ALL_CIFAR, ("discarded_ratio",)),
    "9": (_ALL_CIFAR, ("discarded_ratio",)),
    "10a": (("CIFAR-10",), ("kept_fraction",)),
    "10b": (("CIFAR-100",), ("kept_fraction",)),
    "text": (("ImageNet",), ("discarded_ratio",)),
    "README comment": (("ImageNet",), (*_TOPS, "discarded_ratio")),
    "README cifar10-val-error.png": (("CIFAR-10",), ("val_error",)),
    "README cifar10-lr.png": (("CIFAR-10",), ("training_hours",)),
    "run_imagenet.sh": (("ImageNet",), ("training_hours",)),
    "README imagenet-val-error.png": (("ImageNet",), _TOPS),
}
WITHOUT_EPSILON = "README comment"  # the one source that does not say which epsilon its networks had
# What tells one published number from another.
IDENTITY = ("figure", "dataset", "depth", "epsilon", "method", "metric", "epoch", "group", "source")


class Number(Strict):
    """One line of published.csv; an empty cell is None. `dataset` is the paper's name of it, not the registry's."""

    figure: str
    dataset: PublishedName
    depth: Count
    epsilon: Positive | None
    method: Method
    metric: Metric
    epoch: Annotated[int, Field(ge=0)] | None
    group: Annotated[int, Field(ge=1, le=3)] | None
    value: Annotated[float, Field(ge=0)]
    uncertainty: Annotated[float, Field(ge=0)]
    unit: Literal["fraction", "MiB", "h"]
    source: Literal["digitised", "text", "reference-readme"]
    note: str | None

    @model_validator(mode="after")
    def _fits_its_panel(self) -> "Number":
        if self.figure not in PANELS:
            raise ValueError(f"figure: must be one of {', '.join(PANELS)}, found {self.figure!r}")
        for name, allowed in zip(("dataset", "metric"), PANELS[self.figure], strict=True):
            if (found := getattr(self, name)) not in allowed:
                raise ValueError(f"{name}: {self.figure} shows {' and '.join(allowed)}, found {found!r}")
        return self

    @model_validator(mode="after")
    def _is_complete(self) -> "Number":
        needs_epsilon = self.method == "epsilon_side" and self.figure != WITHOUT_EPSILON
        for name, is_needed, why in (
            ("epsilon", needs_epsilon, f"method {self.method} of {self.figure}"),
            ("group", self.metric == "kept_fraction", f"metric {self.metric}"),
            ("epoch", self.figure == "9" or self.figure.endswith("val-error.png"), f"figure {self.figure}"),
        ):
            if (getattr(self, name) is not None) != is_needed:
                raise ValueError(f"{name}: must {'' if is_needed else 'not '}be given for {why}")
        unit = UNITS.get(self.metric, "fraction")
        if self.unit != unit or (unit == "fraction" and self.value > 1):
            raise ValueError(f"value: {self.metric} is a {unit}, found {self.value:g} in unit {self.unit}")
        return self

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells it from all others. Several networks of unknown epsilon differ in their note alone."""
        is_unclear = self.method == "epsilon_side" and self.epsilon is None
        return (*(getattr(self, name) for name in IDENTITY), self.note if is_unclear else None)


def numbers() -> list[Number]:
    """The published numbers, in the file's order.

    Raises UserError if the file is missing, or for a line that is no published number or repeats one.
    """
    path = published_csv()
    found, lines = [], dict[tuple[object, ...], int]()
    for line, cells in _lines(path):
        number = _number(cells, f"{path}, line {line}")
        if (first := lines.setdefault(number.identity, line)) != line:
            raise UserError(f"{path}, line {line}: expected each number once, found that of line {first} again.")
        found.append(number)
    return found


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The lines below the heading, with their numbers. Raises UserError if the file is not as expected."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file, restkey="more cells")
            columns, found = lines.fieldnames, [(lines.line_num, line) for line in lines]
    except FileNotFoundError:
        raise UserError(f"The published numbers are not at {path}; run from the top folder of the project.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no table of comma-separated values: {error}. Restore it from git.") from None
    if columns != list(Number.model_fields):
        wanted, others = ", ".join(Number.model_fields), ", ".join(columns or ["nothing"])
        raise UserError(f"{path}, line 1: expected the columns {wanted}; found {others}. Restore it from git.")
    return found


def _number(cells: dict[str, Any], where: str) -> Number:
    """Raises UserError that says `where` if the line is no published number."""
    try:
        return Number.model_validate({column: cell or None for column, cell in cells.items()})
    except ValidationError as error:
        raise UserError(f"{where} is no published number:\n" + "\n".join(explain(error))) from None


def of_data(data: DataSet) -> list[Number]:
    """The numbers of the data set that `data` is, or is a smaller version of."""
    return [number for number in numbers() if number.dataset == data.published_name]


def matching(found: Iterable[Number], **where: object) -> list[Number]:
    """Those of the numbers that have these values."""
    return [number for number in found if all(getattr(number, name) == value for name, value in where.items())]


def pattern() -> pd.DataFrame:
    """Which blocks of Figure 1 are kept, one row each (paper_tables/published/figure1.csv).

    Columns: dataset (the paper's name), depth, stage (from 1), block (of its stage, from 0), shift, kept ("kept",
    "discarded", or "hidden" under the frame of the figure). The block may lie up to `shift` places further from the
    input than `block` says, because the hidden ones before it are not known; `block` is empty where nothing is.
    Raises UserError if the file is missing.
    """
    path = published_pattern_csv()
    if not path.exists():
        raise UserError(f"The published pattern of blocks is not at {path}; run from the top folder of the project.")
    return pd.read_csv(path)


def published_csv() -> Path:
    """The published numbers, which belong to the project whatever the root of the results is."""
    return Path("paper_tables/published/published.csv")


def published_pattern_csv() -> Path:
    """The published pattern of kept blocks, Figure 1."""
    return Path("paper_tables/published/figure1.csv")

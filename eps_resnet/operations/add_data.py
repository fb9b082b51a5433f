"""Adds a user's own data to the registry: looks at it, fetches it, and writes its entry, its runs and its figures."""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from eps_resnet.data import folder, npz
from eps_resnet.data.fetch import fetch
from eps_resnet.data.own import Look
from eps_resnet.exchange.further_runs import line_of
from eps_resnet.experiments.edit import appended, or_by_hand, read_text, replace
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import METHODS, Name, Run
from eps_resnet.experiments.registry import Registry, load
from eps_resnet.experiments.yaml_file import explain, shown
from eps_resnet.files.errors import UserError, some
from eps_resnet.operations.scaled_recipe import (
    DECAY_TIMES_STEPS,
    FALLS,
    LEAST_EPOCH,
    LEAST_STEPS,
    MOST_STEPS,
    ScaledRecipe,
    scaled_recipe,
)

USUAL_SIZE = 32  # pixels, of larger images: CIFAR's
DEPTHS = (20, 56)
EPSILON = 2.5  # the paper's for CIFAR
FIGURES = ("6", "7")
NAMED = 10  # classes in a remark


@dataclass(frozen=True)
class Added:
    """What was added: the new registry, what the data looks like, and the runs that are to be trained."""

    registry: Registry
    look: Look
    size: int
    runs: tuple[str, ...]


def add_data(registry_file: Path, layout: Layout, path: Path, name: str, size: int | None) -> Added:
    """Adds the data at `path`, an .npz or a folder of images, under a name that is not taken yet.

    `size`: height and width that images are shrunk to; None for those of the smallest one, but at most 32. Raises
    UserError if the data cannot be used, and leaves the registry as it is.
    """
    before = load(registry_file)
    _require_new(before, name)
    kind, look = _looked_at(path)
    size = size or min(USUAL_SIZE, look.short_side)
    entry = _entry(name, kind, look, size, scaled_recipe(look.train_images))
    parts = {"datasets": entry, "runs": _runs(name), "figures": _figures(name)}
    added = _registry_of(parts)
    after = before.model_copy(update={part: {**getattr(before, part), **getattr(added, part)} for part in parts})
    fetch(after, layout, name, str(path))
    with or_by_hand(registry_file, parts):
        text = read_text(registry_file)
        for section, lines in parts.items():
            text = appended(text, section, lines)
        return Added(replace(registry_file, text, after), look, size, tuple(added.runs))


def _registry_of(parts: dict[str, str]) -> Registry:
    """What is added, as a registry of its own."""
    document = {section: yaml.safe_load(lines) for section, lines in parts.items()}
    return Registry.model_validate_json(json.dumps(document), strict=True)


def _require_new(registry: Registry, name: str) -> None:
    if name in registry.datasets:
        raise UserError(f"The registry has a data set {name!r} already; choose another --name.")
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        (words,) = explain(error)
        raise UserError(
            f"A data set cannot be called {shown(repr(name))}: {words.strip()}; choose another --name."
        ) from None
    if yaml.safe_load(name) != name:
        raise UserError(f"YAML does not read {name!r} as a text; choose a --name with other letters.")


def _looked_at(path: Path) -> tuple[str, Look]:
    """The format of a user's own data, and what a look at it says."""
    if path.is_dir():
        return "folder", folder.look(path)
    if path.is_file():
        return "npz", npz.look(path)
    raise UserError(
        f"There is nothing at {path}; give an .npz file, or a folder with train/<class>/ and test/<class>/."
    )


# What is added, as text


def _entry(name: str, kind: str, look: Look, size: int, recipe: ScaledRecipe) -> str:
    """The lines of a data set in the registry, with the reasons for its recipe."""
    epochs, (first, second) = recipe.epochs, recipe.adaptive_steps
    flip = "true # photographs stay what they are" if look.are_photographs else "false # true for photographs alone"
    text = f"""\
        {name}: # by `eps-resnet add-data`
          title: {name}
          format: {kind}
          classes: {len(look.classes)} # {some(look.classes, NAMED)}
          channels: {look.channels}
          size: {size}
          remark: >-
            The recipe was scaled to the number of training images by a rule (docs/tutorial.md), not chosen for them;
            its numbers cannot be compared with the paper's.
          archives:
            - name: added
              sha256: {look.sha256}
              train_images: {look.train_images}
              test_images: {look.test_images}
          recipe: # {recipe.steps:,} steps in all, {recipe.epoch_steps} in an epoch
            network: cifar
            device: cpu
            batch: {recipe.batch} # the paper's 128, or less, so that an epoch has {LEAST_EPOCH} steps
            epochs: {{standard: {epochs}, epsilon: {epochs}}} # for {LEAST_STEPS:,} to {MOST_STEPS:,} steps
            rate: 0.1
            rate_steps: {list(recipe.rate_steps)} # twice adaptive_steps
            adaptive_steps: [{first}, {second}] # about {FALLS[0]} and {FALLS[1]} / (weight_decay x steps of an epoch)
            weight_decay: {recipe.weight_decay} # {DECAY_TIMES_STEPS} / steps in all: closed blocks have time to vanish
            epsilons: [{EPSILON}]
            augmentation:
              pad: {size // 8} # an eighth of the size
              flip: {flip}
            pixel_divisor: 128
        """
    return textwrap.indent(textwrap.dedent(text), "  ").rstrip(" ")


def _runs(name: str) -> str:
    runs = [
        {"dataset": name, "depth": depth, "method": method, "epsilon": EPSILON if method == "epsilon_side" else None}
        for depth in DEPTHS
        for method in METHODS
    ]
    return "".join(f"  {line_of(Run.model_validate(run))}\n" for run in runs)


def _figures(name: str) -> str:
    select = f"{{depths: [{', '.join(map(str, DEPTHS))}], methods: [{', '.join(METHODS)}]}}"
    lines = (f'figure{number}-{name}: {{figure: "{number}", dataset: {name}, select: {select}}}' for number in FIGURES)
    return "".join(f"  {line}\n" for line in lines)

"""Adds runs to the registry's file: further seeds of what it lists, each in a line below its like. Comments stay."""

import re
from collections.abc import Iterable
from pathlib import Path

from eps_resnet.experiments.edit import read_text, replace
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry, load
from eps_resnet.files.errors import UserError


def further_seeds(registry: Registry, keys: Iterable[str], seeds: int) -> list[Run]:
    """The runs that are missing for seeds 0 to `seeds` - 1 of the configurations of these runs."""
    configurations = dict.fromkeys(configuration(registry.run(key)) for key in keys)
    runs = [run.model_copy(update={"seed": seed}) for run in configurations for seed in range(seeds)]
    return [run for run in runs if run.key not in registry.runs]


def configuration(run: Run) -> Run:
    """What the runs have in common that differ in their seed alone."""
    return run.model_copy(update={"seed": 0})


def add_runs(path: Path, runs: list[Run]) -> Registry:
    """Writes runs into the file, each in a line after the last one of its configuration. Returns the new registry.

    Raises UserError, and leaves the file as it is, where that does not give the old registry with these runs.
    """
    before, lines = load(path), read_text(path).split("\n")
    for alike in {configuration(run): None for run in runs}:
        _insert(lines, [run for run in runs if configuration(run) == alike])
    runs_after = {**before.runs, **{run.key: run for run in runs}}
    try:
        return replace(path, "\n".join(lines), before.model_copy(update={"runs": runs_after}))
    except UserError as error:
        by_hand = "\n".join(f"  {line_of(run)}" for run in runs)
        raise UserError(
            f"{path} cannot be added to, as its runs are not written one in a line ({error}). It was left as it is; "
            f"put these lines below `runs:` yourself:\n{by_hand}"
        ) from None


def _insert(lines: list[str], runs: list[Run]) -> None:
    """Inserts runs that differ in their seed alone."""
    alike = re.compile(rf"( +){re.escape(runs[0].key.rpartition('-s')[0])}-s\d+: *\{{.*\}} *(#[^\r]*)?(\r?)")
    found = [(place, match) for place, line in enumerate(lines) if (match := alike.fullmatch(line))]
    if found:
        place, match = found[-1]
        lines[place + 1 : place + 1] = [match[1] + line_of(run) + match[3] for run in runs]


def line_of(run: Run) -> str:
    """A run as a line of the registry, without indentation."""
    values = {name: value for name, value in run.model_dump(mode="json").items() if value is not None}
    return f"{run.key}: {{{', '.join(f'{name}: {_number(value)}' for name, value in values.items())}}}"


def _number(value: object) -> str:
    """A value as YAML reads it: a float always with a dot."""
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0") + ("0" if value == int(value) else "")
    return str(value)

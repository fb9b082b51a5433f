"""Adds runs to the registry's file: further seeds of what it lists, each in a line below its like. Comments stay."""

import re
from collections.abc import Iterable
from pathlib import Path

from eps_resnet.experiments.edit import or_by_hand, read_text, replace
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
    runs_after = {**before.runs, **{run.key: run for run in runs}}
    with or_by_hand(path, {"runs": "".join(f"  {line_of(run)}\n" for run in runs)}):
        for alike in {configuration(run): None for run in runs}:
            _insert(lines, [run for run in runs if configuration(run) == alike])
        return replace(path, "\n".join(lines), before.model_copy(update={"runs": runs_after}))


def _insert(lines: list[str], runs: list[Run]) -> None:
    """Inserts runs that differ in their seed alone, after the last line of one that does as well."""
    alike = re.compile(rf"( +){re.escape(runs[0].key.rpartition('-s')[0])}-s\d+: *\{{.*\}} *(#[^\r]*)?(\r?)")
    found = [(place, match) for place, line in enumerate(lines) if (match := alike.fullmatch(line))]
    if not found:
        raise UserError(f"no run like {runs[0].key} is written in one line")
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

"""How long what comes before training takes to start: the command line, and Snakemake's look at the workflow."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Line, in_turns, line

ITEM, PAIRS = "8 start", 7
LIBRARIES = "import typer, rich, pydantic, yaml"  # of the command line; all others are for numbers or for the workflow
COMMANDS = Path(sys.executable).parent
ONE_RULE = "rule all:\n    output: 'made'\n    shell: 'touch {output}'\n"
NOTE = "most of it: pydantic's models and rich's tables, which these packages import on first use only"


def lines(cores: int) -> list[Line]:
    """`eps-resnet --help` and `runs` beside the import of their libraries, `snakemake -n all` beside one rule."""
    help_line, runs_line = (_command_line(argument, cores) for argument in ("--help", "runs"))
    return [help_line, replace(runs_line, note=NOTE), _workflow(cores)]


def _command_line(argument: str, cores: int) -> Line:
    start, libraries = _run(COMMANDS / "eps-resnet", argument), _run(sys.executable, "-c", LIBRARIES)
    what = f"eps-resnet {argument} / python -c '{LIBRARIES}'"
    return line(ITEM, what, in_turns(start, libraries, PAIRS), cores, at_most=2.5)


def _workflow(cores: int) -> Line:
    command = (COMMANDS / "snakemake", "-n", "all")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Snakefile").write_text(ONE_RULE, encoding="utf-8")
        ratio = in_turns(_run(*command), _run(*command, folder=folder), PAIRS)
    return line(ITEM, "snakemake -n all / snakemake -n of one rule", ratio, cores, at_most=3)


def _run(*words: str | Path, folder: str | None = None) -> Callable[[], object]:
    """Runs a command, what it prints aside. Raises CalledProcessError where it fails.

    With bytecode, as Python keeps it unless told otherwise: without, each start would compile this project's modules.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return lambda: subprocess.run(words, cwd=folder, env=environment, capture_output=True, check=True)

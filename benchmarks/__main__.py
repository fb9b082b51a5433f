"""Measures every goal on one core and on two, prints the table and writes it to benchmarks/results/. `make bench`."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Line
from eps_resnet.files import write_text

RESULTS = Path("benchmarks/results")
# Each a module here; those of ONE_CORE have figures that do not depend on the number of cores, or need both.
SECTIONS = ("steps", "gates", "inputs", "pruned", "scaling", "peers")
ONCE = ("start", "certificates", "around")


def main() -> None:
    """Runs all sections, each in a process of its own that may use one core, or two."""
    if len(sys.argv) > 1:
        _section(sys.argv[1], int(sys.argv[2]))
        return
    started = time.monotonic()
    cores = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
    lines = [line for count in cores for section in SECTIONS for line in _measured(section, count)]
    lines += [line for section in ONCE for line in _measured(section, cores[-1])]
    lines.sort(key=lambda line: (int(line.item.split()[0]), line.what, line.cores))
    minutes = (time.monotonic() - started) / 60
    document = {"machine": _machine(), "minutes": round(minutes, 1), "lines": [_entry(line) for line in lines]}
    write_text(RESULTS / "bench.json", json.dumps(document, indent=1) + "\n")
    _print(lines)
    missed = sum(line.met is False for line in lines)
    print(f"{len(lines)} figures in {minutes:.0f} minutes, {missed} of them miss their goal. {RESULTS}/bench.json")


def _measured(section: str, cores: int) -> list[Line]:
    print(f"{section}, {cores} core{'s' * (cores > 1)}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks", section, str(cores)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"The benchmark of {section} failed; its message is above. Nothing was written.")
    return [Line(**entry) for entry in json.loads(done.stdout.splitlines()[-1])]


def _section(name: str, cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import torch

    from eps_resnet import memory

    torch.set_num_threads(cores)
    memory.keep_freed()  # as `eps-resnet train` does; what is timed in turns has it too
    print(json.dumps([asdict(line) for line in import_module(f"benchmarks.{name}").lines(cores)]))


def _entry(line: Line) -> dict[str, object]:
    return {**asdict(line), "goal": line.goal, "met": line.met}


def _machine() -> dict[str, object]:
    import torch

    from eps_resnet.machine import processor

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def _print(lines: list[Line]) -> None:
    table = Table("", "what", "cores", "goal", "figure", "spread", "met", "note")
    for line in lines:
        table.add_row(
            line.item,
            line.what,
            str(line.cores),
            line.goal,
            f"{line.figure:.3g} {line.unit}",
            f"{line.low:.3g} to {line.high:.3g}",
            {True: "yes", False: "no", None: ""}[line.met],
            line.note,
        )
    Console(width=200).print(table)


if __name__ == "__main__":
    main()

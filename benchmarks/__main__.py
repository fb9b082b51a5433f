"""Measures every goal on one core and on two, prints the table and writes it to benchmarks/results/. `make bench`."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import import_module

from rich.console import Console
from rich.markdown import Markdown

from benchmarks import table
from benchmarks.measure import Line

# Modules here: those measured on one core and on two, and those that are not about cores.
SECTIONS = ("steps", "gates", "inputs", "pruned", "scaling", "peers")
ONCE = ("start", "certificates", "around", "operations")


GPU = "needs a GPU: `make gpu-check` measures it there"
UNMEASURED = [
    Line("6 GPU", what, None, None, None, 1, note=GPU)
    for what in (
        "step with late gates against gates read block by block",
        "step, compiled against eager",
        "step in TF32 and in bfloat16 against float32",
        "several trainings on one card",
    )
]


def main() -> None:
    """Runs all sections, each in a process of its own that may use one core, or two."""
    if len(sys.argv) > 1:
        _section(sys.argv[1], int(sys.argv[2]))
        return
    started = time.monotonic()
    cores = [count for count in (1, 2) if count <= (os.cpu_count() or 1)]
    lines = [line for count in cores for section in SECTIONS for line in _measured(section, count)]
    lines += [line for section in ONCE for line in _measured(section, cores[-1])]
    lines += UNMEASURED
    lines.sort(key=lambda line: int(line.item.split()[0]))
    table.write(lines, _machine())
    minutes, missed = (time.monotonic() - started) / 60, sum(line.met is False for line in lines)
    Console(width=200).print(Markdown(table.markdown(json.loads(table.RESULTS.read_text(encoding="utf-8")))))
    print(f"{len(lines)} figures in {minutes:.0f} minutes, {missed} miss their goal; written to {table.RESULTS}.")


def _measured(section: str, cores: int) -> list[Line]:
    print(f"{section}, {cores} core{'s' * (cores > 1)}", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks", section, str(cores)]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"The benchmark of {section} failed; its message is above. Nothing was written.")
    return [Line(**entry) for entry in json.loads(done.stdout.splitlines()[-1])]


def _section(name: str, cores: int) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import torch

    from eps_resnet.runs import memory

    torch.set_num_threads(cores)
    memory.keep_freed()  # as `eps-resnet train` does; what is timed in turns has it too
    print(json.dumps([asdict(line) for line in import_module(f"benchmarks.{name}").lines(cores)]))


def _machine() -> dict[str, object]:
    import torch

    from eps_resnet.files.machine import processor

    return {
        "processor": processor(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


if __name__ == "__main__":
    main()

"""The paper's runs with five seeds, rehearsed with invented results: how the workflow and the report bear that many.

`make simulation`; on the one-node Slurm of tests/cluster: `python -m benchmarks.simulation slurm`. Writes
benchmarks/results/simulation.json and the table of docs/simulation.md.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eps_resnet.files.atomic import write_text
from eps_resnet.files.machine import processor

SEEDS, TRAININGS = 5, 250
KEPT_IN_GIT = ("metrics.json", "history.csv", "blocks.parquet", "manifest.json")
RESULTS, PAGE = Path("benchmarks/results/simulation.json"), Path("docs/simulation.md")
BEGIN, END = "## Measured\n", "\n## "  # the part of the page that the table is
WHERE = {"local": "on this machine", "slurm": "on a one-node Slurm"}
EXECUTORS: dict[str, tuple[str, ...]] = {
    "local": ("--cores", "all"),
    "slurm": (
        *("--cores", "2", "--profile", "profiles/slurm", "--default-resources", "slurm_partition=main"),
        *("--slurm-status-command", "squeue"),  # this Slurm keeps no accounts
        # Ten runs in a job: each takes seconds, and a job's own start as long.
        *("--groups", "train=run", "prune=run", "evaluate=run", "--group-components", "run=10"),
    ),
}
SLURM, CHROMIUM = Path("tests/cluster/one_node_slurm.sh"), Path("/usr/bin/chromium")
BIN = Path(sys.executable).parent
# What is measured: its name in the results, in words with its unit, and its limit.
FIGURES: dict[str, tuple[str, float | None]] = {
    "planning": ("seconds to plan all of it (`snakemake -n all`)", 15),
    "jobs": ("jobs in the plan", None),
    "twice": ("jobs that were started twice", 0),
    "unfinished": ("runs that are not done at the end", 0),
    "minutes": ("minutes for all of it", None),
    "page": ("size of the report's page, MB", 10),
    "opening": ("seconds until Chromium has opened it", 2),
    "mean_run": ("kB of a run that git keeps, on average", 200),
    "largest_run": ("kB of the largest run", 400),
    "results": ("MB of `results/`, as git keeps it", None),
    "tables": ("MB of `paper_tables/`", None),
}


def main() -> None:
    """Rehearses all of it where the first argument says (`local` by default) and takes down what was measured."""
    where = sys.argv[1] if len(sys.argv) > 1 else "local"
    with TemporaryDirectory(dir=".") as folder, _cluster(where):
        figures = _measured(Path(folder), where)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[where] = {"machine": f"{processor()}, {os.cpu_count()} cores", **figures}
    write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    write_text(PAGE, page(PAGE.read_text(), results))
    print(markdown(results))


@contextmanager
def _cluster(where: str) -> Iterator[None]:
    if where == "slurm":
        subprocess.run([SLURM, "start"], check=True)
    try:
        yield
    finally:
        if where == "slurm":
            subprocess.run([SLURM, "stop"], check=True)


def _measured(folder: Path, where: str) -> dict[str, float]:
    registry = folder / "experiments.yaml"
    _run("eps-resnet", "simulate", str(folder), "--seeds", str(SEEDS))
    options = ("--config", f"root={folder}", f"registry={registry}", "--", "all")
    started = time.perf_counter()
    planned = _run("snakemake", "--dry-run", *options)
    planning = time.perf_counter() - started
    started = time.perf_counter()
    printed = _run("snakemake", *EXECUTORS[where], *options)
    minutes = (time.perf_counter() - started) / 60
    states = json.loads(_run("eps-resnet", "runs", "--json", f"--root={folder}", f"--registry={registry}", stderr=None))
    assert len(states) == TRAININGS
    sizes = [sum((path / name).stat().st_size for name in KEPT_IN_GIT) for path in folder.glob("results/*")]
    index = folder / "paper_tables/index.html"
    tables = sum(path.stat().st_size for path in folder.glob("paper_tables/**/*") if path.is_file())
    return {
        "planning": planning,
        "jobs": int(re.findall(r"^total +(\d+)$", planned, re.M)[0]),
        "twice": sum(count - 1 for count in started_jobs(printed).values()),
        "unfinished": sum(state["state"] != "done" for state in states),
        "minutes": minutes,
        "page": index.stat().st_size / 1e6,
        "opening": _opening(index),
        "mean_run": sum(sizes) / len(sizes) / 1e3,
        "largest_run": max(sizes) / 1e3,
        "results": sum(sizes) / 1e6,
        "tables": tables / 1e6,
    }


def started_jobs(printed: str) -> Counter[str]:
    """How often each job was started, by what Snakemake printed of it."""
    return Counter(re.findall(r"^ *Job \d+: ([^;\n]*)", printed, re.M))


def _run(command: str, *arguments: str, stderr: int | None = subprocess.STDOUT) -> str:
    done = subprocess.run([BIN / command, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n`{command} {' '.join(arguments)}` failed; nothing was written.")
    return done.stdout


def _opening(index: Path) -> float:
    """Seconds from opening the page to the end of its load event."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        tab = browser.new_page()
        tab.goto(index.resolve().as_uri(), wait_until="load")
        seconds = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
        browser.close()
    return float(seconds)


def page(text: str, results: dict[str, Any]) -> str:
    """The page with the table of these results in place of the one it has."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{markdown(results)}{END}{rest.partition(END)[2]}"


def markdown(results: dict[str, Any]) -> str:
    """A row for each figure, a column for each place where all was rehearsed."""
    places = [where for where in WHERE if where in results]
    rows = [["", "limit", *(WHERE[where] for where in places)], ["---"] * (2 + len(places))]
    for name, (words, limit) in FIGURES.items():
        cells = [_cell(results[where][name], limit) for where in places]
        rows.append([words, "" if limit is None else f"{limit:g}", *cells])
    machines = "; ".join(f"{WHERE[where]}: {results[where]['machine']}" for where in places)
    return "\n".join([*("| " + " | ".join(row) + " |" for row in rows), "", f"Machines: {machines}."]) + "\n"


def _cell(value: float, limit: float | None) -> str:
    missed = limit is not None and value > limit
    return f"{value:.3g}" + (" **missed**" if missed else "")


if __name__ == "__main__":
    main()

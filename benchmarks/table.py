"""The table of docs/speed.md, made from benchmarks/results/bench.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Line
from eps_resnet.files.atomic import write_text

RESULTS, PAGE = Path("benchmarks/results/bench.json"), Path("docs/speed.md")
BEGIN, END = "## Measured\n", "\n## "  # the part of the page that the table is
WHOLE = 1_000  # from here on numbers are shown with all their digits
MARK = {True: "met", False: "**missed**", None: ""}


def write(lines: Sequence[Line], machine: dict[str, Any]) -> None:
    """Writes the results, and puts their table into the page."""
    entries = [{**vars(line), "goal": line.goal, "met": line.met} for line in lines]
    write_text(RESULTS, json.dumps({"machine": machine, "lines": entries}, indent=1) + "\n")
    write_text(PAGE, page(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text(encoding="utf-8"))))


def page(text: str, results: dict[str, Any]) -> str:
    """The page with the table of these results in place of the one it has."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{markdown(results)}{END}{rest.partition(END)[2]}"


def markdown(results: dict[str, Any]) -> str:
    """Machine and table: a row for each thing measured, with its figure on one core and on two."""
    machine, entries = results["machine"], results["lines"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None)
    rows = [f"Measured on: {facts}.", "", "| | what | goal | 1 core | 2 cores | remarks |", "|---|---|---|---|---|---|"]
    for item, what in dict.fromkeys((entry["item"], entry["what"]) for entry in entries):
        of_cores = {entry["cores"]: entry for entry in entries if (entry["item"], entry["what"]) == (item, what)}
        last = of_cores[max(of_cores)]
        cells = [_cell(of_cores.get(cores)) for cores in (1, 2)]
        rows.append("| " + " | ".join([item, what, last["goal"], *cells, last["note"]]) + " |")
    return "\n".join(rows) + "\n"


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    if entry["figure"] is None:
        return "not run"
    unit = "" if entry["unit"] == "times" else f" {entry['unit']}"
    figure, low, high = (_number(entry[name]) for name in ("figure", "low", "high"))
    spread = f" ({low} to {high})" if entry["low"] != entry["high"] else ""
    return " ".join(filter(None, (f"{figure}{unit}{spread}", MARK[entry["met"]])))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= WHOLE else f"{value:.3g}"

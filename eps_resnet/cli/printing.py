"""How commands print: tables for 80 columns or wider, verdicts in colour on a terminal, JSON."""

import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from eps_resnet.cli.words import percent

WIDE = 160  # columns, where no terminal says how many there are
GAP = 2  # columns between those of a table
STYLES = {
    **dict.fromkeys(("supported", "reproduced", "consistent", "identical", "same", "agrees", "done"), "green"),
    **dict.fromkeys(("contradicted", "off", "inconsistent", "differs"), "red"),
    **dict.fromkeys(("undecided", "close", "within rounding", "partial", "stale"), "yellow"),
    **dict.fromkeys(("not run", "not comparable", "missing"), "dim"),
}


# What `show` and `describe` call their facts, where it is not the key's own words.
FACTS = {
    "key": "run",
    "discarded": "blocks discarded",
    "blocks": "blocks per stage",
    "kept": "blocks kept",
    "error_gated": "error with gates",
    "error_pruned": "error, pruned",
    "agreement": "pruned = gated",
    "size_mib": "MiB",
    "epoch": "epoch reported",
}

FRACTIONS = ("error_gated", "error_pruned", "agreement")


def speak_utf8() -> None:
    """Prints UTF-8 whatever the locale. What has no letters, as a file's name in another encoding, is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def print_json(document: Any) -> None:
    """Prints one JSON document; instances of dataclasses are objects in it."""
    print(json.dumps(document, indent=2, allow_nan=False, default=asdict))


def plain_console() -> Console:
    """A console that takes text as it is; where there is no terminal, wide and plain whatever the environment says."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else WIDE
    return Console(width=width, force_terminal=is_terminal, markup=False, emoji=False, highlight=False)


def plain_table(*columns: Column | str, headings: bool = True, gap: int = GAP) -> Table:
    """A table without lines."""
    return Table(*columns, box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=headings, header_style="bold")


def numeric(*headings: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(heading, justify="right", no_wrap=True) for heading in headings]


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Prints names and values as people read them, or as one JSON document."""
    if as_json:
        print_json(facts)
        return
    view = plain_table(Column(no_wrap=True), Column(overflow="fold"), headings=False)
    for name, value in facts.items():
        view.add_row(FACTS.get(name, name.replace("_", " ")), _readable(name, value))
    plain_console().print(view)


def _readable(name: str, value: Any) -> str | Text:
    """Fractions in per cent, sizes with two decimals, lists and truth in words, states in their colour."""
    if name in FRACTIONS:
        return percent(value)
    if value is None or isinstance(value, bool):
        return "–" if value is None else "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else coloured(str(value))


def print_fitting(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> list[str]:
    """Prints those columns of a table that fit in unbroken, first ones first. Returns the headings of the others."""
    widths = [max(cell_len(str(cell)) for cell in column) for column in zip(headings, *rows, strict=True)]
    room, shown = plain_console().width, list[int]()
    for place, width in enumerate(widths):
        if width <= room or not shown:
            shown.append(place)
            room -= width + GAP
    view = plain_table(*(Column(headings[place], no_wrap=True) for place in shown))
    for row in rows:
        view.add_row(*(row[place] for place in shown))
    plain_console().print(view)
    return [heading for place, heading in enumerate(headings) if place not in shown]


def print_text(words: str | Text, indent: int = 0) -> None:
    """Prints a paragraph, broken between words only."""
    if not str(words):
        print()
        return
    plain_console().print(Padding(words, (0, 0, 0, indent), expand=False))


def print_items(items: Iterable[str], indent: int = 0) -> None:
    """Prints paragraphs as a list."""
    view = plain_table(Column(no_wrap=True), Column(overflow="fold"), headings=False)
    for item in items:
        view.add_row(f"{' ' * indent}–", item)
    plain_console().print(view)


def coloured(verdict: str, words: str | None = None) -> Text:
    """A verdict or a state, or words in its place, in the colour that means it."""
    return Text(words or verdict, style=STYLES.get(verdict, ""))

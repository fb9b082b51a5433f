"""How commands print: tables for 80 columns or wider, numbers, JSON."""

import io
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table

WIDE = 160  # columns, where no terminal says how many there are


def speak_utf8() -> None:
    """Prints UTF-8 whatever the locale. What has no letters, as a file's name in another encoding, is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def print_json(document: Any) -> None:
    """Prints one JSON document; instances of dataclasses are objects in it."""
    print(json.dumps(document, indent=2, allow_nan=False, default=asdict))


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """Prints names and values."""
    if as_json:
        print_json(facts)
        return
    view = Table(show_header=False)
    for name, value in facts.items():
        view.add_row(name, "–" if value is None else str(value))
    plain_console().print(view)


def print_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Verdicts with what they are about and why."""
    view = Table(box=None, pad_edge=False, show_header=False)
    view.add_column(no_wrap=True)
    for verdict, statement, why in findings:
        view.add_row(verdict, Group(statement, Padding(why, (0, 0, 0, 2))))
    plain_console().print(view)


def plain_console() -> Console:
    """A console that takes text as it is; where there is no terminal, wide and plain whatever the environment says."""
    is_terminal = sys.stdout.isatty()
    width = None if is_terminal else WIDE
    return Console(width=width, force_terminal=is_terminal, markup=False, emoji=False, highlight=False)


def number(value: float | None) -> str:
    """Five digits of a number, or a dash."""
    return "–" if value is None else f"{value:.5g}"


def percent(value: float | None) -> str:
    """A fraction in per cent, or a dash."""
    return "–" if value is None else f"{value:.2%}"

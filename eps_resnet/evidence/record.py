"""The record of numbers that were once reproduced, against which what is reproduced now is held."""

from pathlib import Path

import pandas as pd

from eps_resnet.evidence import published
from eps_resnet.evidence.compare import Comparison
from eps_resnet.evidence.published import IDENTITY
from eps_resnet.files.atomic import write_text
from eps_resnet.files.errors import UserError


def record_path() -> Path:
    """The list of numbers that were once reproduced, beside the published ones."""
    return published.published_csv().with_name("reproduced.csv")


def record(comparisons: list[Comparison]) -> int:
    """Adds what is reproduced now to the record and returns how many rows that were; removes nothing."""
    known = recorded()
    new = [c for c in comparisons if c.verdict == "reproduced" and identity(c) not in known]
    rows = [dict(zip(IDENTITY, row, strict=True)) for row in (*known, *map(identity, new))]
    write_text(record_path(), pd.DataFrame(rows, columns=list(IDENTITY)).to_csv(index=False))
    return len(new)


def recorded() -> list[tuple[str, ...]]:
    """Identities of the recorded numbers, in the file's order; none if there is no file.

    Raises UserError if the file has other columns.
    """
    if not record_path().exists():
        return []
    table = pd.read_csv(record_path(), dtype=str, keep_default_na=False)
    if list(table.columns) != list(IDENTITY):
        raise UserError(
            f"{record_path()}: expected the columns {', '.join(IDENTITY)}, found {', '.join(table.columns)}. "
            "Restore it from git, or delete it and run `eps-resnet compare --record`."
        )
    return [tuple(row) for row in table.itertuples(index=False)]


def identity(comparison: Comparison) -> tuple[str, ...]:
    """What tells one published number from another, as text."""
    values = (getattr(comparison, name) for name in IDENTITY)
    return tuple("" if value is None else str(value) for value in values)


def lost(comparisons: list[Comparison]) -> list[str]:
    """The recorded numbers that are not reproduced now, in words. Raises UserError if none is recorded."""
    if not recorded():
        raise UserError(
            f"Nothing is recorded as reproduced in {record_path()}, so nothing can be held against it; "
            "run `eps-resnet compare --record` first, or restore the file from git."
        )
    now = {identity(c): c.verdict for c in comparisons}
    return [
        f"{' '.join(filter(None, row))}: now {now.get(row, 'without a published number')}"
        for row in recorded()
        if now.get(row) != "reproduced"
    ]

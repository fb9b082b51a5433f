"""The paper's numbers, read off its figures, with their uncertainties (paper_tables/published/published.csv)."""

from pathlib import Path

import pandas as pd

from eps_resnet.errors import UserError
from eps_resnet.registry import Registry


def read(path: Path, registry: Registry) -> pd.DataFrame:
    """Published values, one row each, data sets under the registry's names.

    Columns: figure, dataset, depth, epsilon, method, metric, epoch, group, value, uncertainty, unit, source, note.
    Raises UserError if the file is missing.
    """
    if not path.exists():
        raise UserError(f"The published numbers are not at {path}; run from the top folder of the project.")
    names = {data.published_name: name for name, data in registry.datasets.items() if data.published_name}
    table = pd.read_csv(path, dtype={"figure": str})
    table["dataset"] = table["dataset"].map(names)
    return table


def value(table: pd.DataFrame, figures: tuple[str, ...], **where: object) -> float | None:
    """The published value of one point of one of these figures ("6a", "6b", ...), or None if there is none."""
    rows = table[table["figure"].isin(figures)]
    for column, wanted in where.items():
        rows = rows[rows[column].isna()] if wanted is None else rows[rows[column] == wanted]
    return None if rows.empty else float(rows["value"].iloc[0])

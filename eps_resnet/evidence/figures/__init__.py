"""Tables and drawings, one module per figure, of the paper or our own, each with what FigureModule names."""

from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.evidence import published
from eps_resnet.evidence.figures import (
    cells,
    drawing,
    figure1,
    figure3,
    figure5,
    figure6,
    figure7,
    figure8,
    figure9,
    figure10,
    life,
    results,
    tradeoff,
)
from eps_resnet.evidence.figures.current import table_parts
from eps_resnet.evidence.figures.remarks import remarks_of
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import write_json
from eps_resnet.files.digests import digest, sha256, write_sealed


class FigureModule(Protocol):
    """What each figure's module offers."""

    TITLE: str
    CAPTION: list[str]  # what its drawing and its table need explained; it stands below the table
    NOTES: list[str]  # what its table alone needs explained
    MEANS: dict[str, str]  # columns whose means over seeds its table shows, and how they are called; none if empty

    def table(self, registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
        """Rows of every run of the figure, one or several each; columns run, state, settled and seed among others."""

    def readable(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of table.md, as text."""

    def draw(self, rows: pd.DataFrame, apart: bool = False) -> Drawing:
        """The drawing. `apart`: the published numbers are of another recipe, and no target."""


MODULES: dict[str, FigureModule] = {
    "1": figure1,
    "3": figure3,
    "5": figure5,
    "6": figure6,
    "7": figure7,
    "8": figure8,
    "9": figure9,
    "10": figure10,
    "life": life,
    "tradeoff": tradeoff,
}


def module_of(registry: Registry, name: str) -> FigureModule:
    """The module that makes a figure. Raises UserError if the registry has no such figure."""
    return MODULES[registry.figure(name).figure]


def write_figure(registry: Registry, layout: Layout, name: str) -> None:
    """Writes the table of a figure, and the drawing of that table."""
    write_table(registry, layout, name)
    write_drawing(registry, layout, name)


def write_table(registry: Registry, layout: Layout, name: str) -> None:
    """Writes table.csv, table.md and summary.json of a figure, with "not run" where runs are missing."""
    module = module_of(registry, name)
    rows = module.table(registry, layout, name)
    notes = remarks_of(registry, layout, name, rows) + module.CAPTION + module.NOTES
    notes += published.reasons(registry.datasets[registry.figures[name].dataset], registry.runs_of(name).values())
    means = cells.means(rows, module.MEANS) if module.MEANS else pd.DataFrame()
    views = [module.readable(rows)]
    if len(means):
        views.insert(0, means)
        notes.append(cells.MEANS)
    drawing.write_table(layout.tables(name), _title(registry, name), rows, views, notes)
    write_json(layout.summary(name), results.summary(rows))


def write_drawing(registry: Registry, layout: Layout, name: str) -> None:
    """Draws a figure from its table.csv, then writes the manifest that says what table and drawing show."""
    module = module_of(registry, name)
    rows = drawing.read_table(layout.tables(name))
    data = registry.datasets[registry.figures[name].dataset]
    canvas = module.draw(rows, apart=bool(data.reduced))
    drawing.head(canvas, _title(registry, name))
    drawing.save(layout.tables(name), canvas)
    made_from = table_parts(registry, layout, name)
    manifest = {
        "figure": name,
        "fingerprint": digest(made_from),
        "runs": list(dict.fromkeys(rows["run"])),
        "made_from": made_from,
        "files": {path.name: sha256(path) for path in layout.figure_files(name) if path.exists()},
    }
    write_sealed(layout.table_manifest(name), manifest)


def _title(registry: Registry, name: str) -> str:
    figure = registry.figures[name]
    title = figure.title if figure.is_papers else f"Not in the paper: {figure.title.lower()}"
    return f"{title}, {registry.datasets[figure.dataset].title}: {MODULES[figure.figure].TITLE}"

"""Tables and drawings, one module per figure of the paper, each with `table`, `readable` and `draw`."""

from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure as Drawing

from eps_resnet.errors import UserError
from eps_resnet.figures import drawing, figure6, figure7, figure8, results
from eps_resnet.files import write_json
from eps_resnet.layout import Layout
from eps_resnet.provenance import table_fingerprint
from eps_resnet.registry import Registry


class FigureModule(Protocol):
    """What each figure's module offers."""

    TITLE: str
    NOTES: list[str]  # what its table needs explained

    def table(self, registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
        """One row per run."""

    def readable(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns of table.md, as text."""

    def draw(self, rows: pd.DataFrame) -> Drawing:
        """The drawing."""


MODULES: dict[str, FigureModule] = {"6": figure6, "7": figure7, "8": figure8}


def module_of(registry: Registry, name: str) -> FigureModule:
    """The module that makes a figure. Raises UserError if this release has none for it."""
    number = registry.figure(name).figure
    if number not in MODULES:
        raise UserError(f"Figure {number} cannot be drawn yet; this release draws figures {', '.join(MODULES)}.")
    return MODULES[number]


def write_table(registry: Registry, layout: Layout, name: str) -> None:
    """Writes table.csv and table.md of a figure, with "not run" where runs are missing."""
    module = module_of(registry, name)
    rows = module.table(registry, layout, name)
    notes = results.remarks(registry, layout, name, rows) + module.NOTES
    drawing.write_table(layout.tables(name), _title(registry, name), rows, module.readable(rows), notes)


def write_drawing(registry: Registry, layout: Layout, name: str) -> None:
    """Writes figure.svg and figure.png of a figure, then the manifest that says what table and drawing show."""
    module = module_of(registry, name)
    rows = module.table(registry, layout, name)
    canvas = module.draw(rows)
    canvas.suptitle(_title(registry, name), fontsize=10)
    drawing.save(layout.tables(name), canvas, results.remarks(registry, layout, name, rows))
    manifest = {"figure": name, "fingerprint": table_fingerprint(registry, layout, name), "runs": list(rows["run"])}
    write_json(layout.table_manifest(name), manifest)


def _title(registry: Registry, name: str) -> str:
    figure = registry.figures[name]
    return f"Figure {figure.figure}, {registry.datasets[figure.dataset].title}: {MODULES[figure.figure].TITLE}"

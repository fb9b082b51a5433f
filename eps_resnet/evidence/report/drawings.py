"""What the report shows of each figure: drawing, table and notes from paper_tables, or that they are not there."""

import base64
from dataclasses import dataclass

from markupsafe import Markup

from eps_resnet.evidence.figures import MODULES, current
from eps_resnet.evidence.report.markdown import render_table
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json

DATA_URI = "data:image/svg+xml;base64,"


@dataclass(frozen=True)
class Drawing:
    """One figure on one data set. `image` is a data URI, None if the figure is not drawn."""

    name: str
    number: str
    title: str
    dataset: str
    image: str | None
    current: bool
    table: Markup
    notes: Markup
    files: tuple[str, ...]
    runs: tuple[str, ...]


def drawings(registry: Registry, layout: Layout) -> dict[str, list[Drawing]]:
    """The registry's figures by their number in the paper, in its order."""
    found: dict[str, list[Drawing]] = {}
    for name in sorted(registry.figures, key=lambda name: int(registry.figures[name].figure)):
        found.setdefault(registry.figures[name].figure, []).append(_drawing(registry, layout, name))
    return found


def _drawing(registry: Registry, layout: Layout, name: str) -> Drawing:
    figure, folder = registry.figures[name], layout.tables(name)
    runs = tuple(registry.runs_of(name))
    image, text = folder / "figure.svg", folder / "table.md"
    dataset = registry.datasets[figure.dataset].title
    table, notes = render_table(
        text.read_text(encoding="utf-8") if text.exists() else "", runs, f"Figure {figure.figure}, {dataset}"
    )
    return Drawing(
        name=name,
        number=figure.figure,
        title=MODULES[figure.figure].TITLE,
        dataset=dataset,
        # As an image: whatever the file holds, it runs no script, loads nothing, and its ids are its own. It cannot
        # follow the page into the dark, so it lies on white.
        image=DATA_URI + base64.b64encode(image.read_bytes()).decode() if image.exists() else None,
        current=_is_current(registry, layout, name),
        table=table,
        notes=notes,
        files=tuple(f"{name}/{path.name}" for path in layout.figure_files(name) if path.exists()),
        runs=runs,
    )


def _is_current(registry: Registry, layout: Layout, name: str) -> bool:
    """Whether the drawing shows the present results, with runs that are not done as such."""
    manifest = read_json(layout.table_manifest(name)) or {}
    return bool(manifest.get("fingerprint") == current.table_fingerprint(registry, layout, name))

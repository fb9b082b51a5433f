"""What the report shows of each figure: drawing, table and notes from paper_tables, or that they are not there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pandas as pd
from markupsafe import Markup

from eps_resnet.evidence.figures import MODULES, colours, current
from eps_resnet.evidence.report.markdown import render_table
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import FIGURES
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
PART = re.compile(r"(?:panel|entry)\d+(?:_-?\d+){4}")  # drawing.mark_parts: a part, and where it lies
UNKNOWN = (600, 300)  # pixels of a drawing of unknown size
DATA_URI = "data:image/svg+xml,"
SAFE = " !$'()*+,-./:;=?@[]_{|}~"  # beside letters and digits; no quotation mark, so that an attribute can hold it
FAMILIES = r"'DejaVu Sans'[^;\"]*"  # and ten other families of letters
MOST_ROWS = 24  # longer tables are linked
DARK = {light.lower(): dark for light, dark in colours.DARK.items()}  # as drawings write them


@dataclass(frozen=True)
class Part:
    """A panel of a drawing, or an entry of its legend. `address` is a data URI; sizes are in pixels."""

    address: Markup
    width: int
    height: int


@dataclass(frozen=True)
class Image:
    """A drawing in parts that a narrow screen shows one below the other. `width`: that of the whole."""

    panels: tuple[Part, ...]
    legend: tuple[Part, ...]
    width: int


@dataclass(frozen=True)
class Drawing:
    """One figure on one data set. `image` is None if the figure is not drawn or shows nothing."""

    name: str
    number: str
    title: str
    heading: str
    dataset: str
    image: Image | None
    current: bool
    table: Markup
    notes: Markup
    files: tuple[str, ...]
    runs: tuple[str, ...]


def drawings(registry: Registry, layout: Layout) -> dict[str, list[Drawing]]:
    """The registry's figures by their number in the paper, in its order; the paper's data sets come first of each."""
    found: dict[str, list[Drawing]] = {}
    for number in FIGURES:
        names = [name for name, figure in registry.figures.items() if figure.figure == number]
        for name in sorted(names, key=lambda name: not registry.datasets[registry.figures[name].dataset].is_papers):
            found.setdefault(number, []).append(_drawing(registry, layout, name))
    return found


def _drawing(registry: Registry, layout: Layout, name: str) -> Drawing:
    figure, folder = registry.figures[name], layout.tables(name)
    runs = tuple(registry.runs_of(name))
    image, text = folder / "figure.svg", folder / "table.md"
    data = registry.datasets[figure.dataset]
    table, notes = render_table(
        text.read_text(encoding="utf-8") if text.exists() else "", runs, f"{figure.title}, {data.title}", most=MOST_ROWS
    )
    return Drawing(
        name=name,
        number=figure.figure,
        title=MODULES[figure.figure].TITLE,
        heading=figure.title,
        dataset=data.title,
        image=_image(image) if image.exists() and _shows_numbers(folder / "table.csv", bool(data.reduced)) else None,
        current=_is_current(registry, layout, name),
        table=table,
        notes=notes,
        files=tuple(f"{name}/{path.name}" for path in layout.figure_files(name) if path.exists()),
        runs=runs,
    )


def _image(path: Path) -> Image:
    """The drawing's parts (drawing.mark_parts); all of it as one if it has none, as a drawing of a former version."""
    text = path.read_text(encoding="utf-8")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:  # it was altered: the browser says so in its place
        return Image((Part(_address(text), *UNKNOWN),), (), UNKNOWN[0])
    found: dict[str, list[ElementTree.Element]] = {}
    for group in root.iter(f"{{{SVG}}}g"):
        if named := PART.match(group.get("id", "")):
            found.setdefault(named[0], []).append(group)
    parts = {name: _part(root, groups, [float(n) for n in name.split("_")[1:]]) for name, groups in found.items()}
    panels = tuple(part for name, part in parts.items() if name.startswith("panel"))
    legend = tuple(part for name, part in parts.items() if name.startswith("entry"))
    if not panels or "viewBox" not in root.attrib:  # of a former version, or altered
        return Image((Part(_address(text), *UNKNOWN),), (), UNKNOWN[0])
    return Image(panels, legend, _pixels(float(root.attrib["viewBox"].split()[2])))


def _part(root: ElementTree.Element, groups: Sequence[ElementTree.Element], box: Sequence[float]) -> Part:
    """These groups as an image: whatever it holds, it runs no script, loads nothing, and its ids are its own."""
    own = "".join(ElementTree.tostring(group, encoding="unicode") for group in groups)
    shared = [thing for defs in root.iter(f"{{{SVG}}}defs") for thing in defs if _is_used(thing, own)]
    size = {"width": f"{box[2]:g}pt", "height": f"{box[3]:g}pt", "viewBox": " ".join(f"{number:g}" for number in box)}
    svg = ElementTree.Element(f"{{{SVG}}}svg", size)
    ElementTree.SubElement(svg, f"{{{SVG}}}defs").extend(shared)
    svg.extend(groups)
    return Part(_address(ElementTree.tostring(svg, encoding="unicode")), _pixels(box[2]), _pixels(box[3]))


def _address(svg: str) -> Markup:
    return Markup(DATA_URI + quote(_themed(_small(svg)), safe=SAFE))


def _is_used(thing: ElementTree.Element, text: str) -> bool:
    """Whether a definition is a style, or is named in the text and not defined there."""
    name = thing.get("id")
    return name is None or (f"#{name}" in text and f'id="{name}"' not in text)


def _pixels(points: float) -> int:
    return round(points * 4 / 3)


def _small(svg: str) -> str:
    """The drawing as small as it gets without a visible change: the page has dozens of them."""
    svg = re.sub(
        r"<metadata>.*?</metadata>|<!--.*?-->|<!DOCTYPE[^>]*>| transform=\"rotate\(-0 [^\"]*\"", "", svg, flags=re.S
    )
    svg = re.sub(r"<(?:path|use|text|image|rect|svg)\b[^>]*>", _rounded, svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r' id="([\w-]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><")
    while svg != (svg := re.sub(r"<g></g>|<g>(<(?:use|path)\b[^>]*/>)</g>", r"\1", svg)):
        pass
    return svg


def _rounded(tag: re.Match[str]) -> str:
    """A tag with places to a tenth of a point. Words of a drawing, which stand between tags, keep their digits."""
    return re.sub(r"(?<=[ \"(,-])(\d+\.\d)\d+(?=[ \",)\n])", r"\1", tag[0])


def _themed(svg: str) -> str:
    """The drawing with a class for each of its styles, which have colours of their own where the page is dark.

    An image asks for the colour scheme of the page that it is in.
    """
    styles: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f' class="{styles.setdefault(found[1], f"s{len(styles)}")}"'

    svg = re.sub(r' style="([^"]*)"', named, svg)
    light = "".join(f".{name}{{{re.sub(FAMILIES, 'sans-serif', style)}}}" for style, name in styles.items())
    dark = "".join(f".{name}{{{its_dark}}}" for style, name in styles.items() if (its_dark := _dark(style)))
    rules = f"{light}@media (prefers-color-scheme:dark){{text{{fill:{DARK[colours.INK]}}}{dark}}}"
    return re.sub(r"(<svg[^>]*>)", lambda found: f"{found[1]}<style>{rules}</style>", svg, count=1)


def _dark(style: str) -> str:
    found = re.findall(r"(fill|stroke): (#[0-9a-f]{6})", style)
    if ("stroke", colours.INK) in found and "fill" not in style:
        found.append(("fill", colours.INK))  # a black mark, which SVG fills with black where nothing is said
    return ";".join(f"{part}:{DARK[colour]}" for part, colour in found if colour in DARK)


def _shows_numbers(table: Path, reduced: bool) -> bool:
    """Whether a run is done, or the paper has numbers of it; beside a smaller version's they alone say nothing."""
    if not table.exists():
        return True
    rows = pd.read_csv(table, low_memory=False)
    has_published = not reduced and rows.filter(like="published").notna().to_numpy().any()
    return bool((rows["state"] == "done").any() or has_published)


def _is_current(registry: Registry, layout: Layout, name: str) -> bool:
    """Whether the drawing shows the present results, with runs that are not done as such."""
    manifest = read_json(layout.table_manifest(name)) or {}
    return bool(manifest.get("fingerprint") == current.table_fingerprint(registry, layout, name))

"""The report: paper_tables/index.html, from the answer down to every run, and the documents it refers to beside it.

The page carries all it needs: it asks the network for nothing, and equal results give equal bytes.
"""

import base64
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined

from eps_resnet.evidence import published
from eps_resnet.evidence.claims import claims
from eps_resnet.evidence.compare import Comparison, beside, compare
from eps_resnet.evidence.consistency import checks
from eps_resnet.evidence.figures.drawing import STYLES
from eps_resnet.evidence.published import in_words
from eps_resnet.evidence.report import numbers
from eps_resnet.evidence.report.answer import answer, matrix
from eps_resnet.evidence.report.drawings import drawings
from eps_resnet.evidence.report.lead import lead
from eps_resnet.evidence.report.markdown import render_document, title_of
from eps_resnet.evidence.report.runs import run_views
from eps_resnet.evidence.verdict import Verdict
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import write_text
from eps_resnet.provenance import state

VERDICTS: tuple[str, ...] = get_args(Verdict)
METRICS = {
    "val_error": "error",
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "discarded_ratio": "blocks discarded",
    "kept_fraction": "blocks kept",
    "param_size_mb": "size of the parameters",
    "training_hours": "time of a training",
}
DOCS = Path("docs")  # belongs to the project, whatever the root of the results is


def report_path(layout: Layout) -> Path:
    """Where the report lies: beside the figures' folders."""
    return layout.root / "paper_tables" / "index.html"


def write_report(registry: Registry, layout: Layout) -> Path:
    """Writes the report of the results below the layout's root, and the documents beside it; returns its path.

    Raises UserError if the published numbers are missing.
    """
    path = report_path(layout)
    write_text(path, render(registry, layout))
    for name, page in documents().items():
        write_text(path.parent / "docs" / f"{name}.html", page)
    return path


def render(registry: Registry, layout: Layout) -> str:
    """The report as HTML. What has not run shows as such."""
    environment = _environment()
    script = _asset(environment, "page.js")
    states = {key: state.state(registry.experiment(key, layout)) for key in registry.runs}
    comparisons, judged = compare(registry, layout), claims(registry, layout)
    found = checks(published.numbers())
    figures = drawings(registry, layout)
    names, rows = matrix(registry, judged)
    views, shared = run_views(registry, layout, states)
    return environment.get_template("index.html.j2").render(
        style=_asset(environment, "style.css"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        titles={name: data.title for name, data in registry.datasets.items()},
        remarks={data.title: data.remark for data in registry.datasets.values() if data.remark},
        methods={name: style["label"] for name, style in STYLES.items()},
        metrics=METRICS,
        verdicts=VERDICTS,
        answer=answer(registry, layout, states, judged, comparisons, found),
        overview=_overview(registry, states),
        matrix_names=names,
        progress={claim.dataset: claim.progress for claim in judged},
        matrix=rows,
        claims=judged,
        checks=found,
        lead=lead(registry, layout, figures, judged),
        figures=figures,
        figure_names=set(registry.figures),
        comparisons=[_Number(registry, comparison) for comparison in comparisons],
        reduced=_reduced(registry, layout, states),
        runs=views,
        cards=_packed({"runs": {view.key: view.card for view in views if view.card}, "shared": shared.lists}),
        documents={path.stem: title_of(path.read_text(encoding="utf-8")) for path in _documents()},
    )


def documents() -> dict[str, str]:
    """The documents of docs/ as pages of their own, by name."""
    environment, paths = _environment(), _documents()
    template, style = environment.get_template("document.html.j2"), _asset(environment, "style.css")
    names = [path.stem for path in paths]
    return {
        path.stem: template.render(
            title=title_of(path.read_text(encoding="utf-8")),
            style=style,
            content=render_document(path.read_text(encoding="utf-8"), names),
        )
        for path in paths
    }


def _documents() -> list[Path]:
    return sorted(DOCS.glob("*.md"))


def _environment() -> Environment:
    """Every text from the registry or from a result is escaped; a name missing in a template is an error."""
    environment = Environment(
        loader=PackageLoader("eps_resnet.evidence.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "published": numbers.published, "amount": numbers.amount, "words": in_words, "slug": _slug,
    }  # fmt: skip
    environment.globals |= {"counts": _counts}
    return environment


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _packed(document: Any) -> str:
    """A document as the page's script unpacks it: the cards of all runs would be a quarter of the page."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _slug(words: str) -> str:
    """A verdict or state as a class of the style sheet."""
    return words.replace(" ", "-")


def _counts(items: Iterable[Any]) -> dict[str, int]:
    """How many items have each verdict."""
    return dict(Counter(item.verdict for item in items))


def _overview(registry: Registry, states: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """Per data set: how many of its runs are done, and how many there are."""
    every = Counter(run.dataset for run in registry.runs.values())
    done = Counter(run.dataset for key, run in registry.runs.items() if states[key] == "done")
    return [(data.title, done[name], every[name]) for name, data in registry.datasets.items()]


class _Number:
    """A comparison as the page shows it: the published number as the paper has it, and its runs."""

    def __init__(self, registry: Registry, comparison: Comparison) -> None:
        self.c = comparison
        self.runs = comparison.runs or _planned(registry, comparison)
        self.figure = f"figure{comparison.figure.rstrip('abcdefgh')}-{comparison.dataset}"
        name = registry.datasets[comparison.dataset].published_name if comparison.dataset in registry.datasets else None
        images = published.IMAGES[name or comparison.dataset]["test_images"]
        is_error = comparison.metric.endswith("_error")
        self.counted = numbers.counted(comparison.published, comparison.uncertainty, images) if is_error else None


def _planned(registry: Registry, comparison: Comparison) -> tuple[str, ...]:
    """The runs that are planned for a number."""
    wanted = (comparison.dataset, comparison.depth, comparison.method, comparison.epsilon)
    return tuple(
        key
        for key, run in registry.runs.items()
        if run.weight_decay is None and (run.dataset, run.depth, run.method, run.epsilon) == wanted
    )


def _reduced(registry: Registry, layout: Layout, states: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each smaller version of a published data set: how it differs and why, and its numbers beside the paper's."""
    comparisons, found = beside(registry, layout), []
    for name, data in registry.datasets.items():
        if not data.reduced:
            continue
        runs = {key: run for key, run in registry.runs.items() if run.dataset == name}
        version = {
            "name": name,
            "data": data,
            "runs": len(runs),
            "done": sum(states[key] == "done" for key in runs),
            "reasons": published.reasons(data, runs.values()),
            "figures": {key: figure.title for key, figure in registry.figures.items() if figure.dataset == name},
            "comparisons": [_Number(registry, comparison) for comparison in comparisons if comparison.dataset == name],
        }
        found.append(version)
    return found

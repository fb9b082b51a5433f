"""The report: paper_tables/index.html, one page with every verdict, figure, claim and run.

The page carries all it needs: it asks the network for nothing, and equal results give equal bytes (no date in it).
"""

import base64
import hashlib
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
from eps_resnet.evidence.report import numbers
from eps_resnet.evidence.report.drawings import drawings
from eps_resnet.evidence.report.markdown import render_document
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
}
DOCS = Path("docs")  # belongs to the project, whatever the root of the results is


def report_path(layout: Layout) -> Path:
    """Where the report lies: beside the figures' folders."""
    return layout.root / "paper_tables" / "index.html"


def write_report(registry: Registry, layout: Layout) -> Path:
    """Writes the report of the results below the layout's root and returns its path.

    Raises UserError if the published numbers are missing.
    """
    path = report_path(layout)
    write_text(path, render(registry, layout))
    return path


def render(registry: Registry, layout: Layout) -> str:
    """The report as HTML. What has not run shows as such."""
    environment = _environment()
    script = _asset(environment, "page.js")
    states = {key: state.state(registry.experiment(key, layout)) for key in registry.runs}
    comparisons = compare(registry, layout)
    return environment.get_template("index.html.j2").render(
        style=_asset(environment, "style.css"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        titles={name: data.title for name, data in registry.datasets.items()},
        methods={name: style["label"] for name, style in STYLES.items()},
        metrics=METRICS,
        verdicts=VERDICTS,
        overview=_overview(registry, states, comparisons),
        comparisons=[(comparison, _runs(registry, comparison)) for comparison in comparisons],
        reduced=_reduced(registry, layout, states),
        figures=drawings(registry, layout),
        figure_names=set(registry.figures),
        claims=claims(registry, layout),
        checks=checks(published.read(published.published_csv(), registry)),
        fidelity=_page("fidelity"),
        speed=_page("speed"),
        runs=run_views(registry, layout, states),
    )


def _page(name: str) -> str | None:
    """A page of docs/ as HTML, None if it is not there."""
    path = DOCS / f"{name}.md"
    return render_document(path.read_text(encoding="utf-8")) if path.exists() else None


def _environment() -> Environment:
    """Every text from the registry or from a result is escaped; a name missing in a template is an error."""
    environment = Environment(
        loader=PackageLoader("eps_resnet.evidence.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"published": numbers.published, "amount": numbers.amount, "slug": _slug}
    environment.globals |= {"counts": _counts}
    return environment


def _asset(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _slug(words: str) -> str:
    """A verdict or state as a class of the style sheet."""
    return words.replace(" ", "-")


def _counts(items: Iterable[Any]) -> dict[str, int]:
    """How many items have each verdict."""
    return dict(Counter(item.verdict for item in items))


def _overview(registry: Registry, states: Mapping[str, str], comparisons: list[Comparison]) -> list[dict[str, Any]]:
    """Per data set: how many of its runs are done, and how many of its published numbers have which verdict."""
    rows = []
    for name, data in registry.datasets.items():
        own = [states[key] for key, run in registry.runs.items() if run.dataset == name]
        found = Counter(comparison.verdict for comparison in comparisons if comparison.dataset == name)
        done = {"runs": len(own), "done": own.count("done")}
        rows.append({"title": data.title, "paper": data.is_papers, **done, "verdicts": found})
    return rows


def _reduced(registry: Registry, layout: Layout, states: Mapping[str, str]) -> list[dict[str, Any]]:
    """Each smaller version of a published data set: how it differs and why, and its numbers beside the paper's."""
    comparisons, found = beside(registry, layout), []
    for name, data in registry.datasets.items():
        runs = {key: run for key, run in registry.runs.items() if run.dataset == name}
        if data.reduced:
            found.append(
                {
                    "name": name,
                    "data": data,
                    "runs": len(runs),
                    "done": sum(states[key] == "done" for key in runs),
                    "reasons": published.reasons(data, runs.values()),
                    "figures": [figure for figure, shown in registry.figures.items() if shown.dataset == name],
                    "comparisons": [comparison for comparison in comparisons if comparison.dataset == name],
                }
            )
    return found


def _runs(registry: Registry, comparison: Comparison) -> tuple[str, ...]:
    """The runs a number was measured on; where there are none, those planned for it."""
    wanted = (comparison.dataset, comparison.depth, comparison.method, comparison.epsilon)
    return comparison.runs or tuple(
        key
        for key, run in registry.runs.items()
        if run.weight_decay is None and (run.dataset, run.depth, run.method, run.epsilon) == wanted
    )

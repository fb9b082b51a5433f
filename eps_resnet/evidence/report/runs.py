"""What the report says of each run: state and command; of a finished one also its origin and its results."""

from collections.abc import Mapping
from dataclasses import dataclass
from os.path import relpath
from typing import Any

from eps_resnet.evidence.report.charts import Chart, charts
from eps_resnet.evidence.report.numbers import duration
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry, recipe_of
from eps_resnet.files.atomic import read_json
from eps_resnet.method.history import read_history
from eps_resnet.provenance.lineage import code_of

LEFT_OUT = ("discarded_blocks", "made_from", "seal")  # of metrics.json: long, and of no interest to a reader
Facts = list[tuple[str, str]]


@dataclass(frozen=True)
class Result:
    """A finished run: headline figures, charts, and facts from its metrics.json and manifest.json."""

    headline: Facts
    charts: tuple[Chart, ...]
    made: Facts
    configuration: Facts
    metrics: Facts
    files: tuple[tuple[str, str], ...]  # address seen from the page, name


@dataclass(frozen=True)
class RunView:
    """One run. `result` is None unless the run is done; `figures` are the names of those that show it."""

    key: str
    run: Run
    decay: float
    state: str
    figures: tuple[str, ...]
    result: Result | None


def run_views(registry: Registry, layout: Layout, states: Mapping[str, str]) -> dict[str, list[RunView]]:
    """The runs by the title of their data set, in the registry's order."""
    shown_in: dict[str, list[str]] = {}
    for name in registry.figures:
        for key in registry.runs_of(name):
            shown_in.setdefault(key, []).append(name)
    views: dict[str, list[RunView]] = {data.title: [] for data in registry.datasets.values()}
    for key, run in registry.runs.items():
        result = _result(layout, key) if states[key] == "done" else None
        view = RunView(
            key, run, recipe_of(registry, run).weight_decay, states[key], tuple(shown_in.get(key, ())), result
        )
        views[registry.datasets[run.dataset].title].append(view)
    return views


def _result(layout: Layout, key: str) -> Result:
    manifest, metrics = read_json(layout.run(key).manifest), read_json(layout.run(key).metrics)
    made_from = manifest["made_from"]
    page = layout.tables("")  # the page lies beside the figures' folders
    files = (layout.run(key).metrics, layout.run(key).history, layout.run(key).blocks, layout.run(key).manifest)
    return Result(
        headline=_headline(metrics),
        charts=charts(read_history(layout.run(key).history), sum(metrics["blocks"]), metrics["epoch"]),
        made=_made(manifest),
        # The run's own decay, if it has one, is in the recipe it was trained by.
        configuration=[
            *((n, v) for n, v in _flat(made_from["run"]) if n != "weight_decay"),
            *_flat(made_from["recipe"]),
        ],
        metrics=_flat({name: value for name, value in metrics.items() if name not in LEFT_OUT}),
        files=tuple((relpath(path, page), path.name) for path in files if path.exists()),
    )


def _headline(metrics: dict[str, Any]) -> Facts:
    error, before, after = metrics["error"], metrics["before"], metrics["after"]
    return [
        ("error, pruned", f"{error['pruned']:.2%}"),
        ("error, gates on", f"{error['gated']:.2%}"),
        ("blocks discarded", f"{metrics['discarded']} of {sum(metrics['blocks'])}"),
        ("kept per stage", " ".join(map(str, metrics["kept"]))),
        ("parameters", f"{before['parameters']:,} → {after['parameters']:,}"),
        ("epoch pruned", f"{metrics['epoch']}{'' if metrics['settled'] else ' (not settled)'}"),
    ]


def _made(manifest: dict[str, Any]) -> Facts:
    """By what, where, when and how long. Manifests of older versions lack the commit."""
    return [
        ("fingerprint", manifest["fingerprint"]),
        ("git commit", manifest.get("git_commit") or "not recorded"),
        *_flat(manifest["machine"]),
        *(
            fact
            for i, other in enumerate(manifest.get("earlier_machines", []), 1)
            for fact in _flat(other, f"machine {i}, ")
        ),
        *((f"duration, {name}", duration(seconds)) for name, seconds in manifest["seconds"].items()),
        ("finished", manifest["finished"]),
        ("data digest", manifest["made_from"]["data"]),
        ("code digest", code_of(manifest["made_from"]["code"])),
        ("model SHA-256", manifest["model_sha256"]),
    ]


def _flat(document: dict[str, Any], prefix: str = "") -> Facts:
    """Every leaf of a JSON document with its dotted name."""
    facts: Facts = []
    for name, value in document.items():
        if isinstance(value, dict):
            facts += _flat(value, f"{prefix}{name}.")
        else:
            facts.append((prefix + name, _text(value)))
    return facts


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)

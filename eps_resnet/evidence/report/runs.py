"""What the report says of each run: a row of the table, and of a finished one the card that the row opens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain, groupby
from os.path import relpath
from typing import Any

from eps_resnet.evidence.figures.life import gates_and_responses
from eps_resnet.evidence.published import in_words
from eps_resnet.evidence.report.charts import charts
from eps_resnet.evidence.report.numbers import duration
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout, RunFiles
from eps_resnet.experiments.models import Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.method.history import read_blocks, read_history
from eps_resnet.provenance import records
from eps_resnet.provenance.lineage import code_of
from eps_resnet.provenance.records import Manifest, Metrics

Facts = list[tuple[str, str]]
TENTHS = "abcdefghi"  # of the batches in which a gate was closed: digits are counts of epochs


@dataclass(frozen=True)
class RunView:
    """One run. `row` are the numbers of a finished one, `card` what the page's script makes its card of."""

    key: str
    run: Run
    decay: float
    variant: str | None
    title: str
    state: str
    row: dict[str, Any] | None
    card: dict[str, Any] | None


@dataclass
class Shared:
    """Lists of facts that many runs have in common: each is in the page once."""

    lists: list[Facts] = field(default_factory=list)

    def place_of(self, facts: Facts) -> int:
        """Where a list is, which is added if it is not there yet."""
        if facts not in self.lists:
            self.lists.append(facts)
        return self.lists.index(facts)


def run_views(registry: Registry, layout: Layout, states: Mapping[str, str]) -> tuple[list[RunView], Shared]:
    """All runs, in the registry's order, and what their cards share."""
    shown_in: dict[str, list[str]] = {}
    for name in registry.figures:
        for key in registry.runs_of(name):
            shown_in.setdefault(key, []).append(name)
    shared, views = Shared(), []
    for key, run in registry.runs.items():
        experiment, row, card = registry.experiment(key, layout), None, None
        manifest = records.read(Manifest, experiment.files.manifest)
        metrics = records.read(Metrics, experiment.files.metrics)
        if states[key] == "done" and manifest and metrics:
            row, card = _row(metrics), _card(experiment, manifest, metrics, shared)
            card["figures"] = shown_in.get(key, [])
        decay, variant = experiment.recipe.weight_decay, experiment.data.variant_title(run)
        views.append(RunView(key, run, decay, variant, experiment.data.title, states[key], row, card))
    return views, shared


def _row(metrics: Metrics) -> dict[str, Any]:
    return {
        "error": metrics.error.pruned,
        "discarded": metrics.compression.discarded_ratio,
        "parameters": metrics.after.parameters,
    }


def _card(experiment: Experiment, manifest: Manifest, metrics: Metrics, shared: Shared) -> dict[str, Any]:
    files, made_from, page = experiment.files, manifest.made_from, experiment.layout.tables("")
    history = read_history(files.history)
    paths = (files.metrics, files.history, files.blocks, files.manifest)
    # The run's own decay, if it has one, is in the recipe it was trained by.
    configuration = [(name, value) for name, value in _flat(made_from["run"]) if name not in ("weight_decay", "seed")]
    card = {
        "headline": _headline(metrics),
        "charts": [asdict(chart) for chart in charts(history, sum(metrics.blocks), metrics.epoch)],
        "made": _made(manifest),
        "machine": shared.place_of(_machines(manifest)),
        "configuration": shared.place_of([*configuration, *_flat(made_from["recipe"])]),
        "files": [(relpath(path, page), path.name) for path in paths if path.exists()],
    }
    if made_from["run"]["method"] == "epsilon_side":
        restarts = history.loc[history["rate"].diff() > 0, "epoch"].astype(int).tolist()
        card["life"] = _life(files, metrics) | {"restarts": restarts, "reported": metrics.epoch}
    return card


def _life(files: RunFiles, metrics: Metrics) -> dict[str, Any]:
    """The gates, one text for each block: how many recorded epochs in a row, then the letter of each of them.

    `.` open in every batch, `#` closed in every one, TENTHS between.
    """
    life = gates_and_responses(read_blocks(files.blocks), metrics.discarded_blocks)
    epochs = life["epoch"].astype(int).tolist()
    rows = ["".join(block) for block in zip(*life["gates"], strict=True)]
    is_whole = epochs == list(range(1, len(epochs) + 1))
    return {
        "epochs": len(epochs) if is_whole else epochs,
        "stages": metrics.blocks,
        "gates": ["".join(f"{len(list(same))}{_on_page(letter)}" for letter, same in groupby(row)) for row in rows],
    }


def _on_page(letter: str) -> str:
    return letter if letter in ".#" else TENTHS[int(letter) - 1]


def _headline(metrics: Metrics) -> Facts:
    error, before, after, agreement = metrics.error, metrics.before, metrics.after, metrics.agreement
    images = metrics.test_images
    return [
        ("error, pruned", f"{error.pruned:.2%}, {round(error.pruned * images):,} of {images:,}"),
        ("error, gates on", f"{error.gated:.2%}"),
        ("blocks discarded", f"{metrics.discarded} of {sum(metrics.blocks)}"),
        ("kept per stage", " ".join(map(str, metrics.kept))),
        ("parameters", f"{before.parameters:,} → {after.parameters:,}"),
        ("multiply-adds", f"{before.multiply_adds:,} → {after.multiply_adds:,}"),
        ("pruned = gated", f"{agreement.equal:,} of {agreement.images:,} images"),
        ("epoch pruned", f"{metrics.epoch}{'' if metrics.settled else ' (not settled)'}"),
    ]


def _made(manifest: Manifest) -> Facts:
    """By what, when and how long. Manifests of older versions lack the commit."""
    return [
        ("fingerprint", manifest.fingerprint),
        ("git commit", manifest.git_commit or "not recorded"),
        *((f"duration, {name}", duration(seconds)) for name, seconds in manifest.seconds.items()),
        ("finished", manifest.finished),
        ("model SHA-256", manifest.model_sha256),
    ]


def _machines(manifest: Manifest) -> Facts:
    """Where, and with what data and code."""
    others = [_flat(other, f"machine {i}, ") for i, other in enumerate(manifest.earlier_machines, 1)]
    digests = [("data digest", manifest.made_from["data"]), ("code digest", code_of(manifest.made_from["code"]))]
    return [*_flat(manifest.machine), *chain.from_iterable(others), *digests]


def _flat(document: dict[str, Any], prefix: str = "") -> Facts:
    """Every leaf of a JSON document with its name."""
    facts: Facts = []
    for name, value in document.items():
        if isinstance(value, dict):
            facts += _flat(value, f"{prefix}{name}, ")
        else:
            facts.append(((prefix + name).replace("_", " "), _text(value)))
    return facts


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else in_words(value)

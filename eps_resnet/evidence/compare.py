"""The whole state of the reproduction: every published number, ours beside it, and a verdict with its reason."""

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from eps_resnet.data import manifest
from eps_resnet.evidence import published, verdict
from eps_resnet.evidence.consistency import CHECKS
from eps_resnet.evidence.inference import Spread
from eps_resnet.evidence.published import IDENTITY
from eps_resnet.evidence.statistics import error_interval, mean_interval
from eps_resnet.evidence.verdict import Scale, Verdict
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Recipe, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json, write_text
from eps_resnet.files.errors import UserError
from eps_resnet.measure.size import size_of
from eps_resnet.method.history import read_history
from eps_resnet.method.networks.architecture import Architecture, architecture_of
from eps_resnet.provenance import records, state
from eps_resnet.provenance.records import Manifest

# Sources of published.csv that are no figure of the paper: its text, and the reference repository's README.
OTHER_SOURCES = (
    *("text", "README comment", "README cifar10-val-error.png", "README imagenet-val-error.png"),
    *("README cifar10-lr.png", "run_imagenet.sh"),
)
# Metric: the error of metrics.json that is set against it first, gates on, and that of the pruned network.
ERRORS = {
    "val_error": ("final", "pruned"),
    "top1_error": ("final", "pruned"),
    "top5_error": ("gated_top5", "pruned_top5"),
}
GATED = "the published error can be the gated network's in the last epoch (Fig. 6a's 5.24 % is that of step 390,000)"
# Data set and depth of networks that no script of the reference code can prune (compressModel.py refuses n = 50;
# imagenetCompressedResnet.py knows no 152 layers).
NEVER_PRUNED = (("SVHN", 302), ("ImageNet", 152))
TIME = "a time, on other hardware"
NOT_SVHN = "Figure 7c draws the bars of Figure 7b (CIFAR-100) again: no SVHN sizes"
BORROWED_DEPTH = 152  # the caption of Fig. 6d; the value of 101 layers is that of the reference code's own README
BORROWED = "Figure 6d's baseline of 152 layers is borrowed from fb.resnet.torch: another network and recipe"
UNVERIFIED = (
    "unless fetched from the official tars, the images could not be verified against the official ones, whose sampled "
    "checksum the registry does not have"
)
# Published points that the paper contradicts: name of the check (eps_resnet/evidence/consistency.py), figures, and
# where it is not all of their numbers, what columns of published.csv must hold.
CONTRADICTED: tuple[tuple[str, tuple[str, ...], dict[str, tuple[object, ...]]], ...] = (
    ("7-networks", ("7a",), {"epsilon": (2.5,)}),
    (
        "7-networks",
        ("7b",),
        {"epsilon": (2.5,), "depth": (500, 752)},
    ),
    ("imagenet-blocks", ("6h", "7d", "text"), {"method": ("epsilon_side",)}),
    ("10a-6e", ("10a", "6e"), {"depth": (200,)}),
    ("10b-6f", ("10b", "6f"), {"depth": (500, 752)}),
    ("9-end", ("6f",), {"depth": (752,)}),
    ("9-end", ("9",), {"paper_name": ("CIFAR-100",), "epoch": (1000,)}),
    ("9-labels", ("9",), {}),
    ("6h-text", ("6h", "text"), {"epsilon": (2.1,)}),
    ("3-text", ("3",), {"depth": (200, 254)}),
    ("3-6a", ("3", "6a"), {"method": ("standard",), "depth": (110, 200)}),
    ("8a-6", ("8a", "6a", "6b"), {"epsilon": (2.5,), "depth": (200,)}),
    ("svhn-depth", ("6c", "6g"), {"depth": (110,)}),
    ("readme-6a", ("6a",), {"method": ("standard_side",), "depth": (110,)}),
)


@dataclass(frozen=True)
class Comparison:
    """One published number and ours.

    `ours` is the mean over `n_seeds` finished runs or, for an unpruned network's size, an exact count (`n_seeds` 0);
    None if there is nothing to compare. `low` to `high` is its 95 % interval: binomial for one run's error, Student's t
    for a mean, None where neither applies. `other_reading`: of a size (Fig. 7) the true one, where `ours` is the
    paper's reading; of an error in the last epoch, gates on, that of the pruned network in the reported epoch. `runs`
    are the keys of the runs that `ours` comes from.
    """

    figure: str
    dataset: str
    depth: int | None
    epsilon: float | None
    method: str
    metric: str
    epoch: int | None
    group: int | None
    unit: str
    source: str
    published: float
    uncertainty: float
    ours: float | None
    low: float | None
    high: float | None
    n_seeds: int
    other_reading: float | None
    verdict: Verdict
    reason: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class _Point:
    """One row of published.csv with the empty cells as None, and what the registry says about its network."""

    row: dict[Any, Any]
    data: DataSet
    run: Run  # its seed means nothing
    epoch: int | None

    @property
    def is_unpruned_size(self) -> bool:
        return self.row["metric"] == "param_size_mb" and self.run.method == "standard"

    def unpruned_mib(self, with_side_head: bool) -> float:
        """Exact size of the network with all its blocks."""
        method = "standard_side" if with_side_head else "standard"
        run = Run.model_validate({"dataset": self.run.dataset, "depth": self.run.depth, "method": method})
        experiment = Experiment(run.key, run, self.data, self.data.recipe, Layout())
        return _mib(architecture_of(experiment), self.data.size)

    @property
    def drawn_mib(self) -> float:
        """The same as Fig. 7 draws it: on ImageNet with the side head, else without (docs/verdicts.md)."""
        return self.unpruned_mib(with_side_head=self.data.format == "imagenet")


@cache
def _mib(architecture: Architecture, image_size: int) -> float:
    return size_of(architecture, image_size).mib


def compare(registry: Registry, layout: Layout) -> list[Comparison]:
    """One comparison for every published number, in the order of the file.

    Raises UserError for a row of a network that the registry does not train.
    """
    table = published.read(published.published_csv(), registry)
    done = [key for key in registry.runs if state.state(registry.experiment(key, layout)) == "done"]
    rows = [{k: None if _is_empty(v) else v for k, v in row.items()} for row in table.to_dict("records")]
    for number, row in enumerate(rows, start=2):  # the heading is line 1
        _check_claimed(registry, row, number)
    return [_with_contradictions(_compare_row(registry, layout, done, row), row) for row in rows]


def beside(registry: Registry, layout: Layout) -> list[Comparison]:
    """What smaller versions of a published data set measured, beside the paper's numbers of the same networks.

    None of it is comparable, and the reasons say why. Without numbers of single epochs, which mean nothing in a shorter
    training, and without sizes that are only counted.
    """
    table = published.read(published.published_csv(), registry)
    done = [key for key in registry.runs if state.state(registry.experiment(key, layout)) == "done"]
    found = []
    for name, data in registry.datasets.items():
        networks = {(run.depth, run.method, run.epsilon) for run in registry.runs.values() if run.dataset == name}
        for row in published.of_data(table, data).to_dict("records") if data.reduced else []:
            row = {k: None if _is_empty(v) else v for k, v in row.items()} | {"dataset": name}
            is_shown = (row["depth"], row["method"], row["epsilon"]) in networks and row["epoch"] is None
            is_shown = is_shown and row["metric"] != "training_hours"
            if is_shown and (row["metric"], row["method"]) != ("param_size_mb", "standard"):
                found.append(replace(_compare_row(registry, layout, done, row), verdict="not comparable"))
    return found


def _with_contradictions(comparison: Comparison, row: dict[Any, Any]) -> Comparison:
    """The comparison whose reason names the checks by which the paper contradicts the number."""
    numbers = {name: (number, title) for number, (name, title, *_) in enumerate(CHECKS, start=1)}
    found = [
        "check {} ({})".format(*numbers[name])
        for name, figures, where in CONTRADICTED
        if row["figure"] in figures and all(row[column] in values for column, values in where.items())
    ]
    if not found:
        return comparison
    return replace(comparison, reason=f"{comparison.reason}; the paper contradicts this point: {', '.join(found)}")


def _is_empty(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _whole(value: float | str | None) -> int | None:
    return None if value is None else int(float(value))


def _check_claimed(registry: Registry, row: dict[Any, Any], line: int) -> None:
    """Raises UserError unless a figure of the registry shows the row's network.

    For a number of the text or of another source, which need not be drawn, any run of the network will do. A registry
    need not have every data set of the paper; what it leaves out counts as not run.
    """
    if row["dataset"] not in registry.datasets:
        return
    name = f"figure{row['figure'].rstrip('abcdefgh')}-{row['dataset']}"
    is_quoted = row["figure"] in OTHER_SOURCES or (row["source"] == "text" and name in registry.figures)
    shown = registry.runs_of(name) if name in registry.figures else {}
    network = (row["dataset"], row["depth"], row["method"])
    if all(
        (run.dataset, run.depth, run.method) != network or row["epsilon"] not in (run.epsilon, None)
        for run in (registry.runs if is_quoted else shown).values()
    ):
        point = f"figure {row['figure']}, {row['dataset']}, depth {row['depth']}, {row['method']}, {row['metric']}"
        figure = "a figure" if is_quoted else name
        raise UserError(
            f"{published.published_csv()}, line {line}: no figure of the registry claims this number ({point}). "
            f"Let {figure} in config/experiments.yaml select such a run, or correct the row."
        )


def _compare_row(registry: Registry, layout: Layout, done: list[str], row: dict[Any, Any]) -> Comparison:
    if row["dataset"] not in registry.datasets:
        return _comparison(row, "not run", f"the registry has no data set {row['paper_name']}")
    if row["method"] == "epsilon_side" and row["epsilon"] is None:
        return _comparison(row, "not comparable", f"the source does not say which epsilon it used ({row['note']})")
    run = Run.model_validate({name: row[name] for name in ("dataset", "depth", "method", "epsilon")})
    point = _Point(row, registry.datasets[run.dataset], run, _whole(row["epoch"]))
    if point.is_unpruned_size:
        return _unpruned_comparison(point)
    anyhow = {"seed": run.seed, "weight_decay": run.weight_decay}
    keys = [key for key in done if registry.runs[key].model_copy(update=anyhow) == run]
    differences = {key: _difference(registry, layout, key) for key in keys}
    comparable = _alike(registry, [key for key in keys if differences[key] is None])
    values = {
        key: value
        for key in comparable or _alike(registry, keys)
        if (value := _measured(read_json(layout.run(key).metrics), layout, key, point)) is not None
    }
    why = _incomparable(point) or (None if comparable else next(iter(differences.values()), None))
    if why is None and not values:
        missing = _missing(point, keys)
        return _comparison(
            row, "not run", f"{missing}; {_stands_for(point)}" if _is_of_a_gated_network(point) else missing
        )
    if why is None:
        metrics = [read_json(layout.run(key).metrics) for key in values]
        is_final = row["metric"] in ERRORS or point.epoch is not None
        settled = is_final or all(document["settled"] for document in metrics)
        scale, spread = _scale(point, metrics[0]), _spread(registry, layout, done, point)
        judged, why = verdict.judge(list(values.values()), row["value"], row["uncertainty"], scale, settled, spread)
        why = "; ".join([why, *_reservations(registry, layout, next(iter(values)))])
        if row["metric"] == "param_size_mb":
            true = [float(document["after"]["size_mib"]) for document in metrics]
            other = verdict.judge(true, row["value"], row["uncertainty"], scale, settled)[0]
            why += f"; true size {_reading(fmean(true), row['value'], other)}"
        if _is_of_a_gated_network(point):
            pruned = _pruned_errors(metrics, row["metric"])
            other = verdict.judge(pruned, row["value"], row["uncertainty"], scale, settled)[0]
            why += (
                f"; pruned, in the reported epoch, {fmean(pruned):.2%}: {other} by that reading; {_stands_for(point)}"
            )
    else:
        judged = "not comparable"
    return _measured_comparison(layout, point, values, judged, why)


def _pruned_errors(metrics: list[dict[str, Any]], metric: str) -> list[float]:
    return [float(document["error"][ERRORS[metric][1]]) for document in metrics]


def _is_of_a_gated_network(point: _Point) -> bool:
    """Whether a number is the error of a gated network at no epoch of its own, which has two readings."""
    return point.row["metric"] in ERRORS and point.epoch is None and point.run.method == "epsilon_side"


def _stands_for(point: _Point) -> str:
    """Which of our errors a published one of a gated network can be, in words."""
    is_never_pruned = (point.data.published_name, point.run.depth) in NEVER_PRUNED
    return GATED if is_never_pruned else f"{GATED} or the pruned one's"


def _spread(registry: Registry, layout: Layout, done: list[str], point: _Point) -> Spread | None:
    """The spread over seeds of that metric, pooled over all networks of the data set and method; not of sizes."""
    if point.row["metric"] == "param_size_mb":
        return None
    arms: dict[tuple[object, ...], list[float]] = {}
    for key in done:
        run = registry.runs[key]
        if (run.dataset, run.method, run.variant) == (point.run.dataset, point.run.method, None):
            value = _measured(read_json(layout.run(key).metrics), layout, key, point)
            if value is not None:
                arms.setdefault((run.depth, run.epsilon, run.weight_decay), []).append(value)
    return Spread.of(arms.values())


def _alike(registry: Registry, keys: list[str]) -> list[str]:
    """Those of the runs that differ in nothing but their seed: of the recipe's decay, else of the paper's."""
    decays = {key: registry.runs[key].weight_decay for key in keys}
    papers = published.decays(registry.datasets[registry.runs[keys[0]].dataset]) if keys else ()
    wanted = next((decay for decay in (None, *papers, *decays.values()) if decay in decays.values()), None)
    return [key for key in keys if decays[key] == wanted]


def _reservations(registry: Registry, layout: Layout, key: str) -> list[str]:
    """What must be said of a comparable run's recipe and data, in words."""
    run = registry.runs[key]
    data = registry.datasets[run.dataset]
    choices = published.recipe_choices(data, data.recipe_of(run), run)
    words = [f"by another reading of paper or code than the default: {choices}"] if choices else []
    copy = manifest.read(layout, run.dataset)
    known = {archive.name: archive.sample_sha256 for archive in data.archives}
    if copy and copy.sample_sha256 and known.get(copy.copy) is None:
        words.append(UNVERIFIED)
    return words


def _reading(size: float, published_size: float, judged: Verdict) -> str:
    """The second reading of a size, in words."""
    return f"{size:.4g} MiB, difference {size - published_size:+.3g}: {judged} by that reading"


def _incomparable(point: _Point) -> str | None:
    """Why a number cannot be compared whatever is run, in words; None if it can."""
    if point.row["metric"] == "training_hours":
        return TIME
    if point.row["figure"] == "7c":
        return NOT_SVHN
    if (point.row["figure"], point.run.method, point.run.depth) == ("6d", "standard", BORROWED_DEPTH):
        return BORROWED
    if point.epoch == 0:
        return "nothing is discarded before the first epoch, by definition"
    recipe = point.data.recipe_of(point.run)
    last = recipe.epochs_of(point.run.method)
    if point.epoch is not None and point.epoch > last:
        return f"epoch {point.epoch} lies beyond the {last} of the recipe"
    return _recipe_difference(point.data, recipe, point.run)


def _recipe_difference(data: DataSet, recipe: Recipe, run: Run) -> str | None:
    difference = published.recipe_difference(data, recipe, run)
    return f"another recipe than the paper's: {difference}" if difference else None


def _difference(registry: Registry, layout: Layout, key: str) -> str | None:
    """How a finished run differs from the paper's in its recipe or data, in words; None if it does not."""
    run = registry.runs[key]
    altered = read_json(layout.run(key).metrics)["data_differs"]
    data = registry.datasets[run.dataset]
    difference = _recipe_difference(data, data.recipe_of(run), run)
    return difference or (f"an altered copy of the data: {altered}" if altered else None)


def _measured(metrics: dict[str, Any], layout: Layout, key: str, point: _Point) -> float | None:
    """Our value of a published number's metric, for one finished run; None if it was not measured."""
    metric = point.row["metric"]
    if point.epoch is not None:
        return _measured_at(metrics, layout, key, metric, point.epoch)
    if metric in ERRORS:
        error = metrics["error"].get(ERRORS[metric][0])
        return None if error is None else float(error)
    if metric == "training_hours":
        manifest_there = records.read(Manifest, layout.run(key).manifest)
        return manifest_there.seconds["training"] / 3600 if manifest_there else None
    if metric == "kept_fraction":
        stage = int(point.row["group"]) - 1
        return float(metrics["kept"][stage] / metrics["blocks"][stage])
    ratio = float(metrics["compression"]["discarded_ratio"])
    return point.drawn_mib * (1 - ratio) if metric == "param_size_mb" else ratio


def _measured_at(metrics: dict[str, Any], layout: Layout, key: str, metric: str, epoch: int) -> float | None:
    """The same after some epoch of the training, gates on."""
    if metric == "top5_error":  # not part of the history, but known for the epoch that was evaluated
        error = metrics["error"].get("gated_top5") if metrics["epoch"] == epoch else None
        return None if error is None else float(error)
    history = read_history(layout.run(key).history).set_index("epoch")
    if epoch not in history.index:
        return None
    if metric == "discarded_ratio":
        return float(history["discarded"].loc[epoch]) / float(sum(metrics["blocks"]))
    error = float(history["test_error"].loc[epoch])
    return None if math.isnan(error) else error


def _scale(point: _Point, metrics: dict[str, Any]) -> Scale:
    metric, blocks = point.row["metric"], metrics["blocks"]
    if metric in ERRORS:
        return verdict.error_scale(point.row["value"], metrics["test_images"])
    if metric == "kept_fraction":
        return verdict.share_scale(blocks[int(point.row["group"]) - 1])
    return verdict.share_scale(sum(blocks), point.drawn_mib if metric == "param_size_mb" else 1)


def _missing(point: _Point, keys: list[str]) -> str:
    if keys:
        at = "" if point.epoch is None else f" at epoch {point.epoch}"
        return f"the finished runs did not measure {point.row['metric']}{at}"
    epsilon = "" if point.run.epsilon is None else f", epsilon {point.run.epsilon:g}"
    return f"no finished run of {point.run.dataset}, depth {point.run.depth}, {point.run.method}{epsilon}"


def _unpruned_comparison(point: _Point) -> Comparison:
    """The size of a whole network, which follows from its architecture."""
    ours, true = point.drawn_mib, point.unpruned_mib(with_side_head=False)
    judged, reason = verdict.judge_exact(ours, point.row["value"], point.row["uncertainty"])
    reason += "; weak evidence, as the unit (MiB) was chosen to fit the paper's bars"
    if ours != true:
        other = verdict.judge_exact(true, point.row["value"], point.row["uncertainty"])[0]
        reason += f", and so was the side head; without it {_reading(true, point.row['value'], other)}"
    if why := _incomparable(point) if point.row["figure"] == "7c" else None:
        judged, reason = "not comparable", f"{why}; exact count {ours:.4g} MiB"
    return _comparison(point.row, judged, reason, ours=ours, other_reading=true)


def _measured_comparison(
    layout: Layout, point: _Point, values: dict[str, float], judged: Verdict, reason: str
) -> Comparison:
    if not values:
        return _comparison(point.row, judged, reason)
    low, high, true = None, None, None
    documents = {key: read_json(layout.run(key).metrics) for key in values}
    if len(values) > 1:
        low, high = mean_interval(list(values.values()))
    elif point.row["metric"] in ERRORS:
        [(key, error)] = values.items()
        images = documents[key]["test_images"]
        low, high = error_interval(round(error * images), images)
    if point.row["metric"] == "param_size_mb":
        true = fmean(document["after"]["size_mib"] for document in documents.values())
    elif point.row["metric"] in ERRORS and point.epoch is None:
        true = fmean(_pruned_errors(list(documents.values()), point.row["metric"]))
    return _comparison(
        point.row,
        judged,
        reason,
        ours=fmean(values.values()),
        low=low,
        high=high,
        n_seeds=len(values),
        other_reading=true,
        runs=tuple(values),
    )


def _comparison(row: dict[Any, Any], judged: Verdict, reason: str, **ours: Any) -> Comparison:
    nothing = {"ours": None, "low": None, "high": None, "n_seeds": 0, "other_reading": None, "runs": ()}
    return Comparison(
        figure=row["figure"],
        dataset=row["dataset"],
        depth=_whole(row["depth"]),
        epsilon=row["epsilon"],
        method=row["method"],
        metric=row["metric"],
        epoch=_whole(row["epoch"]),
        group=_whole(row["group"]),
        unit=row["unit"],
        source=row["source"],
        published=row["value"],
        uncertainty=row["uncertainty"],
        verdict=judged,
        reason=reason,
        **{**nothing, **ours},
    )


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

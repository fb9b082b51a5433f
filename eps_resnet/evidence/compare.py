"""The whole state of the reproduction: every published number, ours beside it, and a verdict with its reason."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

from eps_resnet.data import manifest
from eps_resnet.evidence import published, verdict
from eps_resnet.evidence.consistency import CHECKS
from eps_resnet.evidence.finished import Result, finished
from eps_resnet.evidence.inference import Spread
from eps_resnet.evidence.published import Number
from eps_resnet.evidence.sizes import whole_size
from eps_resnet.evidence.statistics import error_interval, mean_interval
from eps_resnet.evidence.verdict import Scale, Verdict
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import DataSet, Recipe, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.method.history import read_history
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Manifest, Metrics

# Sources of published.csv that are no figure of the paper: its text, and the reference repository's README.
OTHER_SOURCES = (
    *("text", "README comment", "README cifar10-val-error.png", "README imagenet-val-error.png"),
    *("README cifar10-lr.png", "run_imagenet.sh"),
)
ERRORS = ("val_error", "top1_error", "top5_error")
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
    ("7-networks", ("7b",), {"epsilon": (2.5,), "depth": (500, 752)}),
    ("imagenet-blocks", ("6h", "7d", "text"), {"method": ("epsilon_side",)}),
    ("10a-6e", ("10a", "6e"), {"depth": (200,)}),
    ("10b-6f", ("10b", "6f"), {"depth": (500, 752)}),
    ("9-end", ("6f",), {"depth": (752,)}),
    ("9-end", ("9",), {"dataset": ("CIFAR-100",), "epoch": (1000,)}),
    ("9-labels", ("9",), {}),
    ("6h-text", ("6h", "text"), {"epsilon": (2.1,)}),
    ("3-text", ("3",), {"depth": (200, 254)}),
    ("3-6a", ("3", "6a"), {"method": ("standard",), "depth": (110, 200)}),
    ("8a-6", ("8a", "6a", "6b"), {"epsilon": (2.5,), "depth": (200,)}),
    ("svhn-depth", ("6c", "6g"), {"depth": (110,)}),
    ("readme-6a", ("6a",), {"method": ("standard_side",), "depth": (110,)}),
)


@dataclass(frozen=True, kw_only=True)
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
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    n_seeds: int = 0
    other_reading: float | None = None
    verdict: Verdict
    reason: str
    runs: tuple[str, ...] = ()

    @classmethod
    def of(cls, number: Number, dataset: str, judged: Verdict, reason: str, **ours: Any) -> "Comparison":
        """The comparison of a published number; `ours` are the fields that are about ours."""
        same = number.model_dump(exclude={"dataset", "value", "note"})
        return cls(**same, dataset=dataset, published=number.value, verdict=judged, reason=reason, **ours)


@dataclass(frozen=True)
class _Point:
    """One published number, and what the registry says about its network."""

    number: Number
    data: DataSet
    run: Run  # its seed means nothing

    @property
    def is_size(self) -> bool:
        return self.number.metric == "param_size_mb"

    @property
    def is_final_error(self) -> bool:
        """Whether it is an error at no epoch of its own, of which there are two readings."""
        return self.number.metric in ERRORS and self.number.epoch is None

    @property
    def is_of_gates(self) -> bool:
        """Whether it is such an error of a gated network."""
        return self.is_final_error and self.run.method == "epsilon_side"

    @property
    def drawn_mib(self) -> float:
        """Exact size of the whole network as Fig. 7 draws it: on ImageNet with the side head (docs/verdicts.md)."""
        return whole_size(
            self.data, self.run.depth, "standard_side" if self.data.format == "imagenet" else "standard"
        ).mib

    def is_of(self, run: Run) -> bool:
        """Whether a run trains the network, with whatever seed and weight decay."""
        return run.model_copy(update={"seed": self.run.seed, "weight_decay": self.run.weight_decay}) == self.run


def compare(registry: Registry, layout: Layout) -> list[Comparison]:
    """One comparison for every published number, in the order of the file.

    Raises UserError for a row of a network that the registry does not train.
    """
    numbers, done = published.numbers(), finished(registry, layout)
    names = {data.published_name: name for name, data in registry.datasets.items() if data.is_papers}
    for line, number in enumerate(numbers, start=2):  # the heading is line 1
        if number.dataset in names:
            _check_claimed(registry, names[number.dataset], number, line)
    return [_with_contradictions(_compared(registry, done, names.get(n.dataset), n), n) for n in numbers]


def beside(registry: Registry, layout: Layout) -> list[Comparison]:
    """What smaller versions of a published data set measured, beside the paper's numbers of the same networks.

    None of it is comparable, and the reasons say why. Without numbers of single epochs, which mean nothing in a shorter
    training, and without sizes that are only counted.
    """
    done, found = finished(registry, layout), []
    for name in (name for name, data in registry.datasets.items() if data.reduced):
        networks = {(run.depth, run.method, run.epsilon) for run in registry.runs.values() if run.dataset == name}
        for number in published.of_data(registry.datasets[name]):
            is_counted = (number.metric, number.method) == ("param_size_mb", "standard")
            is_of_an_epoch = number.epoch is not None or number.metric == "training_hours"
            is_there = (number.depth, number.method, number.epsilon) in networks
            if is_there and not is_counted and not is_of_an_epoch:
                found.append(replace(_compared(registry, done, name, number), verdict="not comparable"))
    return found


def _with_contradictions(comparison: Comparison, number: Number) -> Comparison:
    """The comparison whose reason names the checks by which the paper contradicts the number."""
    checks = {check.name: f"check {check.number} ({check.title})" for check in CHECKS}
    found = [
        checks[name]
        for name, figures, where in CONTRADICTED
        if number.figure in figures and all(getattr(number, column) in values for column, values in where.items())
    ]
    if not found:
        return comparison
    return replace(comparison, reason=f"{comparison.reason}; the paper contradicts this point: {', '.join(found)}")


def _check_claimed(registry: Registry, dataset: str, number: Number, line: int) -> None:
    """Raises UserError unless a figure of the registry shows the number's network.

    For a number of the text or of another source, which need not be drawn, any run of the network will do. A registry
    need not have every data set of the paper; what it leaves out counts as not run.
    """
    name = f"figure{number.figure.rstrip('abcdefgh')}-{dataset}"
    is_quoted = number.figure in OTHER_SOURCES or (number.source == "text" and name in registry.figures)
    shown = registry.runs if is_quoted else registry.runs_of(name) if name in registry.figures else {}
    network = (dataset, number.depth, number.method)
    if not any(
        (run.dataset, run.depth, run.method) == network and number.epsilon in (run.epsilon, None)
        for run in shown.values()
    ):
        point = f"figure {number.figure}, {dataset}, depth {number.depth}, {number.method}, {number.metric}"
        figure = "a figure" if is_quoted else name
        raise UserError(
            f"{published.published_csv()}, line {line}: no figure of the registry claims this number ({point}). "
            f"Let {figure} in config/experiments.yaml select such a run, or correct the row."
        )


def _compared(registry: Registry, done: list[Result], dataset: str | None, number: Number) -> Comparison:
    """The comparison of a number of this data set of the registry; None if it has no such data set."""
    if dataset is None:
        return Comparison.of(number, number.dataset, "not run", f"the registry has no data set {number.dataset}")
    if number.method == "epsilon_side" and number.epsilon is None:
        why = f"the source does not say which epsilon it used ({number.note})"
        return Comparison.of(number, dataset, "not comparable", why)
    network = number.model_dump(include={"depth", "method", "epsilon"})
    run = Run.model_validate({"dataset": dataset, **network})
    point = _Point(number, registry.datasets[dataset], run)
    return _counted(point) if point.is_size and run.method == "standard" else _measured(point, done)


def _counted(point: _Point) -> Comparison:
    """The size of a whole network, which follows from its architecture."""
    number, ours = point.number, point.drawn_mib
    true = whole_size(point.data, point.run.depth, "standard").mib
    judged, reason = verdict.judge_exact(ours, number.value, number.uncertainty)
    reason += "; weak evidence, as the unit (MiB) was chosen to fit the paper's bars"
    if ours != true:
        other = verdict.judge_exact(true, number.value, number.uncertainty)[0]
        reason += f", and so was the side head; without it {_reading(true, number.value, other)}"
    if number.figure == "7c":
        judged, reason = "not comparable", f"{NOT_SVHN}; exact count {ours:.4g} MiB"
    return Comparison.of(number, point.run.dataset, judged, reason, ours=ours, other_reading=true)


def _measured(point: _Point, done: list[Result]) -> Comparison:
    """A number beside what the finished runs of its network measured."""
    number, dataset = point.number, point.run.dataset
    same = [result for result in done if point.is_of(result.run)]
    comparable = [result for result in same if _difference(result) is None]
    known = {result: _value(point, result) for result in _alike(comparable or same)}
    values = {result: value for result, value in known.items() if value is not None}
    why = _incomparable(point) or (_difference(same[0]) if same and not comparable else None)
    if why is None and not values:
        missing = _missing(point, has_runs=bool(same))
        return Comparison.of(
            number, dataset, "not run", f"{missing}; {_stands_for(point)}" if point.is_of_gates else missing
        )
    judged, reason = _judged(point, values, done) if why is None else ("not comparable", why)
    return Comparison.of(number, dataset, judged, reason, **(_ours(point, values) if values else {}))


def _ours(point: _Point, values: dict[Result, float]) -> dict[str, Any]:
    """What a comparison says of our values: their mean, its interval, the other reading, and the runs."""
    interval: tuple[float | None, float | None] = None, None
    if len(values) > 1:
        interval = mean_interval(list(values.values()))
    elif point.number.metric in ERRORS:
        [(result, error)] = values.items()
        interval = error_interval(error, result.metrics.test_images)
    others = _other_readings(point, values)
    return {
        "ours": fmean(values.values()),
        **dict(zip(("low", "high"), interval, strict=True)),
        "n_seeds": len(values),
        "other_reading": fmean(others) if others else None,
        "runs": tuple(result.key for result in values),
    }


def _judged(point: _Point, values: dict[Result, float], done: list[Result]) -> tuple[Verdict, str]:
    """The verdict on a number that has comparable values of ours, and its reason in words."""
    number, first = point.number, next(iter(values))
    is_final = number.metric in ERRORS or number.epoch is not None
    settled = all(result.metrics.settled for result in values)
    judge = partial(
        verdict.judge, published=number.value, uncertainty=number.uncertainty, scale=_scale(point, first.metrics)
    )
    judged, why = judge(list(values.values()), settled=is_final or settled, spread=_spread(point, done, _value))
    reasons = [why, *_reservations(first)]
    if point.is_size or point.is_of_gates:
        others = _other_readings(point, values)
        other = judge(others, settled=settled, spread=_spread(point, done, _other_reading))[0]
        if point.is_size:
            reasons.append(f"true size {_reading(fmean(others), number.value, other)}")
        else:
            by_other = f"{fmean(others):.2%}: {other} by that reading"
            reasons.append(f"pruned, in the reported epoch, {by_other}; {_stands_for(point)}")
    return judged, "; ".join(reasons)


def _other_readings(point: _Point, values: dict[Result, float]) -> list[float]:
    """By the other reading, of each run; nothing where there is none."""
    return [other for result in values if (other := _other_reading(point, result)) is not None]


def _other_reading(point: _Point, result: Result) -> float | None:
    """The true size instead of the drawn one, or the pruned network's error; None where there is no other reading."""
    if point.is_size:
        return result.metrics.after.size_mib
    if not point.is_final_error:
        return None
    error = result.metrics.error
    return error.pruned_top5 if point.number.metric == "top5_error" else error.pruned


def _stands_for(point: _Point) -> str:
    """Which of our errors a published one of a gated network can be, in words."""
    is_never_pruned = (point.number.dataset, point.run.depth) in NEVER_PRUNED
    return GATED if is_never_pruned else f"{GATED} or the pruned one's"


def _spread(point: _Point, done: list[Result], read: Callable[[_Point, Result], float | None]) -> Spread | None:
    """The spread over seeds of what is read, pooled over all networks of the data set and method; not of sizes."""
    if point.is_size:
        return None
    arms: dict[tuple[object, ...], list[float]] = {}
    for result in done:
        run = result.run
        if (run.dataset, run.method, run.variant) == (point.run.dataset, point.run.method, None):
            value = read(point, result)
            if value is not None:
                arms.setdefault((run.depth, run.epsilon, run.weight_decay), []).append(value)
    return Spread.of(arms.values())


def _alike(results: list[Result]) -> list[Result]:
    """Those of the runs that differ in nothing but their seed: of the recipe's decay, else of the paper's."""
    found = [result.run.weight_decay for result in results]
    papers = published.decays(results[0].experiment.data) if results else ()
    wanted = next((decay for decay in (None, *papers, *found) if decay in found), None)
    return [result for result in results if result.run.weight_decay == wanted]


def _reservations(result: Result) -> list[str]:
    """What must be said of a comparable run's recipe and data, in words."""
    data = result.experiment.data
    choices = published.recipe_choices(data, result.recipe, result.run)
    words = [f"by another reading of paper or code than the default: {choices}"] if choices else []
    copy = manifest.read(result.experiment.layout, result.run.dataset)
    known = {archive.name: archive.sample_sha256 for archive in data.archives}
    if copy and copy.sample_sha256 and known.get(copy.copy) is None:
        words.append(UNVERIFIED)
    return words


def _reading(size: float, published_size: float, judged: Verdict) -> str:
    """The second reading of a size, in words."""
    return f"{size:.4g} MiB, difference {size - published_size:+.3g}: {judged} by that reading"


def _incomparable(point: _Point) -> str | None:
    """Why a number cannot be compared whatever is run, in words; None if it can."""
    number = point.number
    if number.metric == "training_hours":
        return TIME
    if number.figure == "7c":
        return NOT_SVHN
    if (number.figure, number.method, number.depth) == ("6d", "standard", BORROWED_DEPTH):
        return BORROWED
    if number.epoch == 0:
        return "nothing is discarded before the first epoch, by definition"
    recipe = point.data.recipe_of(point.run)
    last = recipe.epochs_of(point.run.method)
    if number.epoch is not None and number.epoch > last:
        return f"epoch {number.epoch} lies beyond the {last} of the recipe"
    return _recipe_difference(point.data, recipe, point.run)


def _recipe_difference(data: DataSet, recipe: Recipe, run: Run) -> str | None:
    difference = published.recipe_difference(data, recipe, run)
    return f"another recipe than the paper's: {difference}" if difference else None


def _difference(result: Result) -> str | None:
    """How a finished run differs from the paper's in its recipe or data, in words; None if it does not."""
    altered = result.metrics.data_differs
    difference = _recipe_difference(result.experiment.data, result.recipe, result.run)
    return difference or (f"an altered copy of the data: {altered}" if altered else None)


def _value(point: _Point, result: Result) -> float | None:
    """Our value of a published number's metric, for one finished run; None if it was not measured."""
    number, metrics = point.number, result.metrics
    if number.epoch is not None:
        return _value_at(number.epoch, number.metric, result)
    if number.metric in ERRORS:
        return metrics.error.gated_top5 if number.metric == "top5_error" else metrics.error.final
    if number.metric == "training_hours":
        training = records.read(Manifest, result.experiment.files.manifest)
        return training.seconds["training"] / 3600 if training else None
    if number.group is not None:
        return metrics.kept[number.group - 1] / metrics.blocks[number.group - 1]
    return point.drawn_mib * (1 - result.share) if point.is_size else result.share


def _value_at(epoch: int, metric: str, result: Result) -> float | None:
    """The same after some epoch of the training, gates on."""
    if metric == "top5_error":  # not part of the history, but known for the epoch that was evaluated
        return result.metrics.error.gated_top5 if result.metrics.epoch == epoch else None
    history = read_history(result.experiment.files.history).set_index("epoch")
    if epoch not in history.index:
        return None
    if metric == "discarded_ratio":
        return float(history["discarded"].loc[epoch]) / result.blocks
    error = float(history["test_error"].loc[epoch])
    return None if math.isnan(error) else error


def _scale(point: _Point, metrics: Metrics) -> Scale:
    if point.number.metric in ERRORS:
        return verdict.error_scale(point.number.value, metrics.test_images)
    if point.number.group is not None:
        return verdict.share_scale(metrics.blocks[point.number.group - 1])
    return verdict.share_scale(sum(metrics.blocks), point.drawn_mib if point.is_size else 1)


def _missing(point: _Point, has_runs: bool) -> str:
    if has_runs:
        at = "" if point.number.epoch is None else f" at epoch {point.number.epoch}"
        return f"the finished runs did not measure {point.number.metric}{at}"
    epsilon = "" if point.run.epsilon is None else f", epsilon {point.run.epsilon:g}"
    return f"no finished run of {point.run.dataset}, depth {point.run.depth}, {point.run.method}{epsilon}"

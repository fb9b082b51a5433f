"""What a figure shows: one row per run it needs, ours where the run is done, with the published number beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from eps_resnet.evidence import published
from eps_resnet.evidence.figures.axis import Axis
from eps_resnet.evidence.statistics import LEAST_SEEDS, error_interval, possible_interval
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance import records, state
from eps_resnet.provenance.records import Metrics

NO_SIZES = "7c"  # it repeats 7b: its bars are no SVHN sizes
RUN = ["run", "depth", "method", "epsilon", "weight_decay", "variant", "seed", "state"]
ARM = ["depth", "method", "epsilon", "weight_decay", "variant"]  # what runs that differ in their seed alone share
# What table.csv has of a finished run.
MEASURED: dict[str, Callable[[Metrics], object]] = {
    "epoch": lambda metrics: metrics.epoch,
    "settled": lambda metrics: metrics.settled,
    "test_images": lambda metrics: metrics.test_images,
    "error_pruned": lambda metrics: metrics.error.pruned,
    "error_low": lambda metrics: error_interval(metrics.error.pruned, metrics.test_images)[0],
    "error_high": lambda metrics: error_interval(metrics.error.pruned, metrics.test_images)[1],
    "error_pruned_top5": lambda metrics: metrics.error.pruned_top5,
    "error_gated": lambda metrics: metrics.error.gated,
    "error_final": lambda metrics: metrics.error.final,
    "error_best": lambda metrics: metrics.error.best,
    "epoch_latest": lambda metrics: metrics.latest.epoch,
    "error_latest": lambda metrics: metrics.latest.pruned,
    "discarded_latest": lambda metrics: metrics.latest.discarded,
    "agreement": lambda metrics: metrics.agreement.equal / metrics.agreement.images,
    "flickered_in_training": lambda metrics: metrics.agreement.flickered_in_training,
    "flickered_in_evaluation": lambda metrics: (
        metrics.agreement.kept_gates_that_closed + metrics.agreement.discarded_gates_that_opened
    ),
    "blocks": lambda metrics: sum(metrics.blocks),
    "discarded": lambda metrics: metrics.discarded,
    "discarded_final": lambda metrics: metrics.discarded_final,
    "discarded_ratio": lambda metrics: metrics.compression.discarded_ratio,
    "kept_per_stage": lambda metrics: " ".join(map(str, metrics.kept)),
    "size_mib_before": lambda metrics: metrics.before.size_mib,
    "size_mib_by_block_ratio": lambda metrics: metrics.compression.size_mib_by_block_ratio,
    "size_mib": lambda metrics: metrics.after.size_mib,
    "parameters": lambda metrics: metrics.after.parameters,
    "multiply_adds": lambda metrics: metrics.after.multiply_adds,
}


def over_seeds(rows: pd.DataFrame, by: list[str], y: str, is_error: bool = False, most: float = 1.0) -> pd.DataFrame:
    """Mean over seeds of `y`, which lies in 0 to `most`, for each value of `by`: columns mean, low, high and seeds.

    `low` to `high` is the 95 % interval: from LEAST_SEEDS on Student's t of the mean; of one seed the binomial one if
    `y` is an error of the test images; else none.
    """
    points = []
    for place, group in rows[rows[y].notna()].groupby(by):
        values = group[y].astype(float).tolist()
        low, high = np.nan, np.nan
        if len(values) >= LEAST_SEEDS:
            low, high = possible_interval(values, most)
        elif is_error and len(values) == 1:
            low, high = error_interval(values[0], int(group["test_images"].iloc[0]))
        points.append((*place, np.mean(values), low, high, len(values)))
    return pd.DataFrame(points, columns=[*by, "mean", "low", "high", "seeds"])


def runs_table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run of a figure; the measured columns are empty where the run is not done."""
    return pd.DataFrame(
        [
            _named(experiment, metrics)
            | {column: value(metrics) if metrics else None for column, value in MEASURED.items()}
            for experiment, metrics in _runs(registry, layout, name)
        ]
    )


def _runs(registry: Registry, layout: Layout, name: str) -> Iterator[tuple[Experiment, Metrics | None]]:
    """The runs of a figure, with what was measured where they are done."""
    for key in registry.runs_of(name):
        experiment = registry.experiment(key, layout)
        is_done = state.state(experiment) == "done"
        yield experiment, records.read(Metrics, experiment.files.metrics) if is_done else None


def details_table(
    registry: Registry,
    layout: Layout,
    name: str,
    columns: list[str],
    details: Callable[[Experiment, Metrics | None], list[dict[Any, Any]]],
) -> pd.DataFrame:
    """Several rows per run: the columns that name it, `settled`, and `columns`, one row for each of `details`.

    A run without any has one row, empty but for its name.
    """
    rows = [
        {**_named(experiment, metrics), "settled": metrics.settled if metrics else None, **detail}
        for experiment, metrics in _runs(registry, layout, name)
        for detail in details(experiment, metrics) or [{}]
    ]
    return pd.DataFrame(rows, columns=[*RUN, "settled", *columns])


def _named(experiment: Experiment, metrics: Metrics | None) -> dict[str, object]:
    """The columns RUN."""
    run = experiment.run
    return {
        "run": experiment.key,
        "depth": run.depth,
        "method": run.method,
        "epsilon": run.epsilon,
        "weight_decay": experiment.recipe.weight_decay,
        "variant": experiment.data.variant_title(run),
        "seed": run.seed,
        "state": "done" if metrics else "not run",
    }


def along_depth(rows: pd.DataFrame) -> tuple[pd.DataFrame, Axis]:
    """The rows with their `position` on an axis of depths, and the axis.

    Several epsilons at one depth stand beside each other; all are in the labels where they are not all the same.
    """
    gated = rows[rows["method"] == "epsilon_side"]
    epsilons = {depth: sorted(set(group["epsilon"])) for depth, group in gated.groupby("depth")}
    several = gated["epsilon"].nunique() > 1
    depths = sorted(set(rows["depth"]))
    labels = [
        f"{depth}\nε {', '.join(f'{epsilon:g}' for epsilon in epsilons[depth])}"
        if several and depth in epsilons
        else f"{depth}"
        for depth in depths
    ]
    axis = Axis(tuple(depths), tuple(labels))

    def position(depth: int, epsilon: float) -> float:
        if pd.isna(epsilon):
            return float(depth)
        found = epsilons[depth]
        return axis.moved(depth, BESIDE * (found.index(epsilon) - (len(found) - 1) / 2))

    places = [position(depth, epsilon) for depth, epsilon in zip(rows["depth"], rows["epsilon"], strict=True)]
    return rows.assign(position=places), axis


BESIDE = 0.03  # of the axis: from one epsilon of a depth to the next
BARS = (
    "Bars with caps: Student's 95 % interval of a mean over three seeds or more; it is about seeds, on the same test "
    "images. Thin grey bars: the binomial 95 % interval of one seed's error. Hollow: fewer than three seeds. Dots: "
    "single seeds."
)
COLUMNS = (
    "Errors are those of the reported epoch (at the lowest rate, and with the fewest flickering gates there): of the "
    "pruned network, with its binomial interval, and of the gated one. Final: the gated network in the last epoch. "
    "Best: the lowest of all tested epochs; it has looked at the test images. Latest: the pruned network of the last "
    "epoch at the lowest rate. Flickered: gates neither open nor closed throughout the last batches of the epoch, and "
    "gates that were not as pruning takes them to be in some test batch."
)


def summary(rows: pd.DataFrame) -> dict[str, float]:
    """A few numbers of a table: its runs, and of the finished ones mean error by method and mean discarded share."""
    runs = rows.drop_duplicates("run")
    done = runs[runs["state"] == "done"]
    numbers: dict[str, float] = {"runs": len(runs), "done": len(done)}
    if "error_pruned" in done:
        for method, group in done.groupby("method"):
            numbers[f"error {method}"] = round(float(group["error_pruned"].astype(float).mean()), 6)
        if len(gated := done[done["method"] == "epsilon_side"]):
            numbers["discarded"] = round(float(gated["discarded_ratio"].astype(float).mean()), 6)
    return numbers


def with_published(table: pd.DataFrame, registry: Registry, name: str, **metrics: str) -> pd.DataFrame:
    """Adds a column of the figure's published values for each metric: those of a run's depth, method and epsilon.

    Runs with a weight decay of their own have no counterpart in the paper, except that of a smaller version with the
    paper's.
    """
    figure = registry.figures[name]
    data = registry.datasets[figure.dataset]
    decays = (data.recipe.weight_decay, *(published.decays(data) if data.reduced else ()))
    values = {
        (number.depth, number.method, number.epsilon, number.metric): number.value
        for number in published.matching(published.of_data(data), source="digitised")
        if number.figure.rstrip("abcdefgh") == figure.figure and number.figure != NO_SIZES
    }
    networks = [
        (row["depth"], row["method"], None if pd.isna(row["epsilon"]) else row["epsilon"])
        if row["weight_decay"] in decays
        else ()
        for row in table.to_dict("records")
    ]
    columns = {column: [values.get((*network, metric)) for network in networks] for column, metric in metrics.items()}
    return table.assign(**{column: pd.Series(found, table.index, "float64") for column, found in columns.items()})

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
NOTHING = "–"
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


def readable_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that name a run, as text: run, depth, method, epsilon, decay, state, and variant if there are any."""
    view = pd.DataFrame(
        {
            "run": rows["run"],
            "depth": rows["depth"].astype(str),
            "ε": texts(rows["epsilon"], "{:g}".format),
            "decay": rows["weight_decay"].map("{:g}".format),
            "state": rows["state"],
        }
    )
    if rows["variant"].notna().any():
        view.insert(4, "variant", rows["variant"].fillna(NOTHING))
    return view


def readable_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors and discarded blocks of runs, as text, with the published numbers beside ours."""
    view = readable_runs(rows)
    view["error, pruned"] = percents(rows, "error_pruned")
    view["95 % interval"] = intervals(rows)
    view["gated"] = percents(rows, "error_gated")
    view["final"] = percents(rows, "error_final")
    view["best"] = percents(rows, "error_best")
    view["latest"] = percents(rows, "error_latest")
    view["published"] = percents(rows, "published_error")
    view["discarded"] = counts(rows)
    view["kept per stage"] = rows["kept_per_stage"].fillna(NOTHING)
    view["published share"] = percents(rows, "published_ratio")
    view["pruned = gated"] = percents(rows, "agreement")
    view["flickered"] = pairs(rows, "flickered_in_training", "flickered_in_evaluation", "{:.0f}, {:.0f}")
    return view


def readable_means(rows: pd.DataFrame, means: dict[str, str]) -> pd.DataFrame:
    """One row per configuration (and stage, where rows have one), as text: how many seeds, mean and 95 % interval.

    `means`: the columns, and what they are called; of SCATTERED ones the median and the range. Published numbers have
    no interval. Empty where no configuration has two finished seeds: a mean of one is in the rows of the runs.
    """
    by = [column for column in (*ARM, "stage") if column in rows]
    named = readable_runs(rows).drop(columns=["run", "state"])
    lines = []
    for _, group in rows.groupby(by, sort=False, dropna=False):
        done = group[group["state"] == "done"]
        lines.append(
            {
                **named.loc[group.index[0]],
                "method": group["method"].iloc[0],
                **({"stage": str(group["stage"].iloc[0])} if "stage" in by else {}),
                "seeds": f"{done['seed'].nunique()} of {group['seed'].nunique()}",
                **{title: _mean(group if _is_published(name) else done, name) for name, title in means.items()},
            }
        )
    has_several = (rows[rows["state"] == "done"].groupby(by, dropna=False)["seed"].nunique() > 1).any()
    return pd.DataFrame(lines if has_several else [])


def _is_published(column: str) -> bool:
    return column.startswith("published")


def _mean(group: pd.DataFrame, column: str) -> str:
    values = group[column].dropna().astype(float).tolist()
    text, most = FORMATS.get(column, ("{:.2f}".format, np.inf) if "mib" in column else ("{:.2%}".format, 1.0))
    if not values:
        return NOTHING
    if _is_published(column) or len(set(values)) == 1:
        return text(values[0])
    if column in SCATTERED:
        return f"{text(float(np.median(values)))} ({text(min(values))} to {text(max(values))})"
    mean = text(float(np.mean(values)))
    if len(values) < LEAST_SEEDS:
        return mean
    return f"{mean} ({' to '.join(map(text, possible_interval(values, most)))})"


ERROR_MEANS = {
    "error_pruned": "error, pruned",
    "published_error": "published",
    "error_gated": "gated",
    "discarded_ratio": "discarded",
    "published_ratio": "published share",
    "agreement": "pruned = gated",
}
FORMATS = dict.fromkeys(("parameters", "multiply_adds"), ("{:,.0f}".format, np.inf))  # of columns that count
SCATTERED = ("error_gated", "agreement")  # a gate of a needed block closes or does not: two heaps, of no use as a mean
MEANS = (
    "First the means over seeds, from three on with Student's 95 % interval of the mean (of gated errors and "
    "agreements the median, lowest and highest), then the single runs. All seeds see the same test images: the "
    "interval says how much seeds differ, not how well so many images tell an error."
)
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


def texts(values: pd.Series[Any], text: Callable[[Any], str]) -> pd.Series[str]:
    """Values as text, NOTHING where there is none."""
    return values.map(lambda value: NOTHING if pd.isna(value) else text(value)).astype(str)


def percents(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    """A column of fractions as percentages."""
    return texts(rows[column], "{:.2%}".format)


def decimals(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    """A column of numbers with two decimals."""
    return texts(rows[column], "{:.2f}".format)


def pairs(rows: pd.DataFrame, first: str, second: str, form: str) -> list[str]:
    """Two columns in one, such as `{:.0f}/{:.0f}`; NOTHING where the first is empty."""
    both = zip(rows[first], rows[second], strict=True)
    return [NOTHING if pd.isna(one) else form.format(one, other) for one, other in both]


def intervals(rows: pd.DataFrame) -> list[str]:
    """The binomial intervals of the pruned networks' errors."""
    return pairs(rows, "error_low", "error_high", "{:.2%} to {:.2%}")


def counts(rows: pd.DataFrame) -> list[str]:
    """Discarded of all blocks, with the share."""
    numbers = pairs(rows, "discarded", "blocks", "{:.0f}/{:.0f}")
    shares = texts(rows["discarded_ratio"], " ({:.0%})".format)
    return [NOTHING if number == NOTHING else number + share for number, share in zip(numbers, shares, strict=True)]


def error_metric(registry: Registry, name: str) -> str:
    """What the paper calls the error on a figure's data set: top-1 on ImageNet, validation error elsewhere."""
    network = registry.datasets[registry.figures[name].dataset].recipe.network
    return "top1_error" if network == "imagenet" else "val_error"


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

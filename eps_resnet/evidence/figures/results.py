"""What a figure shows: one row per run it needs, ours where the run is done, with the published number beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from eps_resnet.evidence import published
from eps_resnet.evidence.figures.axis import Axis
from eps_resnet.evidence.statistics import LEAST_SEEDS, error_interval, possible_interval
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.provenance import state

ERROR_FIGURES = ("6a", "6b", "6c", "6d")
RATIO_FIGURES = ("6e", "6f", "6g", "6h")
SIZE_FIGURES = ("7a", "7b", "7d")  # 7c repeats 7b: its bars are no SVHN sizes
SENSITIVITY_ERROR, SENSITIVITY_RATIO = ("8a",), ("8b",)
NOTHING = "–"
RUN = ["run", "depth", "method", "epsilon", "weight_decay", "variant", "seed", "state"]
ARM = ["depth", "method", "epsilon", "weight_decay", "variant"]  # what runs that differ in their seed alone share
MEASURED = [
    *("epoch", "settled", "test_images"),
    *("error_pruned", "error_low", "error_high", "error_pruned_top5", "error_gated", "error_final", "error_best"),
    *("epoch_latest", "error_latest", "discarded_latest"),
    *("agreement", "flickered_in_training", "flickered_in_evaluation"),
    *("blocks", "discarded", "discarded_final", "discarded_ratio", "kept_per_stage"),
    *("size_mib_before", "size_mib_by_block_ratio", "size_mib", "parameters", "multiply_adds"),
]


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
            images = int(group["test_images"].iloc[0])
            low, high = error_interval(round(values[0] * images), images)
        points.append((*place, np.mean(values), low, high, len(values)))
    return pd.DataFrame(points, columns=[*by, "mean", "low", "high", "seeds"])


def runs_table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run of a figure; the measured columns are empty where the run is not done."""
    rows = []
    for key, run in registry.runs_of(name).items():
        is_done = state.state(registry.experiment(key, layout)) == "done"
        rows.append(
            {
                "run": key,
                "depth": run.depth,
                "method": run.method,
                "epsilon": run.epsilon,
                "weight_decay": registry.datasets[run.dataset].recipe_of(run).weight_decay,
                "variant": registry.datasets[run.dataset].variant_title(run),
                "seed": run.seed,
                "state": "done" if is_done else "not run",
                **(_measured(read_json(layout.run(key).metrics)) if is_done else dict.fromkeys(MEASURED)),
            }
        )
    return pd.DataFrame(rows)


def _measured(metrics: dict[str, Any]) -> dict[str, Any]:
    error, images, agreement = metrics["error"], metrics["test_images"], metrics["agreement"]
    low, high = error_interval(round(error["pruned"] * images), images)
    measured = {
        "epoch": metrics["epoch"],
        "settled": metrics["settled"],
        "test_images": images,
        "error_pruned": error["pruned"],
        "error_low": low,
        "error_high": high,
        "error_pruned_top5": error["pruned_top5"],
        "error_gated": error["gated"],
        "error_final": error["final"],
        "error_best": error["best"],
        "epoch_latest": metrics["latest"]["epoch"],
        "error_latest": metrics["latest"]["pruned"],
        "discarded_latest": metrics["latest"]["discarded"],
        "agreement": agreement["equal"] / agreement["images"],
        "flickered_in_training": agreement["flickered_in_training"],
        "flickered_in_evaluation": agreement["kept_gates_that_closed"] + agreement["discarded_gates_that_opened"],
        "blocks": sum(metrics["blocks"]),
        "discarded": metrics["discarded"],
        "discarded_final": metrics["discarded_final"],
        "discarded_ratio": metrics["compression"]["discarded_ratio"],
        "kept_per_stage": " ".join(map(str, metrics["kept"])),
        "size_mib_before": metrics["before"]["size_mib"],
        "size_mib_by_block_ratio": metrics["compression"]["size_mib_by_block_ratio"],
        "size_mib": metrics["after"]["size_mib"],
        "parameters": metrics["after"]["parameters"],
        "multiply_adds": metrics["after"]["multiply_adds"],
    }
    assert list(measured) == MEASURED
    return measured


def details_table(
    registry: Registry,
    layout: Layout,
    name: str,
    columns: list[str],
    details: Callable[[str, bool], list[dict[Any, Any]]],
) -> pd.DataFrame:
    """Several rows per run: the columns that name it, `settled`, and `columns`, one row for each of `details`.

    `details` gets a run's key and whether it is done. A run without any has one row, empty but for its name.
    """
    runs = runs_table(registry, layout, name)[[*RUN, "settled"]]
    rows = [
        {**run, **detail}
        for run in runs.to_dict("records")
        for detail in details(run["run"], run["state"] == "done") or [{}]
    ]
    return pd.DataFrame(rows, columns=[*RUN, "settled", *columns])


def stages(registry: Registry, name: str) -> int:
    """How many stages the networks of a figure have."""
    return {"cifar": 3, "imagenet": 4}[registry.datasets[registry.figures[name].dataset].recipe.network]


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
    epsilon = rows["epsilon"].map(lambda value: "–" if pd.isna(value) else f"{value:g}")
    view = pd.DataFrame(
        {
            "run": rows["run"],
            "depth": rows["depth"].astype(str),
            "ε": epsilon,
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
    flickered = (rows["flickered_in_training"], rows["flickered_in_evaluation"])
    view["flickered"] = [NOTHING if pd.isna(a) else f"{a:.0f}, {b:.0f}" for a, b in zip(*flickered, strict=True)]
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
    if _is_published(column):
        return text(values[0])
    if len(set(values)) == 1:
        return text(values[0])
    if column in SCATTERED:
        return f"{text(float(np.median(values)))} ({text(min(values))} to {text(max(values))})"
    mean = text(float(np.mean(values)))
    if len(values) < LEAST_SEEDS:
        return mean
    return f"{mean} ({' to '.join(map(text, possible_interval(values, most)))})"


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


def percents(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    """A column of fractions as percentages."""
    return rows[column].map(lambda value: NOTHING if pd.isna(value) else f"{value:.2%}").astype(str)


def intervals(rows: pd.DataFrame) -> list[str]:
    """The binomial intervals of the pruned networks' errors."""
    low, high = percents(rows, "error_low"), percents(rows, "error_high")
    return [NOTHING if a == NOTHING else f"{a} to {b}" for a, b in zip(low, high, strict=True)]


def decimals(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    """A column of numbers with two decimals."""
    return rows[column].map(lambda value: NOTHING if pd.isna(value) else f"{value:.2f}").astype(str)


def counts(rows: pd.DataFrame) -> list[str]:
    """Discarded of all blocks, with the share."""
    return [
        NOTHING
        if pd.isna(row["discarded"])
        else f"{row['discarded']:.0f}/{row['blocks']:.0f} ({row['discarded_ratio']:.0%})"
        for row in rows.to_dict("records")
    ]


def error_metric(registry: Registry, name: str) -> str:
    """What the paper calls the error on a figure's data set: top-1 on ImageNet, validation error elsewhere."""
    network = registry.datasets[registry.figures[name].dataset].recipe.network
    return "top1_error" if network == "imagenet" else "val_error"


def with_published(
    table: pd.DataFrame, registry: Registry, name: str, column: str, figures: tuple[str, ...], metric: str
) -> pd.DataFrame:
    """Adds a column of published values: that of a run's depth, method and epsilon, whatever its seed.

    Runs with a weight decay of their own have no counterpart in the paper, except that of a smaller version with the
    paper's.
    """
    data = registry.datasets[registry.figures[name].dataset]
    decays = (data.recipe.weight_decay, *(published.decays(data) if data.reduced else ()))
    published_table = published.of_data(published.read(published.published_csv(), registry), data)
    values = [
        published.value(
            published_table,
            figures,
            depth=row["depth"],
            method=row["method"],
            epsilon=None if pd.isna(row["epsilon"]) else row["epsilon"],
            metric=metric,
            source="digitised",
        )
        if row["weight_decay"] in decays
        else None
        for row in table.to_dict("records")
    ]
    return table.assign(**{column: pd.Series(values, dtype="float64", index=table.index)})

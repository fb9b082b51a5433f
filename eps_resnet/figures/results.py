"""What a figure shows: one row per run it needs, ours where the run is done, with the published number beside it."""

from __future__ import annotations

from typing import Any

import pandas as pd
from scipy.stats import binomtest

from eps_resnet import provenance, published
from eps_resnet.files import read_json
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry, recipe_of

ERROR_FIGURES = ("6a", "6b", "6c", "6d")
RATIO_FIGURES = ("6e", "6f", "6g", "6h")
SIZE_FIGURES = ("7a", "7b", "7c", "7d")
SENSITIVITY_ERROR, SENSITIVITY_RATIO = ("8a",), ("8b",)
CONFIDENCE = 0.95
NOTHING = "–"
MEASURED = [
    *("epoch", "settled", "error_pruned", "error_low", "error_high", "error_gated", "error_final", "error_best"),
    *("agreement", "flickered_in_training", "flickered_in_evaluation"),
    *("blocks", "discarded", "discarded_final", "discarded_ratio", "kept_per_stage"),
    *("size_mib_before", "size_mib_by_block_ratio", "size_mib", "parameters"),
]


def error_interval(wrong: int, images: int) -> tuple[float, float]:
    """Exact (Clopper-Pearson) 95 % interval of an error rate, from the count of wrong images."""
    interval = binomtest(wrong, images).proportion_ci(CONFIDENCE, "exact")
    return float(interval.low), float(interval.high)


def runs_table(registry: Registry, layout: Layout, name: str) -> pd.DataFrame:
    """One row per run of a figure; the measured columns are empty where the run is not done."""
    rows = []
    for key, run in registry.runs_of(name).items():
        is_done = provenance.state(registry, layout, key) == "done"
        rows.append(
            {
                "run": key,
                "depth": run.depth,
                "method": run.method,
                "epsilon": run.epsilon,
                "weight_decay": recipe_of(registry, run).weight_decay,
                "seed": run.seed,
                "state": "done" if is_done else "not run",
                **(_measured(read_json(layout.metrics(key))) if is_done else dict.fromkeys(MEASURED)),
            }
        )
    return pd.DataFrame(rows)


def _measured(metrics: dict[str, Any]) -> dict[str, Any]:
    error, images, agreement = metrics["error"], metrics["test_images"], metrics["agreement"]
    low, high = error_interval(round(error["pruned"] * images), images)
    measured = {
        "epoch": metrics["epoch"],
        "settled": metrics["settled"],
        "error_pruned": error["pruned"],
        "error_low": low,
        "error_high": high,
        "error_gated": error["gated"],
        "error_final": error["final"],
        "error_best": error["best"],
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
    }
    assert list(measured) == MEASURED
    return measured


def readable_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that name a run, as text: run, depth, method, epsilon, decay and state."""
    epsilon = rows["epsilon"].map(lambda value: "–" if pd.isna(value) else f"{value:g}")
    return pd.DataFrame(
        {
            "run": rows["run"],
            "depth": rows["depth"].astype(str),
            "ε": epsilon,
            "decay": rows["weight_decay"].map("{:g}".format),
            "state": rows["state"],
        }
    )


def readable_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors and discarded blocks of runs, as text, with the published numbers beside ours."""
    view = readable_runs(rows)
    low, high = percents(rows, "error_low"), percents(rows, "error_high")
    view["error, pruned"] = percents(rows, "error_pruned")
    view["95 % interval"] = [NOTHING if a == NOTHING else f"{a} to {b}" for a, b in zip(low, high, strict=True)]
    view["gated"] = percents(rows, "error_gated")
    view["final"] = percents(rows, "error_final")
    view["best"] = percents(rows, "error_best")
    view["published"] = percents(rows, "published_error")
    view["discarded"] = counts(rows)
    view["kept per stage"] = rows["kept_per_stage"].fillna(NOTHING)
    view["published share"] = percents(rows, "published_ratio")
    view["pruned = gated"] = percents(rows, "agreement")
    flickered = (rows["flickered_in_training"], rows["flickered_in_evaluation"])
    view["flickered"] = [NOTHING if pd.isna(a) else f"{a:.0f}, {b:.0f}" for a, b in zip(*flickered, strict=True)]
    return view


COLUMNS = (
    "Errors are those of the settled epoch: of the pruned network, with its binomial interval, and of the gated one; "
    "beside them the gated network's error in the last epoch (final) and the lowest of all epochs (best, which has "
    "looked at the test images). Flickered: gates neither open nor closed throughout the last batches of that epoch, "
    "and gates that were not as pruning takes them to be in some test batch."
)


def percents(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    """A column of fractions as percentages."""
    return rows[column].map(lambda value: NOTHING if pd.isna(value) else f"{value:.2%}").astype(str)


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

    Runs with a weight decay of their own have no counterpart in the paper.
    """
    dataset = registry.figures[name].dataset
    published_table = published.read(provenance.published_csv(), registry)
    usual = registry.datasets[dataset].recipe.weight_decay
    values = [
        published.value(
            published_table,
            figures,
            dataset=dataset,
            depth=row["depth"],
            method=row["method"],
            epsilon=None if pd.isna(row["epsilon"]) else row["epsilon"],
            metric=metric,
        )
        if row["weight_decay"] == usual
        else None
        for row in table.to_dict("records")
    ]
    return table.assign(**{column: pd.Series(values, dtype="float64", index=table.index)})


def remarks(registry: Registry, layout: Layout, name: str, table: pd.DataFrame) -> list[str]:
    """What must be said beside a figure's numbers: how many seeds, which runs are missing, how the data differ."""
    data = registry.datasets[registry.figures[name].dataset]
    done = table[table["state"] == "done"]
    notes = [f"{len(done)} of {len(table)} runs are done; seeds per point: {_seeds(done)}."]
    if data.remark:
        notes.append(data.remark)
    origin = read_json(layout.data_manifest(registry.figures[name].dataset))
    if origin and origin["differs"]:
        notes.append(f"Trained on an altered copy of {data.title}: {origin['differs']}.")
    if len(done) and not done["settled"].all():
        unsettled = ", ".join(done.loc[~done["settled"].astype(bool), "run"])
        notes.append(
            f"Never settled (the rate did not fall to a hundredth), so at their last lowest rate: {unsettled}."
        )
    return notes


def _seeds(done: pd.DataFrame) -> str:
    if done.empty:
        return "none"
    sizes = done.groupby(["depth", "method", "weight_decay", "epsilon"], dropna=False)["seed"].nunique()
    return str(sizes.min()) if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"

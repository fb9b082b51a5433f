"""The whole state of the reproduction: every published number, ours beside it, and the difference."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eps_resnet import provenance, published
from eps_resnet.files import read_json
from eps_resnet.history import read_history
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry


@dataclass(frozen=True)
class Comparison:
    """One published number and ours. `ours` is the mean over `n_seeds` finished runs, or None."""

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
    n_seeds: int
    verdict: str
    reason: str


def compare(registry: Registry, layout: Layout) -> list[Comparison]:
    """One comparison for every published number, in the order of the file."""
    done = [key for key in registry.runs if provenance.state(registry, layout, key) == "done"]
    table = published.read(provenance.published_csv(), registry)
    return [_compare_row(registry, layout, done, row) for row in table.to_dict("records")]


def _compare_row(registry: Registry, layout: Layout, done: list[str], row: dict[Any, Any]) -> Comparison:
    row = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
    wanted = (row["dataset"], row["depth"], row["method"], row["epsilon"])
    keys = [
        key
        for key in done
        if (run := registry.runs[key]).weight_decay is None
        and (run.dataset, run.depth, run.method, run.epsilon) == wanted
    ]
    values = [value for key in keys if (value := _measured(layout, key, row)) is not None]
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
        ours=sum(values) / len(values) if values else None,
        n_seeds=len(values),
        verdict="run" if values else "not run",
        reason=_reason(row, len(keys), len(values)),
    )


def _measured(layout: Layout, key: str, row: dict[Any, Any]) -> float | None:
    """Our value of a published number's metric, for one finished run; None if this release does not measure it."""
    metrics, metric, epoch = read_json(layout.metrics(key)), row["metric"], _whole(row["epoch"])
    if epoch is not None:
        return _measured_at(layout, key, metric, epoch, sum(metrics["blocks"]))
    if metric == "val_error":
        return float(metrics["error"]["pruned"])
    if metric == "discarded_ratio":
        return float(metrics["compression"]["discarded_ratio"])
    if metric == "param_size_mb":  # the paper's reading; the true size is in metrics.json
        return float(metrics["compression"]["size_mib_by_block_ratio"])
    if metric == "kept_fraction":
        stage = int(row["group"]) - 1
        return float(metrics["kept"][stage] / metrics["blocks"][stage])
    return None


def _measured_at(layout: Layout, key: str, metric: str, epoch: int, blocks: int) -> float | None:
    history = read_history(layout.history(key)).set_index("epoch")
    if epoch not in history.index:
        return None
    if metric == "val_error":
        return float(history.at[epoch, "test_error"])  # type: ignore[arg-type]
    if metric == "discarded_ratio":
        return float(history.at[epoch, "discarded"]) / blocks  # type: ignore[arg-type]
    return None


def _reason(row: dict[Any, Any], runs: int, values: int) -> str:
    if values:
        return f"{values} finished run{'s' if values > 1 else ''}; tolerances are not judged in this release"
    if runs:
        return "the finished runs have no such epoch or metric"
    if row["method"] == "epsilon_side" and row["epsilon"] is None:
        return "the source does not say which epsilon it used"
    name = f"{row['dataset']}, depth {row['depth']:g}, {row['method']}" if row["depth"] else str(row["dataset"])
    return f"no finished run of {name}" + (f" with epsilon {row['epsilon']:g}" if row["epsilon"] else "")


def _whole(value: float | str | None) -> int | None:
    return None if value is None else int(float(value))


def frame(comparisons: list[Comparison]) -> pd.DataFrame:
    """The comparisons as a table, with the difference ours - published."""
    table = pd.DataFrame([vars(comparison) for comparison in comparisons])
    return table.assign(difference=table["ours"].astype(float) - table["published"])

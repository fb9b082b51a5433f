"""Rows of a figure as people read them in table.md: text, with a dash where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eps_resnet.evidence.figures.results import ARM
from eps_resnet.evidence.statistics import LEAST_SEEDS, possible_interval

NOTHING = "–"
ERROR_MEANS = {
    "error_pruned": "error, pruned",
    "published_error": "published",
    "error_gated": "gated (median)",
    "discarded_ratio": "discarded",
    "published_ratio": "published share",
    "agreement": "pruned = gated (median)",
}
FORMATS = dict.fromkeys(("parameters", "multiply_adds"), ("{:,.0f}".format, np.inf))  # of columns that count
SCATTERED = ("error_gated", "agreement")  # a gate of a needed block closes or does not: two heaps, of no use as a mean
MEANS = (
    "First the means over seeds, from three on with Student's 95 % interval of the mean (of gated errors and "
    "agreements the median, lowest and highest), then the single runs. All seeds see the same test images: the "
    "interval says how much seeds differ, not how well so many images tell an error."
)


def text(rows: pd.DataFrame, form: str, *columns: str) -> list[str]:
    """Columns as text, by a form such as `{:.0f}/{:.0f}`; NOTHING where the first of them is empty."""
    values = zip(*(rows[column] for column in columns), strict=True)
    return [NOTHING if pd.isna(some[0]) else form.format(*some) for some in values]


def percents(rows: pd.DataFrame, column: str) -> list[str]:
    """A column of fractions as percentages."""
    return text(rows, "{:.2%}", column)


def intervals(rows: pd.DataFrame) -> list[str]:
    """The binomial intervals of the pruned networks' errors."""
    return text(rows, "{:.2%} to {:.2%}", "error_low", "error_high")


def counts(rows: pd.DataFrame) -> list[str]:
    """Discarded of all blocks, with the share."""
    return text(rows, "{:.0f}/{:.0f} ({:.0%})", "discarded", "blocks", "discarded_ratio")


def runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns that name a run, as text: run, depth, method, epsilon, decay, state, and variant if there are any."""
    view = pd.DataFrame(
        {
            "run": rows["run"],
            "depth": rows["depth"].astype(str),
            "ε": text(rows, "{:g}", "epsilon"),
            "decay": rows["weight_decay"].map("{:g}".format),
            "state": rows["state"],
        }
    )
    if rows["variant"].notna().any():
        view.insert(4, "variant", rows["variant"].fillna(NOTHING))
    return view


def errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors and discarded blocks of runs, as text, with the published numbers beside ours."""
    view = runs(rows)
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
    view["flickered"] = text(rows, "{:.0f}, {:.0f}", "flickered_in_training", "flickered_in_evaluation")
    return view


def means(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """One row per configuration (and stage, where rows have one), as text: how many seeds, mean and 95 % interval.

    `columns`: their titles; of SCATTERED ones the median and the range. Published numbers have
    no interval. Empty where no configuration has two finished seeds: a mean of one is in the rows of the runs.
    """
    by = [column for column in (*ARM, "stage") if column in rows]
    named = runs(rows).drop(columns=["run", "state"])
    lines = []
    for _, group in rows.groupby(by, sort=False, dropna=False):
        done = group[group["state"] == "done"]
        lines.append(
            {
                **named.loc[group.index[0]],
                "method": group["method"].iloc[0],
                **({"stage": str(group["stage"].iloc[0])} if "stage" in by else {}),
                "seeds": f"{done['seed'].nunique()} of {group['seed'].nunique()}",
                **{title: _mean(group if _is_published(name) else done, name) for name, title in columns.items()},
            }
        )
    has_several = (rows[rows["state"] == "done"].groupby(by, dropna=False)["seed"].nunique() > 1).any()
    return pd.DataFrame(lines if has_several else [])


def _is_published(column: str) -> bool:
    return column.startswith("published")


def _mean(group: pd.DataFrame, column: str) -> str:
    values = group[column].dropna().astype(float).tolist()
    form, most = FORMATS.get(column, ("{:.2f}".format, np.inf) if "mib" in column else ("{:.2%}".format, 1.0))
    if not values:
        return NOTHING
    if _is_published(column) or len(set(values)) == 1:
        return form(values[0])
    if column in SCATTERED:
        return f"{form(float(np.median(values)))} ({form(min(values))} to {form(max(values))})"
    mean = form(float(np.mean(values)))
    if len(values) < LEAST_SEEDS:
        return mean
    return f"{mean} ({' to '.join(map(form, possible_interval(values, most)))})"

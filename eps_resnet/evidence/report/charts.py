"""Small charts of how a run trained: error, discarded blocks and rate over the epochs, as points of SVG lines."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

LEFT, RIGHT, TOP, BOTTOM = 40, 296, 8, 116  # of the plot, in units of the drawing, 304 x 136
BUCKETS = 30  # a training of 1000 epochs keeps at most twice as many points, its extremes among them
LOWEST_ERROR = 1e-3  # smaller ones, 0 included, are drawn here: the axis is logarithmic


@dataclass(frozen=True)
class Chart:
    """One panel, as the page's script draws it.

    `lines`: their names, and their points as SVG writes them. `ticks` are heights and their labels; `words` say what a
    person who cannot see it needs; `marked` is where the epoch lies whose network was pruned.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    ticks: tuple[tuple[float, str], ...]
    words: str
    epochs: int
    marked: float


def charts(history: pd.DataFrame, blocks: int, settled: int) -> tuple[Chart, ...]:
    """The charts of one run, from its history.csv, its number of blocks and the epoch that was pruned."""
    last, rates = history.iloc[-1], history["rate"]
    epochs = int(last["epoch"])
    marked = round(_position(settled, epochs), 1)
    error, (low, high) = _logarithmic(LOWEST_ERROR, 1), (_floor(rates.min()), _ceiling(rates.max()))
    return (
        Chart(
            "Error, gates on",
            (("test", _points(history, "test_error", error)), ("training", _points(history, "train_error", error))),
            _decades(LOWEST_ERROR, 1, lambda value: f"{value:.1%}" if value < 0.01 else f"{value:.0%}"),
            f"Test error with gates on: {last['test_error']:.2%} at the last of {epochs} epochs, lowest "
            f"{history['test_error'].min():.2%}; training error {last['train_error']:.2%} at the last.",
            epochs,
            marked,
        ),
        Chart(
            f"Discarded, of {blocks} blocks",
            (("discarded", _points(history, "discarded", lambda value: value / blocks)),),
            tuple((round(_height(share), 1), f"{share * blocks:g}") for share in (0, 0.5, 1)),
            f"Discarded blocks: {int(last['discarded'])} of {blocks} at the last of {epochs} epochs.",
            epochs,
            marked,
        ),
        Chart(
            "Learning rate",
            (("rate", _steps(history, "rate", _logarithmic(low, high))),),
            _decades(low, high, lambda value: f"{value:g}"),
            f"Learning rate from {rates.iloc[0]:g} to {last['rate']:g}, lowest {rates.min():g}.",
            epochs,
            marked,
        ),
    )


def thin(values: list[float]) -> list[int]:
    """Indices of the values to draw: of each bucket the first lowest and highest, and the two ends."""
    size = math.ceil(len(values) / BUCKETS)
    kept = {0, len(values) - 1}
    for start in range(0, len(values), size):
        bucket = range(start, min(start + size, len(values)))
        kept |= {min(bucket, key=values.__getitem__), max(bucket, key=values.__getitem__)}
    return sorted(kept)


def _points(history: pd.DataFrame, column: str, share: Callable[[float], float]) -> str:
    return " ".join(f"{x},{y}" for x, y in _places(history, column, share))


def _steps(history: pd.DataFrame, column: str, share: Callable[[float], float]) -> str:
    """The points of a value that stays until it jumps, with the corners between them."""
    places = _places(history, column, share)
    corners = [f"{x},{before} {x},{y}" for (_, before), (x, y) in pairwise(places) if y != before]
    return " ".join([",".join(places[0]), *corners, ",".join(places[-1])])


def _places(history: pd.DataFrame, column: str, share: Callable[[float], float]) -> list[tuple[str, str]]:
    known = history[history[column].notna()]  # not every epoch may have been tested
    values, epochs = known[column].tolist(), known["epoch"].tolist()
    return [(f"{_position(epochs[i], epochs[-1]):.0f}", f"{_height(share(values[i])):.0f}") for i in thin(values)]


def _position(epoch: int, epochs: int) -> float:
    return LEFT + (RIGHT - LEFT) * (epoch - 1) / max(1, epochs - 1)


def _height(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    """Where a value lies between these two powers of ten, from 0 to 1."""
    return lambda value: math.log10(max(value, low) / low) / math.log10(high / low)


def _decades(low: float, high: float, label: Callable[[float], str]) -> tuple[tuple[float, str], ...]:
    share = _logarithmic(low, high)
    powers = range(round(math.log10(low)), round(math.log10(high)) + 1)
    return tuple((round(_height(share(10.0**power)), 1), label(10.0**power)) for power in powers)


def _floor(rate: float) -> float:
    """The power of ten below a rate, so that the lowest rate is not drawn on the axis."""
    return float(10.0 ** math.floor(round(math.log10(rate), 9) - 1e-6))


def _ceiling(rate: float) -> float:
    """The power of ten at or above a rate; rounded, since 0.1 is no exact power."""
    return float(10.0 ** math.ceil(round(math.log10(rate), 9)))

"""Two things timed in turns, and the line of the table that says what came out."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times as long the first of two things took as the second: median of the pairs, smallest and largest.

    `seconds`: the median time of each.
    """

    median: float
    low: float
    high: float
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of the table: a figure with its spread, and the goal it is held to.

    `figure` is a ratio unless `unit` says otherwise, None if it could not be measured here; `low` and `high` are its
    smallest and largest value. No goal: the figure is only reported. `note` says what bounds it, or
    what else a reader should know.
    """

    item: str
    what: str
    figure: float | None
    low: float | None
    high: float | None
    cores: int
    at_most: float | None = None
    at_least: float | None = None
    unit: str = "times"
    note: str = ""

    @property
    def goal(self) -> str:
        """The goal in words, empty without one."""
        if self.at_most is not None:
            return f"at most {self.at_most:,g}"
        return "" if self.at_least is None else f"at least {self.at_least:g}"

    @property
    def met(self) -> bool | None:
        """Whether the figure reaches the goal; None without one of them."""
        if self.figure is None:
            return None
        if self.at_most is not None:
            return self.figure <= self.at_most
        return None if self.at_least is None else self.figure >= self.at_least


def in_turns(first: Callable[[], object], second: Callable[[], object], pairs: int = 7) -> Ratio:
    """Times two things alternately, after one call of each that does not count.

    The ratio is taken within each pair, so that what else the machine does meanwhile weighs on both; every other pair
    starts with the second.
    """
    first(), second()
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        if pair % 2:
            late, early = _seconds(second), _seconds(first)
        else:
            early, late = _seconds(first), _seconds(second)
        times.append((early, late))
    ratios = [one / other for one, other in times]
    medians = statistics.median(one for one, _ in times), statistics.median(other for _, other in times)
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), medians)


def line(item: str, what: str, ratio: Ratio, cores: int, **goal: float) -> Line:
    """The line of a ratio. `goal` is `at_most` or `at_least`, or nothing."""
    return Line(item, what, ratio.median, ratio.low, ratio.high, cores, **goal)  # type: ignore[arg-type]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

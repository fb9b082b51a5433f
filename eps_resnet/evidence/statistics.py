"""Intervals and quantiles, once for tables, drawings, verdicts and claims."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.stats import binomtest, norm, t

CONFIDENCE = 0.95
LEAST_SEEDS = 3  # a spread known from two runs is hardly known


def error_interval(error: float, images: int) -> tuple[float, float]:
    """Exact (Clopper-Pearson) 95 % interval of an error rate, of which so many images were tested."""
    interval = binomtest(round(error * images), images).proportion_ci(CONFIDENCE, "exact")
    return float(interval.low), float(interval.high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's t 95 % interval of the mean over seeds. Raises ValueError for fewer than two."""
    half = student_quantile(len(values)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def possible_interval(values: Sequence[float], most: float = 1.0) -> tuple[float, float]:
    """mean_interval, cut where no value can lie: below 0, above `most`. Student's t knows nothing of such bounds."""
    low, high = mean_interval(values)
    return max(low, 0.0), min(high, most)


def binomial_deviation(error: float, images: int) -> float:
    """Standard deviation of an error measured on `images` images drawn at random."""
    return math.sqrt(error * (1 - error) / images)


def normal_quantile() -> float:
    """How many standard deviations a two-sided 95 % interval reaches."""
    return float(norm.ppf(1 - (1 - CONFIDENCE) / 2))


def student_quantile(runs: int) -> float:
    """The same where the standard deviation is estimated from `runs` runs. Raises ValueError for fewer than two."""
    if runs < 2:
        raise ValueError(f"a spread needs two runs or more, found {runs}")
    return float(t.ppf(1 - (1 - CONFIDENCE) / 2, runs - 1))

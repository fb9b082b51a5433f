"""The tests behind the verdicts: non-inferiority, trends, paired signs, equivalence. No run is known here.

Seeds of different networks do not correlate (-0.02 over the committed runs), so runs are never paired by seed.
The error rate of each test under its null hypothesis, and its power, are simulated in tests/evidence/test_inference.py.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean, variance

import numpy as np
from scipy.stats import bartlett, chi2, nct, norm, rankdata, t

LEVEL = 0.05  # of every test, one-sided
ALIKE = 0.05  # p of Bartlett's test, from which on the spreads of several arms count as alike


@dataclass(frozen=True)
class Arm:
    """The values of some runs that differ in their seed alone. `kind`: arms of one kind may share their spread."""

    kind: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.values)


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of means of arms, its standard error, and the degrees of freedom of that (Satterthwaite's)."""

    estimate: float
    error: float
    freedom: float

    def bounds(self, level: float = LEVEL) -> tuple[float, float]:
        """The lower and the upper bound, each one-sided."""
        half = float(t.ppf(1 - level, self.freedom)) * self.error
        return self.estimate - half, self.estimate + half

    def p_below(self) -> float:
        """p of the hypothesis that the true value is 0 or more, against less."""
        if self.error == 0:
            return float(self.estimate >= 0)
        return float(t.cdf(self.estimate / self.error, self.freedom))

    def power_below(self, true: float, level: float = LEVEL) -> float:
        """The chance that `p_below()` comes out below the level if the true value is `true`, at this spread."""
        if self.error == 0:
            return float(true < 0)
        return float(nct.cdf(-t.ppf(1 - level, self.freedom), self.freedom, true / self.error))


def contrast(weighted: Sequence[tuple[float, Arm]]) -> Contrast:
    """The sum of weight x mean. Arms of one kind share a pooled variance where their spreads are alike (Bartlett)."""
    parts = [part for kind in {arm.kind: None for _, arm in weighted} for part in _variances(kind, weighted)]
    squared = sum(share * value for share, value, _ in parts)
    below = sum((share * value) ** 2 / freedom for share, value, freedom in parts)
    freedom = squared**2 / below if below > 0 else float(sum(freedom for _, _, freedom in parts))
    return Contrast(sum(weight * arm.mean for weight, arm in weighted), math.sqrt(squared), freedom)


def _variances(kind: str, weighted: Sequence[tuple[float, Arm]]) -> list[tuple[float, float, int]]:
    """Of one kind's arms, for each variance: its share in that of the sum, the variance, its degrees of freedom."""
    own = [(weight, arm.values) for weight, arm in weighted if arm.kind == kind]
    found = [(w**2 / len(v), variance(v), len(v) - 1) for w, v in own]
    if len(own) > 1 and _are_alike([v for _, v in own]):
        freedom = sum(f for _, _, f in found)
        pooled = sum(f * value for _, value, f in found) / freedom
        return [(sum(share for share, _, _ in found), pooled, freedom)]
    return found


def _are_alike(samples: Sequence[Sequence[float]]) -> bool:
    spreads = [variance(sample) for sample in samples]
    if min(spreads) == 0:
        return max(spreads) == 0
    return float(bartlett(*samples).pvalue) >= ALIKE


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted for all of them being looked at (Holm), in the same order."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def page(rows: Iterable[Sequence[float]]) -> tuple[float, float]:
    """Page's test over rows of values in the hypothesis' order: p of a rising and of a falling trend, exact.

    Under the null hypothesis every order of a row's own values is as likely as another, ties included. Rows may differ
    in length; those of one value say nothing.
    """
    observed, chances = 0, {0: 1.0}
    for row in rows:
        ranks = [round(2 * rank) for rank in rankdata(row)]  # halves, where values are equal
        observed += _score(ranks)
        scores = Counter(map(_score, permutations(ranks)))
        total = sum(scores.values())
        chances = _sum_of(chances, {score: count / total for score, count in scores.items()})
    rising = sum(p for score, p in chances.items() if score >= observed)
    falling = sum(p for score, p in chances.items() if score <= observed)
    return min(rising, 1.0), min(falling, 1.0)


def _score(ranks: Sequence[int]) -> int:
    return sum(place * rank for place, rank in enumerate(ranks, start=1))


def sign_flip(differences: Iterable[int]) -> float:
    """p of the hypothesis that differences are as likely positive as negative, against a positive sum; exact."""
    found = [difference for difference in differences if difference]
    chances = {0: 1.0}
    for difference in found:
        chances = _sum_of(chances, {difference: 0.5, -difference: 0.5})
    return min(sum(p for total, p in chances.items() if total >= sum(found)), 1.0)


def _sum_of(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """The distribution of the sum of two independent counts."""
    result: dict[int, float] = defaultdict(float)
    for a, p in first.items():
        for b, q in second.items():
            result[a + b] += p * q
    return result


@dataclass(frozen=True)
class Spread:
    """How much runs of one arm differ: a standard deviation, pooled over arms, and its degrees of freedom."""

    deviation: float
    freedom: int

    @classmethod
    def of(cls, arms: Iterable[Sequence[float]]) -> "Spread | None":
        """Pooled over arms of two runs or more; None if there are none."""
        several = [values for values in arms if len(values) > 1]
        freedom = sum(len(values) - 1 for values in several)
        if not freedom:
            return None
        squares = sum((len(values) - 1) * variance(values) for values in several)
        return cls(math.sqrt(squares / freedom), freedom)


def possible_difference(spread: Spread, seeds: int) -> float:
    """How far, at most, a mean over `seeds` seeds is off one other run's true value, at 95 % on either side.

    Half of the interval of two one-sided tests: equivalence is shown where the difference and this make up no more
    than the bound.
    """
    return float(t.ppf(1 - LEVEL, spread.freedom)) * spread.deviation * math.sqrt(1 + 1 / seeds)


def chance_of_equivalence(spread: float, bound: float, seeds: int, freedom: int) -> float:
    """The chance that an identical process is shown to be equivalent, if its runs have this standard deviation."""
    if spread == 0:
        return 1.0
    scale = spread * math.sqrt(1 + 1 / seeds)
    middles = (np.arange(400) + 0.5) / 400  # equally likely values of the estimated deviation
    estimated = scale * np.sqrt(chi2.ppf(middles, freedom) / freedom)
    room = np.clip(bound - t.ppf(1 - LEVEL, freedom) * estimated, 0, None)
    return float(np.mean(2 * norm.cdf(room / scale) - 1))

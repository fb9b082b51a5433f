"""When a published number counts as reproduced (docs/verdicts.md). Margins that are constants stand in margins.py."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from eps_resnet.evidence.inference import Spread, chance_of_equivalence, possible_difference
from eps_resnet.evidence.margins import PUBLISHED_SHARE
from eps_resnet.evidence.statistics import binomial_deviation, normal_quantile

Verdict = Literal["reproduced", "close", "off", "not run", "not comparable"]

ENOUGH_SEEDS = 5  # of three, chance alone too often makes a spread that shows nothing (docs/verdicts.md)


@dataclass(frozen=True)
class Scale:
    """What a difference is measured by. `margin`: the largest that still counts as close. `step`: a value's grain.

    `of_shares`: whether values are fractions, whose differences are percentage points; else they are sizes in MiB.
    """

    margin: float
    step: float
    of_shares: bool = True

    def in_words(self, difference: float, sign: str = "") -> str:
        """A difference as people read it."""
        return f"{100 * difference:{sign}.3g} points" if self.of_shares else f"{difference:{sign}.3g} MiB"


def error_scale(published: float, images: int) -> Scale:
    """The margin of an error: what two errors on test sets of `images` images differ by, at 95 %, by chance.

    Both are in fact measured on the same images, which brings them closer together: the margin is wide, and can be
    wider than the differences between methods that the paper draws. A paired margin would need the images on which
    the two networks differ, and the paper does not give its predictions.
    """
    return Scale(normal_quantile() * math.sqrt(2) * binomial_deviation(published, images), 1 / images)


def share_scale(blocks: int, whole: float = 1) -> Scale:
    """The margin of a share of `blocks` blocks, or of a size that is such a share of `whole`."""
    return Scale(whole * max(PUBLISHED_SHARE, 1 / blocks), whole / blocks, of_shares=whole == 1)


def judge(
    ours: Sequence[float],
    published: float,
    uncertainty: float,
    scale: Scale,
    settled: bool = True,
    spread: Spread | None = None,
) -> tuple[Verdict, str]:
    """The verdict on one published number, given our value for each seed (one at least), and its reason in words.

    Reproduced is equivalence, by two one-sided tests: the difference and what chance may hide of it make up no more
    than the bound. `uncertainty` is the limit of the digitisation's error. The published number is taken to be one
    run's; `spread` is that of such runs, pooled over networks (None: of these seeds alone).
    """
    seeds, difference = len(ours), fmean(ours) - published
    bound, spread = scale.margin + uncertainty, spread or Spread.of([ours])
    apart = f"difference {scale.in_words(difference, '+')}, bound ±{scale.in_words(bound)}"
    words = f"{seeds} seed{'s' if seeds > 1 else ''}, {apart}"
    hidden = None if spread is None else possible_difference(spread, seeds) + scale.step / 2
    if spread is not None and hidden is not None:
        words += f", up to {scale.in_words(hidden)} more by chance ({chances(spread, bound, scale.step)})"
    if abs(difference) > bound:
        return "off", words
    if seeds < ENOUGH_SEEDS or hidden is None:
        return "close", f"{words}; {ENOUGH_SEEDS} seeds are needed for more"
    if not settled:
        return "close", f"{words}; a run never settled (its rate did not fall to a hundredth)"
    if abs(difference) + hidden > bound:
        return "close", f"{words}; chance may hide a difference beyond the bound"
    return "reproduced", words


def chances(spread: Spread, bound: float, step: float) -> str:
    """How likely an identical process earns each verdict with some numbers of seeds, in words."""
    parts = []
    for seeds in (3, ENOUGH_SEEDS, 10):
        same = 0.0
        if seeds >= ENOUGH_SEEDS:
            same = chance_of_equivalence(spread.deviation, bound - step / 2, seeds, spread.freedom)
        deviation = spread.deviation * math.sqrt(1 + 1 / seeds)
        off = math.erfc(bound / deviation / math.sqrt(2)) if deviation else 0.0
        parts.append(f"{seeds} seeds {same:.0%}, {max(0.0, 1 - same - off):.0%}, {off:.0%}")
    return f"an identical process is reproduced, close, off: {'; '.join(parts)}"


def judge_exact(ours: float, published: float, uncertainty: float) -> tuple[Verdict, str]:
    """The verdict on a number that follows from the architecture: no training, so no seeds and no spread."""
    difference = ours - published
    words = f"exact count, no run needed; difference {difference:+.3g}, read to ±{uncertainty:.3g}"
    if abs(difference) <= uncertainty:
        return "reproduced", words
    return ("close" if abs(difference) <= 2 * uncertainty else "off"), words

"""When a published number counts as reproduced: the rule, in one place (docs/verdicts.md explains it)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from eps_resnet.evidence.statistics import LEAST_SEEDS, binomial_deviation, normal_quantile, student_quantile

Verdict = Literal["reproduced", "close", "off", "not run", "not comparable"]

# Fig. 8: a change of epsilon by 0.2 moves the share of discarded blocks by .02 (CIFAR-10) to .08 (CIFAR-100), .05 on
# average. What differs by less could as well be another epsilon read off the same figure.
SHARE_MARGIN = 0.05


@dataclass(frozen=True)
class Scale:
    """What a difference is measured by. `margin`: the largest that still counts as close. `step`: a value's grain."""

    margin: float
    step: float


def error_scale(published: float, images: int) -> Scale:
    """The margin of an error: what two errors on test sets of so many images differ by, at 95 %, by chance.

    Both are in fact measured on the same images, which brings them closer together: the margin is wide, and can be
    wider than the differences between methods that the paper draws. A paired margin would need the images on which
    the two networks differ, and the paper does not give its predictions.
    """
    return Scale(normal_quantile() * math.sqrt(2) * binomial_deviation(published, images), 1 / images)


def share_scale(blocks: int, whole: float = 1) -> Scale:
    """The margin of a share of so many blocks, or of a size that is such a share of `whole`."""
    return Scale(whole * max(SHARE_MARGIN, 1 / blocks), whole / blocks)


def judge(
    ours: Sequence[float], published: float, uncertainty: float, scale: Scale, settled: bool = True
) -> tuple[Verdict, str]:
    """The verdict on one published number, given our value for each seed (one at least), and its reason in words.

    `uncertainty` is the limit of the digitisation's error. The published number is taken to be one run's, and the
    spread of such runs to be that of ours.
    """
    seeds, difference = len(ours), fmean(ours) - published
    distance, bound = abs(difference), scale.margin + uncertainty
    spread = expected(ours, uncertainty, scale.step)
    words = f"{seeds} seed{'s' if seeds > 1 else ''}, difference {difference:+.3g}, bound ±{bound:.3g}"
    if spread is not None:
        words += f", ±{spread:.3g} expected of one more run"
    if distance > bound:
        unclear = spread is not None and distance <= spread
        return "off", words + ("; the seeds spread so widely that they exclude little" if unclear else "")
    if seeds < LEAST_SEEDS or spread is None:
        return "close", f"{words}; {LEAST_SEEDS} seeds are needed for more"
    if not settled:
        return "close", f"{words}; a run never settled (its rate did not fall to a hundredth)"
    if spread > bound:
        return "close", f"{words}; the seeds spread too widely for more"
    if distance > spread:
        return "close", f"{words}; more than the seeds' spread explains"
    return "reproduced", words


def expected(ours: Sequence[float], uncertainty: float, step: float) -> float | None:
    """How far, at 95 %, one more run lies from the mean of ours; None for a single run.

    Student's t for the runs' spread, plus the digitisation's error and half a step, which are limits and no deviations.
    """
    if len(ours) < 2:
        return None
    return student_quantile(len(ours)) * stdev(ours) * math.sqrt(1 + 1 / len(ours)) + uncertainty + step / 2


def judge_exact(ours: float, published: float, uncertainty: float) -> tuple[Verdict, str]:
    """The verdict on a number that follows from the architecture: no training, so no seeds and no spread."""
    difference = ours - published
    words = f"exact count, no run needed; difference {difference:+.3g}, read to ±{uncertainty:.3g}"
    if abs(difference) <= uncertainty:
        return "reproduced", words
    return ("close" if abs(difference) <= 2 * uncertainty else "off"), words

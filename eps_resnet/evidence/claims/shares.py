"""Claims about shares of discarded blocks: 2, 3 and 4. Exact Page tests, so that no single step decides."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from eps_resnet.evidence.claims.rules import (
    NOT_ENOUGH,
    Case,
    Finding,
    Leaning,
    Verdict,
    claim,
    gated,
    grouped,
    leaning,
    not_run,
    place,
)
from eps_resnet.evidence.finished import Result
from eps_resnet.evidence.inference import LEVEL, holm, page
from eps_resnet.evidence.statistics import LEAST_SEEDS

FIXED = {"depth": "epsilon", "epsilon": "depth"}  # beside the decay, while the other grows
NAMES = {"depth": "depth", "epsilon": "ε"}


@claim(
    2,
    "deeper: a larger share discarded",
    "deeper networks discard a larger share of their blocks",
    "Fig. 6",
    along="depth",
)
@claim(
    3,
    "larger ε: a larger share discarded",
    "a larger ε discards a larger share of the blocks",
    "Fig. 8",
    along="epsilon",
)
def rises(case: Case, along: Literal["depth", "epsilon"]) -> Finding:
    """Whether the share rises with depth (or epsilon), all else equal. A row of the test is one seed at all of them."""
    fixed = FIXED[along]
    rows, used, words = [], [], []
    for (value, decay), group in grouped(gated(case.results), fixed, "decay").items():
        arms = {at: {result.run.seed: result for result in arm} for (at,), arm in grouped(group, along).items()}
        if len(arms) < 2:
            continue
        seeds = sorted(set.intersection(*(set(arm) for arm in arms.values())))
        rows += [[arms[at][seed].share for at in arms] for seed in seeds]
        used += [arm[seed] for arm in arms.values() for seed in seeds]
        means = ", ".join(f"{at:g}: {sum(r.share for r in arm.values()) / len(arm):.1%}" for at, arm in arms.items())
        words.append(f"{NAMES[fixed]} {value:g}, decay {decay:g}, {along} {means} (n {len(seeds)})")
    if not rows:
        return not_run(f"no two finished runs that differ in {along} alone")
    judged, p = judge_rows(rows)
    return Finding(judged, f"{'; '.join(words)}; {p}", used, trend(rows, "seed"))


def judge_rows(rows: Sequence[Sequence[float]]) -> tuple[Verdict, str]:
    """Supported if the rows' trend rises clearly (Page, 5 %), contradicted if it falls clearly; and p in words."""
    rising, falling = page(rows)
    plural = "" if len(rows) == 1 else "s"
    words = f"Page's test over {len(rows)} row{plural}: p = {rising:.2g} of a rise, p = {falling:.2g} of a fall"
    if len(rows) < LEAST_SEEDS:
        return "undecided", f"{words}; {NOT_ENOUGH}"
    return ("supported" if rising < LEVEL else "contradicted" if falling < LEVEL else "undecided"), words


def trend(rows: Sequence[Sequence[float]], what: str) -> Leaning | None:
    """Which way the rows' trend goes, and how many rows go that way by themselves."""

    def rise(some: Sequence[Sequence[float]]) -> float:
        rising, falling = page(some)
        return falling - rising

    return leaning(rise(rows), [rise([row]) for row in rows], what)


def stage_rises(kept: Sequence[int], blocks: Sequence[int]) -> list[float]:
    """Rise of the discarded share from each stage to the next, given the blocks kept in each and all of them."""
    discarded = stage_shares(kept, blocks)
    return [later - earlier for earlier, later in pairwise(discarded)]


def stage_shares(kept: Sequence[int], blocks: Sequence[int]) -> list[float]:
    """Share of discarded blocks in each stage."""
    return [1 - some / whole for some, whole in zip(kept, blocks, strict=True)]


@claim(
    4, "later stages discard more", "the closer a stage is to the output, the larger the share it discards", "Fig. 10"
)
def rises_along_stages(case: Case) -> Finding:
    """Whether later stages discard more, and none clearly less than the one before. A row of the test is one run.

    One stage alone could make the whole trend rise, so each is also held against the one before (Holm).
    """
    used = gated(case.results)
    if not used:
        return not_run("no finished run of epsilon_side")
    rows = [stage_shares(result.metrics.kept, result.metrics.blocks) for result in used]
    judged, p = judge_rows(rows)
    if judged == "supported" and (falls := _falls(rows)):
        judged, p = "undecided", f"{p}; but {falls}"
    means = [
        f"{place(*at)}: {' '.join(f'{share:.0%}' for share in _mean_shares(group))}"
        for at, group in grouped(used, "depth", "epsilon", "decay").items()
    ]
    return Finding(judged, f"mean share by stage: {'; '.join(means)}; {p}", used, trend(rows, "run"))


def _falls(rows: Sequence[Sequence[float]]) -> str:
    """The stages that clearly discard a smaller share than the one before (Page over both, Holm), in words."""
    steps = [list(zip(earlier, later, strict=True)) for earlier, later in pairwise(zip(*rows, strict=True))]
    ps = holm([page(step)[1] for step in steps])
    return " and ".join(
        f"stage {number} discards less than stage {number - 1} (p = {p:.2g})"
        for number, p in enumerate(ps, start=2)
        if p < LEVEL
    )


def _mean_shares(group: list[Result]) -> list[float]:
    shares = [stage_shares(result.metrics.kept, result.metrics.blocks) for result in group]
    return [sum(stage) / len(group) for stage in zip(*shares, strict=True)]

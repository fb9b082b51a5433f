"""Compares results made here with committed ones, run by run: the end of `make demo` (published: compare.py)."""

from dataclasses import dataclass
from typing import Literal

from eps_resnet.evidence.margins import OTHER_MACHINE
from eps_resnet.evidence.statistics import error_interval
from eps_resnet.experiments.layout import Layout
from eps_resnet.provenance import records
from eps_resnet.provenance.records import ABOUT, Metrics

Verdict = Literal["identical", "reproduced", "differs", "not comparable"]


@dataclass(frozen=True)
class Reproduction:
    """One run, made here and committed. Errors are fractions, of the pruned network."""

    key: str
    verdict: Verdict
    error_here: float | None
    error_committed: float | None
    discarded_here: int | None
    discarded_committed: int | None
    blocks: int | None


def block_tolerance(blocks: int) -> int:
    """How many blocks two trainings of the same run on different machines may differ by."""
    return max(2, round(OTHER_MACHINE * blocks))


def reproduce(keys: list[str], here: Layout, committed: Layout) -> list[Reproduction]:
    """The verdict for each run: `identical` if all that was measured is equal, `reproduced` within tolerances.

    Which code measured it, and which files, may differ: code changes without changing a number.
    """
    return [_compare(key, here, committed) for key in keys]


def _compare(key: str, here: Layout, committed: Layout) -> Reproduction:
    ours, theirs = (records.read(Metrics, layout.run(key).metrics) for layout in (here, committed))
    verdict: Verdict = "not comparable"
    if ours and theirs:
        is_same = ours.model_dump(exclude=ABOUT) == theirs.model_dump(exclude=ABOUT)
        verdict = "identical" if is_same else "reproduced" if _agree(ours, theirs) else "differs"
    return Reproduction(
        key=key,
        verdict=verdict,
        error_here=ours.error.pruned if ours else None,
        error_committed=theirs.error.pruned if theirs else None,
        discarded_here=ours.discarded if ours else None,
        discarded_committed=theirs.discarded if theirs else None,
        blocks=sum(ours.blocks) if ours and theirs else None,
    )


def _agree(ours: Metrics, theirs: Metrics) -> bool:
    """Whether our error lies within the 95 % binomial interval of the committed one, and as many blocks are left."""
    low, high = error_interval(theirs.error.pruned, theirs.test_images)
    are_as_many = abs(ours.discarded - theirs.discarded) <= block_tolerance(sum(ours.blocks))
    return low <= ours.error.pruned <= high and are_as_many

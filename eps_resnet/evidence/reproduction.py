"""Compares results made here with committed ones, run by run: the verdict a newcomer sees at the end of `make demo`."""

from dataclasses import dataclass
from typing import Any, Literal

from eps_resnet.evidence.statistics import error_interval
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.atomic import read_json

BLOCK_SHARE = 0.15  # discarded counts agree within this share of all blocks, and within at least two blocks

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
    return max(2, round(BLOCK_SHARE * blocks))


def reproduce(keys: list[str], here: Layout, committed: Layout) -> list[Reproduction]:
    """The verdict for each run: `identical` if metrics.json is the same bytes, `reproduced` within the tolerances."""
    return [_compare(key, here, committed) for key in keys]


def _compare(key: str, here: Layout, committed: Layout) -> Reproduction:
    ours, theirs = read_json(here.run(key).metrics), read_json(committed.run(key).metrics)
    verdict: Verdict = "not comparable"
    blocks = None
    if ours is not None and theirs is not None:
        blocks = sum(ours["blocks"])
        is_near = abs(ours["discarded"] - theirs["discarded"]) <= block_tolerance(blocks)
        verdict = "reproduced" if is_near and _errors_agree(ours, theirs) else "differs"
        if here.run(key).metrics.read_bytes() == committed.run(key).metrics.read_bytes():
            verdict = "identical"
    return Reproduction(key, verdict, _error(ours), _error(theirs), _discarded(ours), _discarded(theirs), blocks)


def _errors_agree(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether our error lies within the 95 % binomial interval of the committed one."""
    images = theirs["test_images"]
    low, high = error_interval(round(theirs["error"]["pruned"] * images), images)
    return bool(low <= ours["error"]["pruned"] <= high)


def _error(metrics: dict[str, Any] | None) -> float | None:
    return None if metrics is None else metrics["error"]["pruned"]


def _discarded(metrics: dict[str, Any] | None) -> int | None:
    return None if metrics is None else metrics["discarded"]

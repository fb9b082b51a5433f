"""Finished runs as the claims see them, grouped into arms: runs that differ in their seed alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from eps_resnet.evidence.inference import Arm
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.models import Recipe, Run
from eps_resnet.provenance.records import Metrics

Verdict = Literal["supported", "contradicted", "undecided", "not run"]


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run and what it measured."""

    experiment: Experiment
    metrics: Metrics

    @property
    def key(self) -> str:
        """Its name."""
        return self.experiment.key

    @property
    def run(self) -> Run:
        """What was trained."""
        return self.experiment.run

    @property
    def recipe(self) -> Recipe:
        """How it was trained."""
        return self.experiment.recipe

    @property
    def is_gated(self) -> bool:
        """Whether its network has gates."""
        return self.run.method == "epsilon_side"

    @property
    def decay(self) -> float:
        """Its weight decay."""
        return self.recipe.weight_decay

    @property
    def blocks(self) -> int:
        """Residual blocks of the whole network."""
        return sum(self.metrics.blocks)

    @property
    def share(self) -> float:
        """Share of its blocks that are discarded."""
        return self.metrics.compression.discarded_ratio

    @property
    def error(self) -> float:
        """Error of the pruned network."""
        return self.metrics.error.pruned


@dataclass(frozen=True)
class Leaning:
    """Which way evidence points that decides nothing: in `count` of `of` comparisons, such as depths or runs."""

    way: Literal["for", "against"]
    count: int
    of: int
    what: str

    def __str__(self) -> str:
        return f"{self.count} of {self.of} {self.what} {self.way}"


class Finding(NamedTuple):
    """What a rule finds: verdict, evidence in words, the runs it rests on, and which way the evidence points."""

    verdict: Verdict
    evidence: str
    used: list[Result]
    leaning: Leaning | None = None


def leaning(whole: float, parts: Sequence[float], what: str) -> Leaning | None:
    """The way of the whole, and how many parts go the same way; positive is for the claim. None if it goes nowhere."""
    if whole == 0:
        return None
    sign = 1 if whole > 0 else -1
    return Leaning("for" if whole > 0 else "against", sum(sign * part > 0 for part in parts), len(parts), what)


NOT_ENOUGH = f"a verdict needs {LEAST_SEEDS} seeds of each network"


def not_run(why: str) -> Finding:
    """Nothing to judge, and why."""
    return Finding("not run", why, [])


def gated(results: Iterable[Result]) -> list[Result]:
    """Those with gates that are trained as the recipe says."""
    return [result for result in results if result.is_gated and result.run.variant is None]


def grouped(results: Iterable[Result], *of: Callable[[Result], Any]) -> dict[tuple[Any, ...], list[Result]]:
    """Results by these of their values, in ascending order."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(value(result) for value in of), []).append(result)
    return dict(sorted(groups.items(), key=lambda group: group[0]))


def depth(result: Result) -> int:
    """Its layers."""
    return result.run.depth


def epsilon(result: Result) -> float:
    """Its threshold; 0 without gates."""
    return result.run.epsilon or 0.0


def decay(result: Result) -> float:
    """Its weight decay."""
    return result.decay


def errors_of(results: Iterable[Result], kind: str) -> Arm:
    """The errors of an arm's runs."""
    return Arm(kind, tuple(result.error for result in results))


def have_spread(*arms: list[Result]) -> bool:
    """Whether each has enough seeds for its spread to be known."""
    return all(len(arm) >= LEAST_SEEDS for arm in arms)

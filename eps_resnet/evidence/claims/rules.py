"""What claims are and find, and finished runs grouped into arms: runs that differ in their seed alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from eps_resnet.evidence.finished import Result
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments.models import DataSet, Run
from eps_resnet.experiments.registry import Registry

Verdict = Literal["supported", "contradicted", "undecided", "not run"]


@dataclass(frozen=True)
class Leaning:
    """Which way evidence points that decides nothing: in `count` of `of` comparisons, such as depths or runs."""

    way: Literal["for", "against"]
    count: int
    of: int
    what: str  # what is compared, in the singular

    def __str__(self) -> str:
        plural = "" if self.of == 1 else "s"
        return f"{self.count} of {self.of} {self.what}{plural} {self.way}"


class Finding(NamedTuple):
    """What a rule finds: verdict, evidence in words, the runs it rests on, and which way the evidence points."""

    verdict: Verdict
    evidence: str
    used: list[Result]
    leaning: Leaning | None = None


@dataclass(frozen=True)
class Case:
    """A data set of the registry, with its finished runs: what a claim is judged by."""

    registry: Registry
    dataset: str
    results: list[Result]

    @property
    def data(self) -> DataSet:
        """The data set as the registry describes it."""
        return self.registry.datasets[self.dataset]

    @property
    def planned(self) -> list[Run]:
        """The data set's runs in the registry, finished or not."""
        return [run for run in self.registry.runs.values() if run.dataset == self.dataset]

    def decay(self, run: Run) -> float:
        """The weight decay of one of its runs."""
        return self.data.recipe_of(run).weight_decay

    @property
    def progress(self) -> str | None:
        """How many of the data set's runs are finished, where only some are: the others may change a verdict."""
        planned = len(self.planned)
        return f"{len(self.results)} of {planned} runs finished" if 0 < len(self.results) < planned else None


class Rule(NamedTuple):
    """A claim on some data set, as said in few words and in full, where it is made, and what judges it."""

    number: int
    short: str
    statement: str
    place: str
    judge: Callable[[Case], Finding]


RULES: list[Rule] = []  # those that are the same on every data set
Judge = TypeVar("Judge", bound=Callable[..., Finding])


def claim(number: int, short: str, statement: str, place: str, **options: Any) -> Callable[[Judge], Judge]:
    """Makes a rule of a function; `options` are passed on to it."""

    def define(judge: Judge) -> Judge:
        RULES.append(Rule(number, short, statement, place, partial(judge, **options)))
        return judge

    return define


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


def grouped(results: Iterable[Result], *names: str) -> dict[tuple[Any, ...], list[Result]]:
    """Results by these of their attributes, in ascending order."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(getattr(result, name) for name in names), []).append(result)
    return dict(sorted(groups.items(), key=lambda group: group[0]))


def place(depth: int, epsilon: float, decay: float) -> str:
    """Where results grouped by these belong, in words."""
    return f"depth {depth}, ε {epsilon:g}, decay {decay:g}"

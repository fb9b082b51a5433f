"""What the report shows first: one figure, and claim 1 in numbers below it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from eps_resnet.evidence.claims import BASELINES, Claim, cases, protocol, ways
from eps_resnet.evidence.claims.errors import Comparison, against_the_margin, are_complete, excess
from eps_resnet.evidence.claims.rules import NOT_ENOUGH, Case
from eps_resnet.evidence.figures.drawing import STYLES
from eps_resnet.evidence.finished import Result
from eps_resnet.evidence.report.drawings import Drawing
from eps_resnet.evidence.statistics import LEAST_SEEDS, possible_interval
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry


class Cell(NamedTuple):
    """A number, and what is said below it in small letters."""

    value: str
    detail: str = ""


NOT_RUN = Cell("not run")


@dataclass(frozen=True)
class Row:
    """One network: what was found at each place, and claim 1 against it, and why, where it is a baseline."""

    network: str
    cells: tuple[Cell, ...]
    claim: Claim | None = None
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lead:
    """A figure, and a table with a column for each of `places`, such as a depth; without rows if claim 1 has no runs.

    `progress`: how many of the data set's runs are finished, where only some are.
    """

    drawing: Drawing
    is_reduced: bool
    progress: str | None
    places: tuple[str, ...]
    rows: tuple[Row, ...]


def lead(
    registry: Registry, layout: Layout, figures: Mapping[str, Sequence[Drawing]], claims: Sequence[Claim]
) -> Lead | None:
    """The drawn Figure 6 of the data set nearest to the paper's on which a claim has a verdict; None if none is drawn.

    The paper's own data set is nearest, then a smaller version of one.
    """
    judged = {claim.dataset for claim in claims if claim.verdict in ("supported", "contradicted")}

    def nearness(drawing: Drawing) -> tuple[bool, bool, bool]:
        name = registry.figures[drawing.name].dataset
        data = registry.datasets[name]
        return name in judged, data.is_papers, data.published_name is not None

    drawing = max((drawing for drawing in figures.get("6", []) if drawing.image), key=nearness, default=None)
    if drawing is None:
        return None
    name = registry.figures[drawing.name].dataset
    [case] = [case for case in cases(registry, layout) if case.dataset == name]
    places, rows = _table(case, [claim for claim in claims if (claim.dataset, claim.number) == (name, 1)])
    return Lead(drawing, bool(case.data.reduced), case.progress, places, rows)


def _table(case: Case, claims: Sequence[Claim]) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    """The places where claim 1 has runs, and the networks that it compares there."""
    compared = [(name, claim, c) for (name, c), claim in zip(_compared(case), claims, strict=True) if c.pairings()]
    gated = {pairing.where: pairing.gated for _, _, comparison in compared for pairing in comparison.pairings()}
    if not gated:
        return (), ()
    ours = STYLES["epsilon_side"]["label"]
    rows = [
        Row(f"{ours}, pruned: error", tuple(_error(results) for results in gated.values())),
        Row("its discarded blocks", tuple(_discarded(results) for results in gated.values())),
    ]
    for name, claim, comparison in compared:
        errors = {pairing.where: _error(pairing.baseline) for pairing in comparison.pairings()}
        rows.append(Row(name, tuple(errors.get(place, NOT_RUN) for place in gated), claim, _why(comparison)))
    return tuple(gated), tuple(rows)


def _compared(case: Case) -> Iterator[tuple[str, Comparison]]:
    """Every kind of baseline of claim 1, by name, in the order of its rules."""
    for method in BASELINES:
        for way in ways(case, method):
            yield f"{STYLES[method]['label']}{protocol(case.data, way)}", Comparison(case, method, way)


def _why(comparison: Comparison) -> tuple[str, ...]:
    """The difference beside its margin, and what is missing: without it the claim is undecided whatever the numbers."""
    pairings, unfinished = comparison.pairings(), comparison.unfinished()
    difference = against_the_margin(pairings, excess(pairings)) if are_complete(pairings) else NOT_ENOUGH
    return (difference, *([f"not run: {' and '.join(unfinished)}"] if unfinished else []))


def _error(results: Sequence[Result]) -> Cell:
    """Mean over seeds with its 95 % interval; without one, how many seeds there are."""
    errors = [result.error for result in results]
    mean = f"{fmean(errors):.2%}"
    if len(errors) < LEAST_SEEDS:
        return Cell(mean, f"{len(errors)} of {LEAST_SEEDS} seeds")
    low, high = possible_interval(errors)
    return Cell(mean, f"{low:.2%} to {high:.2%}")


def _discarded(results: Sequence[Result]) -> Cell:
    """Of each seed, and the parameters that went with them on average."""
    counts = ", ".join(str(result.metrics.discarded) for result in results)
    removed = fmean(result.metrics.compression.parameters_removed for result in results)
    return Cell(f"{counts} of {results[0].blocks}", f"{removed:.0%} of the parameters")

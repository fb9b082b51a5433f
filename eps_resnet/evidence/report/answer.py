"""What the report says first: the answer in two sentences, and which claim holds on which data set."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from eps_resnet.evidence.claims import Claim
from eps_resnet.evidence.compare import Comparison
from eps_resnet.evidence.consistency import Check
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json

COMMIT = 10  # of a commit's digits, so many are shown


@dataclass(frozen=True)
class Answer:
    """Two sentences; day and commit of the newest result they rest on, None if there is no result."""

    sentences: tuple[str, str]
    day: str | None
    commit: str | None


@dataclass(frozen=True)
class Row:
    """A claim, and what became of it on each data set that has finished runs."""

    number: int
    statement: str
    place: str
    cells: tuple[Claim | None, ...]


def answer(
    registry: Registry,
    layout: Layout,
    states: Mapping[str, str],
    claims: list[Claim],
    comparisons: list[Comparison],
    checks: Iterable[Check],
) -> Answer:
    """The state of the reproduction."""
    done = [key for key, state in states.items() if state == "done"]
    manifests = [read_json(layout.run(key).manifest) for key in done]
    newest = max(manifests, key=lambda manifest: str(manifest["finished"]), default=None)
    return Answer(
        (_about_claims(registry, claims), _about_numbers(comparisons, list(checks))),
        None if newest is None else str(newest["finished"])[:10],
        None if newest is None or not newest.get("git_commit") else str(newest["git_commit"])[:COMMIT],
    )


def _about_claims(registry: Registry, claims: list[Claim]) -> str:
    judged = [claim for claim in claims if claim.verdict != "not run"]
    if not judged:
        return "Nothing has been trained here yet, so no claim of the paper has been tested."
    found = Counter(claim.verdict for claim in judged)
    names = [registry.datasets[name].title for name in dict.fromkeys(claim.dataset for claim in judged)]
    return (
        f"On {' and '.join(names)}, {found['supported']} of {len(judged)} tests of the paper's claims support them, "
        f"{found['contradicted']} contradict them and {found['undecided']} are undecided."
    )


def _about_numbers(comparisons: list[Comparison], checks: list[Check]) -> str:
    found = Counter(comparison.verdict for comparison in comparisons)
    exact = sum(c.verdict == "reproduced" and c.n_seeds == 0 for c in comparisons)
    wrong = sum(check.verdict == "inconsistent" for check in checks)
    return (
        f"Of its {len(comparisons)} numbers {found['reproduced'] - exact} are reproduced by training and {exact} by "
        f"counting parameters, {found['not run']} wait for their runs, and {wrong} of {len(checks)} checks find "
        f"contradictions."
    )


def matrix(registry: Registry, claims: list[Claim]) -> tuple[tuple[str, ...], list[Row]]:
    """The data sets on which a claim was judged, and a row for each claim; all data sets if none was."""
    names = tuple(dict.fromkeys(claim.dataset for claim in claims if claim.verdict != "not run"))
    names = names or tuple(registry.datasets)
    rows: dict[tuple[int, str], dict[str, Claim]] = {}
    places: dict[tuple[int, str], str] = {}
    for claim in claims:
        if claim.dataset in names:
            rows.setdefault((claim.number, claim.statement), {})[claim.dataset] = claim
            places[claim.number, claim.statement] = claim.place
    return names, [
        Row(number, statement, places[number, statement], tuple(cells.get(name) for name in names))
        for (number, statement), cells in sorted(rows.items(), key=lambda row: row[0][0])
    ]

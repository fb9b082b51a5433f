"""What the report says first: the answer in two sentences, and which claim holds on which data set."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from eps_resnet.evidence.claims import Claim
from eps_resnet.evidence.compare import Comparison
from eps_resnet.evidence.consistency import Check
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.provenance import records
from eps_resnet.provenance.records import Manifest

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
    checks: list[Check],
) -> Answer:
    """The state of the reproduction."""
    read = [records.read(Manifest, layout.run(key).manifest) for key, state in states.items() if state == "done"]
    newest = max(filter(None, read), key=lambda manifest: manifest.finished, default=None)
    return Answer(
        (_about_claims(registry, claims), _about_numbers(comparisons, checks)),
        newest.finished[:10] if newest else None,
        newest.git_commit[:COMMIT] if newest and newest.git_commit else None,
    )


def _about_claims(registry: Registry, claims: list[Claim]) -> str:
    judged = [claim for claim in claims if claim.verdict != "not run"]
    if not judged:
        return "Nothing has been trained here yet, so no claim of the paper has been tested."
    names = dict.fromkeys(claim.dataset for claim in judged)
    return "".join(_on(registry.datasets[name].title, [c for c in claims if c.dataset == name]) for name in names)


def _on(title: str, claims: list[Claim]) -> str:
    """A claim that is judged in several ways, such as against two baselines, counts once."""
    verdicts: dict[int, set[str]] = {}
    for claim in claims:
        verdicts.setdefault(claim.number, set()).add(claim.verdict)
    found = Counter(map(_of_all_ways, verdicts.values()))
    differing = f", judge {found['differing']} differently against different baselines" if found["differing"] else ""
    progress = f" ({claims[0].progress})" if claims[0].progress else ""
    return (
        f"Of {len(verdicts)} claims, runs on {title}{progress} support {found['supported']}, "
        f"contradict {found['contradicted']}{differing} and leave {found['undecided']} undecided "
        f"({found['not run']} not run). "
    )


def _of_all_ways(verdicts: set[str]) -> str:
    if len(verdicts - {"not run"}) > 1:
        return "differing"
    return "undecided" if len(verdicts) > 1 else next(iter(verdicts))


def _about_numbers(comparisons: list[Comparison], checks: list[Check]) -> str:
    found = Counter(comparison.verdict for comparison in comparisons)
    exact = sum(c.verdict == "reproduced" and c.n_seeds == 0 for c in comparisons)
    wrong = sum(check.verdict == "inconsistent" for check in checks)
    return (
        f"Of {len(comparisons)} published numbers, {found['reproduced'] - exact} are reproduced by training and "
        f"{exact} by counting parameters (weak evidence), {found['not run']} have not been run, and "
        f"{found['not comparable']} cannot be compared. {wrong} of {len(checks)} checks find that the "
        "paper's numbers disagree, with one another or with the authors' code."
    )


def matrix(registry: Registry, claims: list[Claim]) -> tuple[tuple[str, ...], list[Row]]:
    """The data sets on which a claim was judged, and a row for each claim; all data sets if none was."""
    names = tuple(dict.fromkeys(claim.dataset for claim in claims if claim.verdict != "not run"))
    names = names or tuple(registry.datasets)
    rows: dict[tuple[int, str, str], dict[str, Claim]] = {}
    for claim in claims:
        if claim.dataset in names:
            rows.setdefault((claim.number, claim.statement, claim.place), {})[claim.dataset] = claim
    return names, [
        Row(number, statement, place, tuple(cells.get(name) for name in names))
        for (number, statement, place), cells in sorted(rows.items(), key=lambda row: row[0][0])
    ]

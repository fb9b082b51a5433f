"""`eps-resnet claims`: the paper's claims against the data sets, at a glance or with the evidence."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Column
from rich.text import Text

from eps_resnet.cli.options import EXPERIMENTS, HERE, SEE, AsJson, RegistryFile, Root, load
from eps_resnet.cli.printing import GAP, coloured, plain_console, plain_table, print_items, print_json, print_text
from eps_resnet.cli.words import clauses, plural
from eps_resnet.experiments.layout import Layout
from eps_resnet.files.errors import UserError

if TYPE_CHECKING:
    from eps_resnet.evidence.claims import Claim
    from eps_resnet.experiments.registry import Registry

commands = typer.Typer()

Verdicts = Literal["supported", "contradicted", "undecided", "not run"]
MARKS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not run": "·"}
SIGNS = {"for": "+", "against": "−"}
STATEMENT = 26  # columns that a short statement needs at least: it is broken between words


@commands.command(rich_help_panel=SEE)
def claims(
    about: Annotated[
        list[str] | None, typer.Argument(metavar="[CLAIM|DATASET]...", help="Numbers of claims, data sets, or both.")
    ] = None,
    verdict: Annotated[Verdicts | None, typer.Option("--verdict", help="Only claims with this verdict.")] = None,
    as_json: AsJson = False,
    root: Root = HERE,
    registry_file: RegistryFile = EXPERIMENTS,
) -> None:
    """Check the paper's claims on every data set: a table, or the evidence for one claim or data set."""
    from eps_resnet.evidence import claims as module

    experiments = load(registry_file)
    datasets = _named_datasets(experiments, about or [])
    every = module.claims(experiments, Layout(root))
    found = [claim for claim in every if verdict in (None, claim.verdict) and claim.dataset in datasets]
    if numbers := _numbers(every, about or []):
        found = [claim for claim in found if claim.number in numbers]
    if as_json:
        print_json(found)
    elif about or verdict:
        _print_evidence(found)
    else:
        _print_matrix(found)


def _named_datasets(experiments: "Registry", about: Sequence[str]) -> list[str]:
    """The data sets that are named, else all."""
    names = [name for name in about if not name.isdecimal()]
    for name in names:
        experiments.dataset(name)
    return names or list(experiments.datasets)


def _numbers(every: "Sequence[Claim]", about: Sequence[str]) -> set[int]:
    known, wanted = {claim.number for claim in every}, {int(word) for word in about if word.isdecimal()}
    if unknown := wanted - known:
        raise UserError(f"There is no claim {min(unknown)}; they have the numbers 1 to {max(known)}.")
    return wanted


def _print_matrix(found: "Sequence[Claim]") -> None:
    """Claims against data sets: verdicts in words where the width allows it, else as marks."""
    with_runs = dict.fromkeys(claim.dataset for claim in found if claim.verdict != "not run")
    cells: dict[tuple[int, str], dict[str, Claim]] = {}
    for claim in sorted(found, key=lambda claim: claim.number):
        cells.setdefault((claim.number, claim.short), {})[claim.dataset] = claim
    words = {key: {name: _in_words(claim) for name, claim in row.items()} for key, row in cells.items()}
    is_wide = _needed(with_runs, words) <= plain_console().width
    shown = words if is_wide else {key: {n: _as_mark(c) for n, c in row.items()} for key, row in cells.items()}
    heads = (Column(name, no_wrap=True) for name in with_runs)
    view = plain_table(Column("", justify="right", no_wrap=True), Column("claim"), *heads)
    for (number, short), row in shown.items():
        if with_runs and not with_runs.keys() & row.keys():  # made of other data sets alone
            continue
        view.add_row(str(number), short, *(row.get(name, "") for name in with_runs))
    plain_console().print(view, "")
    without = [name for name in dict.fromkeys(claim.dataset for claim in found) if name not in with_runs]
    if without:
        print_text(f"not run: {', '.join(without)}")
    for name, progress in {claim.dataset: claim.progress for claim in found if claim.progress}.items():
        print_text(f"{name}: {progress}, so that its verdicts may change")
    if not is_wide:
        print_text(", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items()))
    if any(claim.leaning for claim in found):
        print_text("undecided + or −: the evidence points for or against, but not clearly enough")
    print_text("The evidence: eps-resnet claims 1, claims digits, claims 1 digits")


def _needed(datasets: Iterable[str], words: dict[tuple[int, str], dict[str, Text]]) -> int:
    """The columns that the table takes with verdicts in words."""
    widths = [max(len(name), *(len(row[name]) for row in words.values() if name in row)) for name in datasets]
    return 2 + GAP + STATEMENT + sum(GAP + width for width in widths)


def _in_words(claim: "Claim") -> Text:
    return coloured(claim.verdict, f"{claim.verdict}{_sign(claim)}")


def _as_mark(claim: "Claim") -> Text:
    return coloured(claim.verdict, f"{MARKS[claim.verdict]}{_sign(claim)}")


def _sign(claim: "Claim") -> str:
    return f" {SIGNS[claim.leaning.way]}" if claim.leaning else ""


def _print_evidence(found: "Sequence[Claim]") -> None:
    for number, statement in dict.fromkeys((claim.number, claim.statement) for claim in found):
        same = [claim for claim in found if (claim.number, claim.statement) == (number, statement)]
        print_text(Text(f"{number}. {statement}", style="bold"))
        print_text(f"({same[0].place})", indent=3)
        for claim in same:
            if claim.verdict != "not run":
                _print_one(claim)
        for why in dict.fromkeys(claim.evidence for claim in same if claim.verdict == "not run"):
            names = [claim.dataset for claim in same if (claim.verdict, claim.evidence) == ("not run", why)]
            print_text(Text.assemble(", ".join(names), ": ", coloured("not run"), f", {why}"), indent=3)
        print_text("")
    if not found:
        print_text("No claim has this verdict.")
    for name in dict.fromkeys(claim.dataset for claim in found):
        for remark in _remarks(claim.remark for claim in found if claim.dataset == name and claim.verdict != "not run"):
            print_text(f"{name}: {remark}")


def _remarks(given: Iterable[str | None]) -> list[str]:
    """Each remark once, without those that another one contains."""
    said = {remark: set(clauses(remark.rstrip("."))) for remark in given if remark}
    return [remark for remark, own in said.items() if not any(own < other for other in said.values())]


def _print_one(claim: "Claim") -> None:
    leaning = f", {claim.leaning}" if claim.leaning else ""
    verdict = coloured(claim.verdict, f"{claim.verdict}{leaning}")
    print_text(Text.assemble(f"{claim.dataset}: ", verdict, f" ({plural(len(claim.runs), 'run')})"), indent=3)
    print_items(clauses(claim.evidence), indent=5)

"""What people read: summaries first, per cent, nothing broken in 80 columns; and the targets that narrow it down."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from eps_resnet.cli import app, printing
from eps_resnet.cli.claims import Verdicts as ClaimVerdicts
from eps_resnet.cli.compare import Verdicts as NumberVerdicts
from eps_resnet.cli.look import States
from eps_resnet.cli.options import targets_beginning
from eps_resnet.cli.words import percent, seeds_together
from eps_resnet.evidence.claims.rules import Verdict as ClaimVerdict
from eps_resnet.evidence.verdict import Verdict as NumberVerdict
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from eps_resnet.provenance import state
from tests.evidence.test_claims import Bench, around

GATED, PLAIN = "cifar10-110-epsilon_side-2p5", "cifar10-110-standard"


@pytest.fixture(autouse=True)
def _in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "WIDE", 80)  # what is printed where there is no terminal


class Terminal(io.StringIO):
    """Takes what is printed and says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def bench(experiments: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Three seeds of two networks on two data sets, and the registry that the commands read."""
    monkeypatch.setattr(state, "state", lambda e: "done" if e.files.metrics.exists() else "missing")
    made = Bench(experiments.model_copy(update={"runs": dict(experiments.runs)}), Layout(tmp_path))
    for dataset in ("cifar10", "cifar100"):
        made.finish_seeds(dataset, 110, "epsilon_side", [18, 16, 8], 2.5, errors=around(0.0616))
        made.finish_seeds(dataset, 110, "standard", errors=around(0.06))
    monkeypatch.setattr("eps_resnet.experiments.registry.load", lambda _path: made.registry)
    return made


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def printed(root: Path, *words: str) -> list[str]:
    result = call(*words, "--root", str(root))
    assert result.exit_code == 0
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    return lines


def cells(line: str) -> list[str]:
    return re.split("  +", line.strip())


def test_claims_are_a_table_of_verdicts_and_a_line_names_the_data_sets_without_runs(bench: Bench) -> None:
    lines = printed(bench.layout.root, "claims")
    assert cells(lines[0]) == ["claim", "cifar10", "cifar100"]
    assert ["1", "no worse than standard", "undecided +", "undecided +"] in map(cells, lines)
    assert "not run: digits, cifar10-cpu, svhn, imagenet" in lines
    numbers = [int(found[1]) for line in lines if (found := re.match(r" ?(\d+)  ", line))]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 13))


def test_six_data_sets_with_runs_fit_80_columns_as_marks_with_a_key(bench: Bench) -> None:
    for dataset, depth, epsilon in (("digits", 20, 2.5), ("cifar10-cpu", 20, 2.5), ("svhn", 110, 1.5)):
        bench.finish_seeds(dataset, depth, "epsilon_side", None, epsilon)
    bench.finish_seeds("imagenet", 101, "epsilon_side", None, 2.0)
    lines = printed(bench.layout.root, "claims")
    assert cells(lines[0]) == ["claim", "digits", "cifar10", "cifar10-cpu", "cifar100", "svhn", "imagenet"]
    assert "✓ supported, ✗ contradicted, ? undecided, · not run" in lines
    assert any("? +" in line for line in lines)


def test_a_claims_number_and_a_data_set_give_the_evidence_with_its_runs(bench: Bench) -> None:
    lines = printed(bench.layout.root, "claims", "1", "cifar10")
    text = " ".join(" ".join(lines).split())
    assert lines[0] == "1. ε-ResNet's error is at most 3 % above that of the standard network"
    assert "   cifar10: undecided, 1 of 1 place for (6 runs)" in lines
    assert "6.16% against 6.00% (n 3 and 3)" in text
    assert "cifar100" not in text


def test_claims_of_one_verdict_are_printed_alone_and_as_json(bench: Bench) -> None:
    found = json.loads(call("claims", "--verdict", "undecided", "--json", "--root", str(bench.layout.root)).stdout)
    assert {claim["verdict"] for claim in found} == {"undecided"}
    assert {"number", "statement", "place", "dataset", "verdict", "evidence", "runs", "remark"} < set(found[0])
    assert found[0]["leaning"] == {"way": "for", "count": 1, "of": 1, "what": "place"}
    assert "contradicted" not in "\n".join(printed(bench.layout.root, "claims", "--verdict", "undecided"))


def test_an_unknown_claim_says_which_there_are(bench: Bench) -> None:
    with pytest.raises(UserError, match="There is no claim 13; they have the numbers 1 to 12"):
        call("claims", "13", "--root", str(bench.layout.root))


def test_verdicts_have_colours_on_a_terminal_and_none_elsewhere(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in call("claims", "--root", str(bench.layout.root)).stdout
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    app(["claims", "--root", str(bench.layout.root)], standalone_mode=False)
    assert "\x1b[33mundecided +" in terminal.getvalue()


def test_compare_begins_with_counts_and_leaves_out_what_was_not_run(bench: Bench) -> None:
    lines = printed(bench.layout.root, "compare")
    rows = json.loads(call("compare", "--json", "--root", str(bench.layout.root)).stdout)
    own = [row["verdict"] for row in rows if row["dataset"] != "cifar10-cpu"]
    counts = {verdict: own.count(verdict) for verdict in get_args(NumberVerdicts)}
    assert " ".join(lines[:2]) == (
        "257 numbers: 10 exact sizes agree, 0 trained numbers reproduced; "
        f"{counts['close']} close, {counts['off']} off, "
        f"{counts['not comparable']} not comparable, {counts['not run']} not run"
    )
    of_one = [row["verdict"] for row in rows if row["dataset"] == "cifar10"]
    assert ["CIFAR-10", *(str(of_one.count(verdict)) for verdict in counts)] in map(cells, lines)
    assert any(line.startswith("6a       110 ε 2.5         error             5.24%   6.16% ") for line in lines)
    assert not any(" not run " in line for line in lines if line.startswith("6a"))
    assert not any(re.search(r"\b0\.0\d\d", line) for line in lines)  # per cent, not fractions
    everything = printed(bench.layout.root, "compare", "--all")
    assert sum(bool(re.search(r" – not run +0$", line)) for line in everything) == counts["not run"]


@pytest.mark.parametrize("target", ["cifar10", "figure6-cifar10"])
def test_compare_of_a_target_has_its_numbers_alone(bench: Bench, target: str) -> None:
    found = json.loads(call("compare", target, "--json", "--root", str(bench.layout.root)).stdout)
    assert {row["dataset"] for row in found} == {"cifar10"}
    figures = {row["figure"][0] for row in found}
    assert figures == {"6"} if target.startswith("figure") else len(figures) > 3
    close = json.loads(call("compare", target, "--verdict", "close", "--json", "--root", str(bench.layout.root)).stdout)
    assert close == [row for row in found if row["verdict"] == "close"]
    assert close


def test_compare_says_where_the_paper_has_no_number(bench: Bench) -> None:
    assert printed(bench.layout.root, "compare", "figure6-digits")[0].startswith("The paper has no number of figure6-")


def test_reasons_follow_on_a_wide_terminal_and_leave_the_numbers_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "WIDE", 140)
    lines = call("compare", "figure6-cifar10", "--root", str(bench.layout.root)).stdout.splitlines()
    [line] = [line for line in lines if line.startswith("6a       110 ε 2.5         error             5.24%   6.16% ")]
    assert "3 seeds, difference +0.92 points" in line


def test_runs_are_counted_and_those_that_differ_in_their_seed_are_one_line(bench: Bench) -> None:
    lines = printed(bench.layout.root, "runs")
    assert ["cifar10", "26", "6", "0", "0", "20"] in map(cells, lines)
    assert f"  {GATED}-s0 to s2" in lines
    assert not any("imagenet-" in line for line in lines)
    assert f"  {PLAIN}-s0 to s2" in printed(bench.layout.root, "runs", "figure6-cifar10", "--state", "done")
    found = json.loads(call("runs", "cifar10", "--state", "done", "--json", "--root", str(bench.layout.root)).stdout)
    assert [row["key"] for row in found if row["method"] == "standard"] == [f"{PLAIN}-s{seed}" for seed in range(3)]


def test_seeds_that_follow_one_another_are_a_span_and_others_a_list() -> None:
    assert seeds_together(["a-s0", "b-s3", "a-s1", "b-s5", "a-s2"]) == ["a-s0 to s2", "b-s3, s5"]


def test_why_of_a_figure_gives_each_reason_once_with_its_runs(tmp_path: Path) -> None:
    lines = printed(tmp_path, "why", "figure6-cifar10")
    assert lines[0] == "12 runs: 0 current, 12 to be made or redone"
    assert lines.count("train, 12 runs: it never ran") == 1
    assert "  and 9 more: --all" in lines
    assert len([line for line in printed(tmp_path, "why", "figure6-cifar10", "--all") if "-s0" in line]) == 12
    found = json.loads(call("why", "figure6-cifar10", "--json", "--root", str(tmp_path)).stdout)
    assert found["cifar10-110-standard-s0"][1] == {"name": "train", "reasons": ["it never ran"], "rests_on": ""}


def test_print_begins_with_the_means_and_keeps_single_runs_for_all(bench: Bench) -> None:
    lines = printed(bench.layout.root, "print", "figure6-cifar10")
    assert lines[1] == "Means over seeds, with their 95 % interval"
    assert cells(lines[2])[:4] == ["method", "depth", "seeds", "error, pruned"]
    assert any(line.startswith("ε 2.5          110    3 of 3  6.16% (") for line in lines)
    assert not any("-s0" in line for line in lines)
    assert any(f"{GATED}-s1" in line for line in printed(bench.layout.root, "print", "figure6-cifar10", "--all"))


def test_show_gives_errors_in_per_cent(bench: Bench) -> None:
    lines = printed(bench.layout.root, "show", f"{GATED}-s0")
    assert ["error, pruned", "6.11%"] in map(cells, lines)
    assert percent(0.0524) == "5.24%"


def test_contradictions_come_first_and_shares_are_per_cent() -> None:
    lines = [line.rstrip() for line in call("consistency").stdout.splitlines()]
    assert lines[0] == "28 checks: 22 inconsistent, 6 consistent"
    verdicts = re.findall(r": (inconsistent|consistent)$", "\n".join(lines).replace("):\n", "): "), re.M)
    assert verdicts == sorted(verdicts, reverse=True)
    assert "   –  1 of 4 differ: depth 200 58.59% against 48.49%" in lines
    assert len(json.loads(call("consistency", "--verdict", "consistent", "--json").stdout)) == 6


def test_reproduction_without_results_says_what_to_run_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing can be compared. Run `make demo` first"):
        call("reproduction", "--root", str(tmp_path))


def test_every_command_is_in_a_group_and_has_a_short_help() -> None:
    assert all(command.rich_help_panel for command in app.registered_commands)
    assert call("-h").stdout == call("--help").stdout
    assert call("why", "-h").exit_code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", call("--version").stdout)


def test_a_shell_completes_the_names_of_the_registry() -> None:
    assert "--install-completion" in call("--help").stdout
    assert targets_beginning("figure10-cifar10") == [*("figure10-cifar10-cpu", "figure10-cifar10", "figure10-cifar100")]
    assert "digits-20-standard-s0" in targets_beginning("digits-20")


@pytest.mark.parametrize(
    ("ours", "theirs"), [(ClaimVerdicts, ClaimVerdict), (NumberVerdicts, NumberVerdict), (States, state.State)]
)
def test_options_take_the_verdicts_there_are(ours: Any, theirs: Any) -> None:
    assert set(get_args(ours)) == set(get_args(theirs))

"""The documentation: its commands run, its links and files exist, its numbers are what the commands print."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from eps_resnet.cli import app
from eps_resnet.evidence import claims, published
from eps_resnet.evidence.consistency import checks
from eps_resnet.evidence.figures import MODULES
from eps_resnet.evidence.finished import Result, finished
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Recipe
from eps_resnet.experiments.registry import Registry
from tests.conftest import PROJECT

BIN = Path(sys.executable).parent
DOCUMENTS = ["README.md", *sorted(f"docs/{p.name}" for p in (PROJECT / "docs").glob("*.md"))]
DOCUMENTS += ["config/README.md", "profiles/README.md"]

CONTAINERS = ("podman", "kubectl", "sed", "tar")  # docs/kubernetes.md


def commands() -> list[str]:
    """Every line of every shell block, without its remark; not the tutorial's, which tests/test_tutorial.py runs."""
    names = [name for name in DOCUMENTS if name != "docs/tutorial.md"]
    blocks = [b for name in names for b in re.findall(r"```sh\n(.*?)```", (PROJECT / name).read_text(), re.S)]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line})


def shown(*command: str) -> str:
    process = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("eps-resnet") and c != "eps-resnet attest"])
def test_the_documented_commands_run(command: str) -> None:
    assert shown(*command.split())


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("snakemake")])
def test_the_documented_snakemake_calls_can_be_planned(command: str) -> None:
    shown(*command.replace("snakemake ", "snakemake -n ").replace("PATH_OR_URL", "archive.tar.gz").split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_a_sentence_names_exists(name: str) -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"`eps-resnet ([\w-]*\w)", (PROJECT / name).read_text())) <= known


def test_the_other_documented_commands_name_what_exists() -> None:
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    makefile = Path("Makefile").read_text()
    for command in commands():
        words = command.split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.M)
        elif words[:2] == ["dvc", "repro"]:
            assert words[-1] in stages
        elif words[:2] == ["python", "-m"]:
            assert Path(*words[2].split(".")).with_suffix(".py").exists()
        else:
            assert words[0] in {"eps-resnet", "snakemake", "dvc", ".", "git", "cd", "find", "ssh", *CONTAINERS}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (PROJECT / name).read_text()):
        if "://" not in link:
            assert ((PROJECT / name).parent / link).exists(), link


def test_the_tree_of_the_package_lists_what_is_there() -> None:
    tree = (PROJECT / "docs/architecture.md").read_text().split("## The folders")[1].split("```")[1]
    named = [re.split(r"  +", line.strip())[0] for line in tree.strip().splitlines()]
    for name in named:
        assert (PROJECT / "eps_resnet" / name).exists(), name
    there = {path.name for path in (PROJECT / "eps_resnet").iterdir() if not path.name.startswith("_")}
    assert there - {name.rstrip("/") for name in named} == {"torchrun.py"}  # named below the tree


def test_the_cost_table_is_what_the_plan_of_a_fresh_clone_says(experiments: Registry, tmp_path: Path) -> None:
    lines = shown("eps-resnet", "plan", "--root", str(tmp_path)).splitlines()
    printed = [re.split("  +", line.strip()) for line in lines]
    text = (PROJECT / "docs/cost.md").read_text()
    for data in experiments.datasets.values():
        if data.is_papers:
            (row,) = [cells for cells in printed if cells[0] == data.title]
            title, runs, _done, *cells = row
            assert f"| {' | '.join([title, runs, *cells])} |" in text


SHOWN = ("digits", "cifar10-cpu")  # the data sets with runs, in the README's table of claims


def test_the_readmes_table_of_claims_is_what_claims_prints(experiments: Registry) -> None:
    table = (PROJECT / "README.md").read_text().split("and what is measured here")[1].split("## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    found: dict[str, dict[int, list[str]]] = {}
    for claim in claims.claims(experiments, Layout()):
        found.setdefault(claim.dataset, {}).setdefault(claim.number, []).append(claim.verdict)
    assert [int(row[0]) for row in rows[1:]] == list(found["digits"])
    progress = {claim.dataset: claim.progress for claim in claims.claims(experiments, Layout())}
    for dataset, head in zip(SHOWN, rows[0][2:], strict=True):
        assert ("runs finished" in head) == bool(progress[dataset])
        assert (progress[dataset] or "") in head
    for number, _statement, *verdicts in rows[1:]:
        for dataset, cell in zip(SHOWN, verdicts, strict=True):
            assert cell == ", ".join(dict.fromkeys(found[dataset][int(number)])), (number, dataset)
    assert {v for name, by in found.items() if name not in SHOWN for vs in by.values() for v in vs} == {"not run"}


def test_the_readme_says_how_many_checks_the_paper_fails() -> None:
    verdicts = [check.verdict for check in checks(published.numbers())]
    text = (PROJECT / "README.md").read_text()
    assert f"[{len(verdicts)} checks]" in text
    assert f", {verdicts.count('inconsistent')} fail " in text


def test_the_results_page_says_what_the_digits_tables_say(experiments: Registry) -> None:
    rows = pd.read_csv("paper_tables/figure6-digits/table.csv")
    assert set(rows.groupby(["method", "depth"])["seed"].nunique()) == {5}
    text = (PROJECT / "docs/results.md").read_text()
    for depth, group in rows.groupby("depth"):
        by = group.groupby("method")
        errors = [100 * by["error_pruned"].mean()[m] for m in ("standard", "standard_side", "epsilon_side")]
        errors.append(100 * by["error_gated"].mean()["epsilon_side"])
        left = by["parameters"].mean()["epsilon_side"] / by["parameters"].mean()["standard"]
        cells = [*(f"{error:.2f} %" for error in errors), f"{100 * by['discarded_ratio'].mean()['epsilon_side']:.0f} %"]
        assert f"| {depth} | {' | '.join(cells)} | {100 * left:.0f} % |" in text
    claim = next(c for c in claims.claims(experiments, Layout()) if (c.dataset, c.number) == ("digits", 1))
    assert "margin 0.11;" in claim.evidence
    assert claim.evidence.split("power if there is none ")[1].startswith("0.07")
    assert "3 % of the error is 0.11 points" in text
    assert "Five seeds have a power of 0.07." in text


CPU = "cifar10-cpu"
NETWORKS = {"standard": "standard", "standard_side": "with side head", "epsilon_side": "gated, pruned"}


def test_results_list_every_finished_run_of_cifar10_on_a_cpu_and_the_readme_their_means(experiments: Registry) -> None:
    arms: dict[tuple[Any, ...], list[Result]] = {}
    for result in finished(experiments, Layout()):
        if result.run.dataset == CPU:
            steps = result.experiment.epochs * (10_000 // result.recipe.batch)
            way = result.variant if result.is_gated else ""  # of the others, the number of steps tells it
            network = ", ".join(filter(None, (NETWORKS[result.run.method], way)))
            arms.setdefault((result.depth, network, result.epsilon, result.decay, steps), []).append(result)
    text = (PROJECT / "docs/results.md").read_text()
    readme = (PROJECT / "README.md").read_text().split("## What comes out so far")[1].split("## Try it")[0]
    means: set[str] = set()
    planned = sum(run.dataset == CPU for run in experiments.runs.values())
    assert f"**{sum(map(len, arms.values()))} of {planned} runs finished**" in text
    for (depth, network, epsilon, decay, steps), results in arms.items():
        seeds = sorted(results, key=lambda result: result.run.seed)
        listed = [", ".join(f"{100 * result.error:.1f}" for result in seeds) + " %"]
        if seeds[0].is_gated:
            listed.append(", ".join(str(result.metrics.discarded) for result in seeds) + f" of {seeds[0].blocks}")
            left = [1 - result.metrics.compression.parameters_removed for result in seeds]
            listed.append(", ".join(f"{100 * share:.1f}" for share in left) + " %")
        first = [str(depth), network + (f", ε {epsilon:g}" if epsilon else ""), f"{decay:g}", f"{steps:,}"]
        assert f"| {' | '.join([*first, *listed])} |" in text
        mean = f"{100 * sum(result.error for result in seeds) / len(seeds):.1f} %"
        means.add(mean)
        if seeds[0].is_gated and (epsilon, decay, network) == (2.5, 0.003, NETWORKS["epsilon_side"]):
            removed = 100 - 100 * sum(left) / len(left)
            row = f"| {depth} | {mean} ({listed[0].removesuffix(' %')}) | {listed[1]} | {removed:.0f} % |"
            assert row in readme
    assert set(re.findall(r"\d+\.\d %", readme)) <= means
    assert f"{sum(map(len, arms.values()))} of {planned} runs have finished" in readme


def test_readme_and_results_have_the_differences_that_claim_1_finds_on_cifar10_on_a_cpu(experiments: Registry) -> None:
    text = " ".join((PROJECT / "docs/results.md").read_text().split())
    readme = (PROJECT / "README.md").read_text()
    found = [c for c in claims.claims(experiments, Layout()) if (c.dataset, c.number) == (CPU, 1) and c.runs]
    assert found
    for claim in found:
        numbers = re.search(r"errors ([+-][\d.]+) points \(([+-][\d.]+) to ([+-][\d.]+)", claim.evidence)
        if numbers is None:
            assert "a verdict needs 3 seeds" in claim.evidence
            continue
        value, low, high = numbers.groups()
        assert f"{value} points (95 % bounds {low} and {high})" in text
        assert f"{value} points (bounds {low} and {high};" in readme


def test_the_results_page_has_the_difference_from_shallow_networks_that_claim_9_finds(experiments: Registry) -> None:
    [claim] = [c for c in claims.claims(experiments, Layout()) if (c.dataset, c.number) == (CPU, 9)]
    numbers = re.search(r"errors ([+-][\d.]+) points \(([+-][\d.]+) to ([+-][\d.]+)", claim.evidence)
    assert numbers is not None
    value, low, high = numbers.groups()
    text = " ".join((PROJECT / "docs/results.md").read_text().split())
    assert f"{value} points (95 % bounds {low} and {high})" in text


def test_the_results_page_says_how_the_gated_networks_of_20_layers_got_there(experiments: Registry) -> None:
    metrics = {result.key: result.metrics for result in finished(experiments, Layout())}
    text = " ".join((PROJECT / "docs/results.md").read_text().split())
    keys = [f"cifar10-cpu-20-epsilon_side-2p5-s{seed}" for seed in range(3)]
    histories = [pd.read_csv(PROJECT / f"results/{key}/history.csv", index_col="epoch") for key in keys]
    [low] = {history.index[history["rate"] < 0.002][0] for history in histories}
    restarts = [history.index[history["rate"].diff() > 0.05] for history in histories]
    waits = [only - low for [only] in restarts]
    assert f"lowest rate at epoch {low} without having lost a block" in text
    assert f"flickered, for {min(waits)} to {max(waits)} epochs" in text
    waited = [history.loc[low : restart[0] - 1] for history, restart in zip(histories, restarts, strict=True)]
    assert max(rows["flickered"].max() for rows in waited) == 5
    assert min(rows["test_error"].max() for rows in waited) > 0.4
    others = [pd.read_csv(PROJECT / f"results/cifar10-cpu-20-standard-wd0p001-long-s{s}/history.csv") for s in range(3)]
    ends = [[100 * rows["train_error"].iloc[-1] for rows in group] for group in (histories, others)]
    ours, theirs = (f"{min(end):.0f} to {max(end):.0f}" for end in ends)
    assert f"end with {ours} % errors on training images, standard ones with {theirs} %" in text
    assert [list(history["discarded"].loc[:low]) for history in histories] == [[0] * low] * 3
    zero, one, two = (metrics[key] for key in keys)
    assert f"epochs {zero.epoch} and {one.epoch} are reported, without a flickering gate" in text
    assert [history["flickered"][m.epoch] for history, m in zip(histories, (zero, one, two), strict=True)] == [0, 0, 1]
    errors = f"{100 * two.error.pruned:.1f} % pruned, but {100 * two.error.gated:.1f} % with gates on"
    assert f"epoch {two.epoch} is reported, when only one did: {errors}" in text


def test_the_results_page_says_how_often_the_flickering_gates_of_110_layers_were_closed() -> None:
    blocks = pd.read_parquet(PROJECT / "results/cifar10-cpu-110-epsilon_side-2p5-s0/blocks.parquet")
    closed = blocks.pivot(index="epoch", columns="block", values="closed")[[24, 43]]
    (a, b), (c, d) = closed.loc[90], closed.loc[143]
    text = " ".join((PROJECT / "docs/results.md").read_text().split())
    assert f"closed in {a} and {b} of 78 mini-batches of epoch 90, but in {c} and {d} of epoch 143" in text


def test_the_results_page_says_what_flicker_does_to_the_last_epoch_of_110_layers(experiments: Registry) -> None:
    metrics = {result.key: result.metrics for result in finished(experiments, Layout())}
    one, two = (metrics[f"cifar10-cpu-110-epsilon_side-2p5-s{seed}"] for seed in (1, 2))
    text = " ".join((PROJECT / "docs/results.md").read_text().split())
    assert f"reported earlier, at epochs {one.epoch} and {two.epoch}" in text
    assert two.latest.flickered == 4
    latest = f"{100 * two.error.final:.1f} % with gates on and would have {100 * two.latest.pruned:.1f} % pruned"
    assert latest in text


def fidelity_rows() -> list[list[str]]:
    """The cells of each row of docs/fidelity.md: point, paper, reference code, here, key, test."""
    lines = [line for line in Path("docs/fidelity.md").read_text().splitlines() if line.startswith("| ")]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if not line.startswith("| point")]
    assert {len(row) for row in rows} == {6}
    return rows


def test_the_fidelity_table_has_every_key_of_a_recipe_and_no_other() -> None:
    keys = {key for row in fidelity_rows() for key in re.findall(r"`(\w+)`", row[4])}
    assert keys == set(Recipe.model_fields) - {"device"}  # where it runs is no choice of the experiment


def test_every_row_of_the_fidelity_table_names_tests_that_exist() -> None:
    tests = {n for p in Path("tests").rglob("test_*.py") for n in re.findall(r"def (test_\w+)", p.read_text())}
    for row in fidelity_rows():
        named = set(re.findall(r"`(test_\w+)`", row[5]))
        assert named, row
        assert named <= tests, named - tests


def test_every_promise_names_tests_that_exist() -> None:
    tests = {n for p in Path("tests").rglob("test_*.py") for n in re.findall(r"def (test_\w+)", p.read_text())}
    tables = Path("docs/guarantees.md").read_text().split("| promise | tests |\n|---|---|\n")[1:]
    rows = [row for table in tables for row in table.split("\n\n")[0].splitlines()]
    assert len(rows) > 30
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row.split(" | ")[1]))
        assert named, row
        assert named <= tests, named - tests


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_test_that_a_document_names_exists(name: str) -> None:
    tests = {n for p in Path("tests").rglob("test_*.py") for n in re.findall(r"def (test_\w+)", p.read_text())}
    named = set(re.findall(r"`(test_\w+)`", (PROJECT / name).read_text())) - set(Recipe.model_fields)
    assert named <= tests


def test_each_figures_module_offers_the_same_three_functions() -> None:
    for module in MODULES.values():
        assert isinstance(module.TITLE, str)
        assert all(callable(getattr(module, name)) for name in ("table", "readable", "draw"))

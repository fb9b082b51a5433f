"""The documentation: its commands run, its links and files exist, its numbers are what the commands print."""

import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pandas as pd
import pytest
import yaml
from scipy import stats

from eps_resnet import claims, history
from eps_resnet.cli import app
from eps_resnet.figures import MODULES
from eps_resnet.files import read_json
from eps_resnet.layout import Layout
from eps_resnet.registry import Recipe, Registry
from tests.conftest import PROJECT

BIN = Path(sys.executable).parent
DOCUMENTS = ["README.md", *sorted(f"docs/{p.name}" for p in (PROJECT / "docs").glob("*.md"))]
DOCUMENTS += ["config/README.md", "profiles/README.md"]

CONTAINERS = ("podman", "kubectl", "sed", "tar")  # docs/kubernetes.md


def commands() -> list[str]:
    """Every line of every shell block, without its remark."""
    blocks = [b for name in DOCUMENTS for b in re.findall(r"```sh\n(.*?)```", (PROJECT / name).read_text(), re.S)]
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return sorted({line for line in lines if line})


def shown(*command: str) -> str:
    process = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("eps-resnet")])
def test_the_documented_commands_run(command: str) -> None:
    assert shown(*command.split())


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("snakemake")])
def test_the_documented_snakemake_calls_can_be_planned(command: str) -> None:
    shown(*command.replace("snakemake ", "snakemake -n ").replace("PATH_OR_URL", "archive.tar.gz").split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_a_sentence_names_exists(name: str) -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"`eps-resnet (\w+)", (PROJECT / name).read_text())) <= known


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


def test_the_layout_lists_what_is_there() -> None:
    tree = (PROJECT / "README.md").read_text().split("## Layout")[1].split("```")[1]
    for line in tree.strip().splitlines():
        for name in re.split(r"  +", line.strip())[0].split(", "):
            folder = PROJECT / "eps_resnet" if line.startswith("  ") else PROJECT
            assert (folder / name).exists(), name


def test_the_readmes_cost_table_is_what_the_plan_of_a_fresh_clone_says(experiments: Registry, tmp_path: Path) -> None:
    lines = shown("eps-resnet", "plan", "--root", str(tmp_path)).splitlines()
    printed = [re.split("  +", line.strip()) for line in lines]
    text = (PROJECT / "README.md").read_text()
    for data in experiments.datasets.values():
        if data.is_papers:
            (row,) = [cells for cells in printed if cells[0] == data.title]
            title, runs, _done, *cells = row
            assert f"| {' | '.join([title, runs, *cells])} |" in text


def test_what_the_readme_says_of_five_seeds_is_what_they_say(experiments: Registry) -> None:
    rows = pd.read_csv("paper_tables/figure6-digits/table.csv")
    gated = rows[rows["method"] == "epsilon_side"].groupby("depth")
    shares, open_, pruned = (
        [f"{100 * mean:.{digits}f}" for mean in gated[column].mean()]
        for column, digits in (("discarded_ratio", 0), ("error_gated", 0), ("error_pruned", 1))
    )
    text = " ".join((PROJECT / "README.md").read_text().split())
    assert set(gated["seed"].nunique()) == {5}
    assert f"{shares[0]}, {shares[1]} and {shares[2]} % at 20, 56 and 110 layers" in text
    assert (
        f"{min(open_)} to {max(open_)} % on average at ε 2.5, against {min(pruned)} to {max(pruned)} % pruned" in text
    )
    found: dict[int, set[str]] = {}
    for claim in claims.claims(experiments, Layout()):
        if claim.dataset == "digits":
            found.setdefault(claim.number, set()).add(claim.verdict)
    assert "A larger ε discards a larger share of the blocks: **supported**" in text
    assert "err no more than standard networks: **undecided**" in text
    assert (found[1], found[2], found[3]) == ({"undecided"}, {"undecided"}, {"supported"})


def test_what_the_readme_says_of_cifar10_on_a_cpu_is_what_its_runs_say(experiments: Registry) -> None:
    def percents(means: pd.Series, digits: int = 0) -> list[str]:
        return [f"{100 * mean:.{digits}f}" for mean in means]

    def ends(groups: Any) -> str:
        lowest, *_, highest = sorted(percents(groups.mean()))
        return f"{lowest} to {highest}"

    def span(values: pd.Series) -> str:
        return f"{100 * values.min():.1f} to {100 * values.max():.1f} %"

    rows, sensitivity = (pd.read_csv(f"paper_tables/figure{n}-cifar10-cpu/table.csv") for n in (6, 8))
    gated = rows[rows["method"] == "epsilon_side"].groupby("depth")
    standard, papers, side = (
        rows[(rows["method"] == method) & (rows["weight_decay"] == decay)].groupby("depth")["error_pruned"]
        for method, decay in (("standard", 0.001), ("standard", 0.0002), ("standard_side", 0.005))
    )
    gated_runs = sorted({*rows[rows["method"] == "epsilon_side"]["run"], *sensitivity["run"]})
    deep = [run for run in gated_runs if "-20-" not in run]
    shares, errors = percents(gated["discarded_ratio"].mean()), percents(gated["error_pruned"].mean())
    epsilons = percents(sensitivity.groupby("epsilon")["discarded_ratio"].mean())
    found = {(c.number, c.statement.endswith("side head")): c for c in of_data(experiments, "cifar10-cpu")}
    text = " ".join((PROJECT / "README.md").read_text().split())
    seeds = rows[rows["state"] == "done"].groupby(["depth", "method", "weight_decay"])["seed"].nunique()
    assert set(seeds) == {3}
    assert "three seeds of each network" in text
    assert read_json(PROJECT / "data/cifar10-cpu.json")["differs"].split(";")[0] in text

    # Blocks vanish.
    assert f"networks of 20, 56 and 110 layers lose {shares[0]}, {shares[1]} and {shares[2]} % of their blocks" in text
    assert f"those of 56 layers lose {epsilons[0]}, {epsilons[1]} and {epsilons[2]} % at ε 1.5, 2.5 and 3.5." in text
    assert all("pairs of runs, against it 0 and 0" in found[number, False].evidence for number in (2, 3))
    assert f"deeper networks discard more is **{found[2, False].verdict}**" in text
    assert f"that a larger ε does **{found[3, False].verdict}**" in text
    assert f"That the share saturates is **{found[6, False].verdict}**" in text
    curves = [history.read_history(Layout().history(run)).set_index("epoch")["discarded"] for run in deep]
    rose = [curve[23] > curve[17] for curve in curves]
    assert f"from epoch 17 to 23, about the first fall of the rate, it still rose in {sum(rose)} of {len(rose)}" in text
    assert experiments.datasets["cifar10-cpu"].recipe.rate_steps[0] == 22

    # The pruned networks err more.
    assert f"At ε 2.5 they err {errors[0]}, {errors[1]} and {errors[2]} % on average at 20, 56 and 110 layers" in text
    assert f"standard networks {ends(standard)} % with a weight decay chosen for low error and {ends(papers)} %" in text
    assert f"ungated networks with side head and the gated ones' decay {ends(side)} %" in text
    assert all("For the claim 0 of" in found[1, is_side].evidence for is_side in (False, True))
    assert all(re.search(r"against it (\d) and (?:9|18)\b", found[1, i].evidence) for i in (False, True))
    assert f"That ε-ResNets err no more is **{found[1, False].verdict}** all the same" in text
    assert found[1, True].verdict == found[1, False].verdict

    # Pruning is not free.
    assert f"with its gates on is **{found[8, False].verdict}**: 5 of 15 do" in text
    assert found[8, False].evidence.startswith("so in 10 of 15 runs")
    agreements = [read_json(Layout().metrics(run))["agreement"] for run in gated_runs]
    assert {agreement["discarded_gates_that_opened"] for agreement in agreements} == {0}

    # Most of that loss is batch norm's.
    anew = pd.DataFrame(read_json(PROJECT / "benchmarks/results/recalibration.json")).T
    anew = anew[anew.index.str.contains("-(?:56|110)-epsilon_side-2p5")].astype(
        {"pruned": float, "recalibrated": float}
    )
    assert len(anew) == 2 * 3  # of every seed
    assert f"err {span(anew['recalibrated'])}, from {span(anew['pruned'])}" in text
    rows = rows.set_index("run")
    twins = anew.index.str.replace("epsilon_side-2p5", "standard-wd0p001")
    more = anew["recalibrated"].to_numpy() - rows.loc[twins, "error_pruned"].to_numpy()
    assert f"and {100 * more.min():.1f} to {100 * more.max():.1f} points more than standard ones" in text
    lost = (rows.loc[anew.index, "error_pruned"].to_numpy() - rows.loc[twins, "error_pruned"].to_numpy()).mean()
    assert more.mean() < lost / 2  # most of it

    # Could the small network have been trained at once?
    shallow = percents(standard.mean()[[38, 44]], 1)
    assert f"trained as long, err {shallow[0]} and {shallow[1]} %" in text
    pruned = rows.loc[anew.index]
    sizes = [
        rows[rows["depth"] == of_its_size]["size_mib"].min() / pruned[pruned["depth"] == depth]["size_mib"]
        for depth, of_its_size in ((56, 38), (110, 44))
    ]
    larger = 100 * (pd.concat(sizes) - 1)
    assert f"{larger.min():.0f} to {larger.max():.0f} % larger than those of 56 and 110 layers" in text
    assert found[9, False].evidence.endswith(
        "For the claim 0 of 4 differences and 0 of 12 pairs of runs, against it 4 and 12"
    )
    assert f"less than the pruned ones in all 6 pairs (**{found[9, False].verdict}**, as before)" in text
    shallow_side = rows[(rows["method"] == "standard_side") & (rows["depth"] == 20)]
    assert f"err {span(shallow_side['error_pruned'])}, no more than the pruned ones with new statistics" in text
    assert shallow_side["error_pruned"].mean() < anew["recalibrated"].mean()
    assert 0.4 < shallow_side["size_mib"].max() / rows.loc[anew.index, "size_mib"].mean() < 0.6

    # The others.
    assert found[4, False].verdict == "contradicted"
    assert found[5, False].verdict == found[7, False].verdict == "undecided"
    assert "in 14 of 15 runs" in found[5, False].evidence
    assert "at most 17.4% of the parameters" in found[7, False].evidence


def test_the_recipe_page_shows_every_trial_of_its_search() -> None:
    text = Path("docs/cifar10-cpu-recipe.md").read_text()
    trials = pd.read_csv("docs/cifar10-cpu-recipe.csv")
    for t in trials.itertuples():
        row = f"| {t.weight_decay:g} | {t.validation_error_pruned:.2%} | {t.minutes} |"
        if t.method == "epsilon_side":
            settled = "yes" if t.settled else "no"
            steps, adaptive = (words.replace(" ", ", ") for words in (t.rate_steps, t.adaptive_steps))
            row = (
                f"| {t.depth} | {t.seed} | {t.batch} | {t.epochs} | {steps} | {adaptive} | {t.epsilon_start_epoch:g} "
                f"| {t.weight_decay:g} | {t.discarded}/{t.blocks} ({t.kept_per_stage}) | {settled} "
                f"| {t.validation_error_pruned:.1%} | {t.validation_error_gated:.1%} | {t.minutes} |"
            )
        assert row in text, t.run
    tried = yaml.safe_load(Path("docs/cifar10-cpu-recipe.yaml").read_text())["runs"]
    assert set(trials["run"]) == set(tried)


def test_the_recipe_page_says_how_long_the_finished_runs_took() -> None:
    manifests = [read_json(path) for path in (PROJECT / "results").glob("cifar10-cpu-*/manifest.json")]
    seconds = [manifest["seconds"]["training"] for manifest in manifests]
    text = " ".join(Path("docs/cifar10-cpu-recipe.md").read_text().split())
    assert f"The {len(seconds)} finished runs took {sum(seconds) / 3600:.1f} core-hours of training" in text
    assert f"the longest {max(seconds) / 60:.0f} minutes" in text


def test_the_recipe_page_shows_the_independent_check() -> None:
    text = " ".join(Path("docs/cifar10-cpu-recipe.md").read_text().split())
    measured = read_json(PROJECT / "benchmarks/results/independent.json")
    errors = {name: list(seeds.values()) for name, seeds in measured["errors"].items()}
    runs = [f"cifar10-cpu-20-standard-wd0p001-s{seed}" for seed in range(3)]
    assert errors["ours"] == [read_json(Layout().metrics(run))["error"]["final"] for run in runs]
    for name, values in errors.items():
        assert f"| {name} | {', '.join(f'{e:.2%}' for e in values)} | {fmean(values):.2%} |" in text
    for name, words in (
        ("pytorchcv", "{:.1f} points more (95 % interval {:.1f} to {:.1f}, Welch's)"),
        ("pytorchcv, as the paper's", "{:.1f} points more ({:.1f} to {:.1f})"),
    ):
        interval = stats.ttest_ind(errors[name], errors["ours"], equal_var=False).confidence_interval()
        more = fmean(errors[name]) - fmean(errors["ours"])
        assert words.format(100 * more, 100 * interval.low, 100 * interval.high) in text
    assert min(errors["pytorchcv, as the paper's"]) > max(errors["ours"])
    ours, theirs = (measured["seconds_an_epoch"][name] for name in ("ours", "pytorchcv"))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    assert (
        f"took {median(ratios):.2f} of the time of one there (single pairs {min(ratios):.2f} to {max(ratios):.2f})"
        in text
    )


def test_the_recipe_page_shows_what_was_measured_with_new_statistics() -> None:
    text = Path("docs/cifar10-cpu-recipe.md").read_text()
    for run, measured in read_json(PROJECT / "benchmarks/results/recalibration.json").items():
        assert f"| {run} | {measured['pruned']:.2%} | {measured['recalibrated']:.2%} |" in text
    assert text.count("| cifar10-cpu-") == len(read_json(PROJECT / "benchmarks/results/recalibration.json"))


def of_data(experiments: Registry, dataset: str) -> list[claims.Claim]:
    return [claim for claim in claims.claims(experiments, Layout()) if claim.dataset == dataset]


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

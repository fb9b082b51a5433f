"""What README and docs/cifar10-cpu-recipe.md say of CIFAR-10 on a CPU is what its results say."""

import re
from pathlib import Path
from statistics import fmean, median

import pandas as pd
import pytest
import yaml
from scipy import stats

from eps_resnet.evidence import claims
from eps_resnet.evidence.claims import Claim
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import read_json
from eps_resnet.method import history
from tests.conftest import PROJECT

DATA = "cifar10-cpu"


def words_of(name: str) -> str:
    """A document with its line breaks as spaces."""
    return " ".join((PROJECT / name).read_text().split())


README, PAGE = words_of("README.md"), words_of("docs/cifar10-cpu-recipe.md")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Runs of Figure 6 by their keys."""
    return pd.read_csv(PROJECT / "paper_tables/figure6-cifar10-cpu/table.csv", index_col="run")


@pytest.fixture(scope="module")
def gated(rows: pd.DataFrame) -> list[str]:
    """All gated runs: those of Figures 6 and 8."""
    others = pd.read_csv(PROJECT / "paper_tables/figure8-cifar10-cpu/table.csv", index_col="run")
    return sorted({*rows.index[rows["method"] == "epsilon_side"], *others.index})


@pytest.fixture(scope="module")
def found(experiments: Registry) -> dict[int, list[Claim]]:
    """The claims about the data set by number; claim 1 has two baselines."""
    claimed: dict[int, list[Claim]] = {}
    for claim in claims.claims(experiments, Layout(PROJECT)):
        if claim.dataset == DATA:
            claimed.setdefault(claim.number, []).append(claim)
    return claimed


@pytest.fixture(scope="module")
def anew() -> pd.DataFrame:
    """Errors of all pruned networks, before and after their statistics were taken anew."""
    measured = pd.DataFrame(read_json(PROJECT / "studies/results/recalibration.json")).T
    return measured[measured.index.str.contains("epsilon_side")][["pruned", "recalibrated"]].astype(float)


def errors_of(rows: pd.DataFrame, method: str, decay: float) -> pd.Series:
    """Mean error by depth."""
    chosen = rows[(rows["method"] == method) & (rows["weight_decay"] == decay)]
    return chosen.groupby("depth")["error_pruned"].mean()


def listed(means: pd.Series) -> str:
    *most, last = [f"{100 * mean:.0f}" for mean in means]
    return f"{', '.join(most)} and {last} %"


def rounded(means: pd.Series) -> str:
    return f"{100 * means.min():.0f} to {100 * means.max():.0f} %"


def span(values: pd.Series) -> str:
    return f"{100 * values.min():.1f} to {100 * values.max():.1f} %"


def test_the_readme_names_seeds_and_the_altered_copy(rows: pd.DataFrame) -> None:
    seeds = rows[rows["state"] == "done"].groupby(["depth", "method", "weight_decay"])["seed"].nunique()
    assert set(seeds) == {3}
    assert "three seeds of each network" in README
    assert read_json(PROJECT / f"data/{DATA}.json")["differs"].split(";")[0] in README


def test_the_readme_says_how_blocks_vanish(
    rows: pd.DataFrame, gated: list[str], found: dict[int, list[Claim]], experiments: Registry
) -> None:
    by_depth = rows[rows["method"] == "epsilon_side"].groupby("depth")["discarded_ratio"].mean()
    sensitivity = pd.read_csv(PROJECT / "paper_tables/figure8-cifar10-cpu/table.csv")
    by_epsilon = sensitivity.groupby("epsilon")["discarded_ratio"].mean()
    assert f"networks of 20, 56 and 110 layers lose {listed(by_depth)} of their blocks" in README
    assert f"those of 56 layers lose {listed(by_epsilon)} at ε 1.5, 2.5 and 3.5." in README
    assert all("pairs of runs, against it 0 and 0" in found[number][0].evidence for number in (2, 3))
    assert f"deeper networks discard more is **{found[2][0].verdict}**" in README
    assert f"that a larger ε does **{found[3][0].verdict}**" in README
    assert f"That the share saturates is **{found[6][0].verdict}**" in README
    deep = [history.read_history(Layout(PROJECT).run(run).history) for run in gated if "-20-" not in run]
    rose = [d.set_index("epoch")["discarded"].diff(6).loc[23] > 0 for d in deep]
    assert experiments.datasets[DATA].recipe.rate_steps[0] == 22
    assert (
        f"from epoch 17 to 23, about the first fall of the rate, it still rose in {sum(rose)} of {len(rose)}" in README
    )


def test_the_readme_says_how_far_pruned_networks_err_more(rows: pd.DataFrame, found: dict[int, list[Claim]]) -> None:
    pruned = errors_of(rows, "epsilon_side", 0.005)
    assert f"At ε 2.5 they err {listed(pruned)} on average at 20, 56 and 110 layers" in README
    chosen, papers = (rounded(errors_of(rows, "standard", decay)) for decay in (0.001, 0.0002))
    assert (
        f"standard networks {chosen} with a weight decay chosen for low error and {papers} with the paper's" in README
    )
    side = rounded(errors_of(rows, "standard_side", 0.005))
    assert f"ungated networks with side head and the gated ones' decay {side}" in README
    for claim in found[1]:
        assert re.search(
            r"For the claim 0 of \d differences and 0 of (9|18) pairs.* against it \d and \1$", claim.evidence
        )
        assert f"That ε-ResNets err no more is **{claim.verdict}** all the same" in README


def test_the_readme_says_that_pruning_is_not_free(gated: list[str], found: dict[int, list[Claim]]) -> None:
    (claim,) = found[8]
    assert f"with its gates on is **{claim.verdict}**: 5 of 15 err more" in README
    assert claim.evidence.startswith("so in 10 of 15 runs")
    agreements = [read_json(Layout(PROJECT).run(run).metrics)["agreement"] for run in gated]
    assert {agreement["discarded_gates_that_opened"] for agreement in agreements} == {0}
    assert any(agreement["kept_gates_that_closed"] for agreement in agreements)
    assert "No discarded block opens on a test image, but blocks that were kept close on some." in README


def test_the_readme_says_what_statistics_taken_anew_change(rows: pd.DataFrame, anew: pd.DataFrame) -> None:
    assert len(anew) == 15
    assert f"the 15 pruned networks err {span(anew['recalibrated'])} instead of {span(anew['pruned'])}" in PAGE
    anew = anew[anew.index.str.contains("2p5")]
    assert len(anew) == 3 * 3  # depths, seeds
    assert f"all nine pruned networks of ε 2.5 err {span(anew['recalibrated'])}, from {span(anew['pruned'])}" in README
    standard = rows.loc[anew.index.str.replace("epsilon_side-2p5", "standard-wd0p001"), "error_pruned"].to_numpy()
    more = anew.sub(standard, axis=0)
    assert f"and {span(more['recalibrated']).removesuffix(' %')} points more than standard ones" in README
    assert more["recalibrated"].mean() < more["pruned"].mean() / 2  # "most of what they err more"


def test_the_readme_says_whether_the_small_network_could_have_been_trained_at_once(
    rows: pd.DataFrame, anew: pd.DataFrame, found: dict[int, list[Claim]]
) -> None:
    errors = errors_of(rows, "standard", 0.001)
    assert f"trained as long, err {100 * errors[38]:.1f} and {100 * errors[44]:.1f} %" in README
    anew = anew[anew.index.str.contains("-(?:56|110)-epsilon_side-2p5")]
    pruned = rows.loc[anew.index].groupby("depth")["size_mib"]
    shallow = rows.groupby("depth")["size_mib"].min()
    larger = [
        100 * (shallow[s] / size - 1) for d, s in ((56, 38), (110, 44)) for size in (pruned.max()[d], pruned.min()[d])
    ]
    assert f"{min(larger):.0f} to {max(larger):.0f} % larger than those of 56 and 110 layers" in README
    (claim,) = found[9]
    assert claim.evidence.endswith("For the claim 0 of 4 differences and 0 of 12 pairs of runs, against it 4 and 12")
    assert f"less than the pruned ones in all 6 pairs (**{claim.verdict}**, as before)" in README
    alike = rows[(rows["method"] == "standard_side") & (rows["depth"] == 20)]
    assert f"err {span(alike['error_pruned'])}, no more than the pruned ones with new statistics" in README
    assert alike["error_pruned"].mean() < anew["recalibrated"].mean()
    assert 0.4 < alike["size_mib"].max() / rows.loc[anew.index, "size_mib"].mean() < 0.6  # "about half as large"


def test_the_readme_says_how_the_other_claims_stand(found: dict[int, list[Claim]]) -> None:
    assert found[4][0].verdict == "contradicted"
    assert found[5][0].verdict == found[7][0].verdict == "undecided"
    assert "in 14 of 15 runs" in found[5][0].evidence
    assert "at most 17.4% of the parameters" in found[7][0].evidence


def test_the_recipe_page_shows_every_trial_of_its_search() -> None:
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
        assert row in PAGE, t.run
    tried = yaml.safe_load(Path("docs/cifar10-cpu-recipe.yaml").read_text())["runs"]
    assert set(trials["run"]) == set(tried)


def test_the_recipe_page_says_how_far_the_error_swings(rows: pd.DataFrame) -> None:
    gated = rows[rows["method"] == "epsilon_side"]["error_pruned"]
    standard = rows.loc[gated.index.str.replace("epsilon_side-2p5", "standard-wd0p001"), "error_pruned"]
    more = 100 * (gated.to_numpy() - standard.to_numpy())
    assert f"err from {min(more):.0f} to {max(more):.0f} points more than standard ones of the same seed" in PAGE
    errors = [100 * gated[f"cifar10-cpu-56-epsilon_side-2p5-s{seed}"] for seed in range(3)]
    assert "seeds 0 to 2 have {:.1f}, {:.1f} and {:.1f} %".format(*errors) in PAGE


def test_the_recipe_page_says_how_long_the_finished_runs_took() -> None:
    paths = (PROJECT / "results").glob("cifar10-cpu-*/manifest.json")
    seconds = {path.parent.name: read_json(path)["seconds"]["training"] for path in paths}
    assert f"The {len(seconds)} finished runs took {sum(seconds.values()) / 3600:.1f} core-hours of training" in PAGE
    assert f"the longest {max(seconds.values()) / 60:.0f} minutes" in PAGE
    first = sum(taken for run, taken in seconds.items() if re.fullmatch(r"cifar10-cpu-(20|56|110)-.*-s0", run))
    assert f"Seed 0 of all but the 38 and 44 layers, undisturbed, took {first / 3600:.1f}." in PAGE


def test_the_recipe_page_shows_the_independent_check() -> None:
    measured = read_json(PROJECT / "studies/results/independent.json")
    errors = {name: list(seeds.values()) for name, seeds in measured["errors"].items()}
    runs = [f"cifar10-cpu-20-standard-wd0p001-s{seed}" for seed in range(3)]
    assert errors["ours"] == [read_json(Layout().run(run).metrics)["error"]["final"] for run in runs]
    for name, values in errors.items():
        assert f"| {name} | {', '.join(f'{e:.2%}' for e in values)} | {fmean(values):.2%} |" in PAGE
    for name, words in (
        ("pytorchcv", "{:.1f} points more (95 % interval {:.1f} to {:.1f}, Welch's)"),
        ("pytorchcv, as the paper's", "{:.1f} points more ({:.1f} to {:.1f})"),
    ):
        interval = stats.ttest_ind(errors[name], errors["ours"], equal_var=False).confidence_interval()
        more = fmean(errors[name]) - fmean(errors["ours"])
        assert words.format(100 * more, 100 * interval.low, 100 * interval.high) in PAGE
    assert min(errors["pytorchcv, as the paper's"]) > max(errors["ours"])
    ours, theirs = (measured["seconds_an_epoch"][name] for name in ("ours", "pytorchcv"))
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    assert (
        f"took {median(ratios):.2f} of the time of one there (single pairs {min(ratios):.2f} to {max(ratios):.2f})"
        in PAGE
    )


def test_the_recipe_page_shows_what_was_measured_with_new_statistics(experiments: Registry) -> None:
    found = read_json(PROJECT / "studies/results/recalibration.json")
    assert set(found) == {key for key, run in experiments.runs.items() if run.dataset == DATA}
    for run, measured in found.items():
        assert f"| {run} | {measured['pruned']:.2%} | {measured['recalibrated']:.2%} |" in PAGE
        assert measured["pruned_sha256"] == read_json(Layout(PROJECT).run(run).metrics)["pruned_sha256"]
    assert PAGE.count("| cifar10-cpu-") == len(found)
    changes = [abs(m["recalibrated"] - m["pruned"]) for run, m in found.items() if "epsilon_side" not in run]
    assert f"Networks without gates change by {100 * max(changes):.2f} points at most." in PAGE


def test_every_network_of_the_runs_has_its_checksum_in_dvc_lock(experiments: Registry) -> None:
    stages = yaml.safe_load((PROJECT / "dvc.lock").read_text())["stages"]
    for key in (key for key, run in experiments.runs.items() if run.dataset == DATA):
        paths = {out["path"] for out in stages[key]["outs"]}
        assert {str(Layout().run(key).model), str(Layout().run(key).pruned)} <= paths

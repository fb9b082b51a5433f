"""The paper's claims: what supports or contradicts them or leaves them open, from results as a run writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from eps_resnet.evidence import claims
from eps_resnet.evidence.claims import Claim, Point, judge_disagreement, judge_points, judge_runs, stage_rises
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import blocks_of
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Epochs, Run
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import write_json, write_text
from eps_resnet.measure.size import size_of
from eps_resnet.method.history import write_blocks
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.provenance import state
from tests.conftest import PROJECT

EPOCHS = 20


class Bench:
    """A registry and a root in which results are written run by run."""

    def __init__(self, registry: Registry, layout: Layout) -> None:
        self.registry, self.layout = registry, layout

    def finish(
        self,
        dataset: str,
        depth: int,
        method: str,
        kept: list[int] | None = None,
        epsilon: float | None = None,
        seed: int = 0,
        weight_decay: float | None = None,
        **others: Any,
    ) -> str:
        """Writes the results of a run, which joins the registry if need be, and returns its key.

        Discarded blocks go one after the other in the first ten epochs, and their weights fall to a hundredth.
        """
        run = Run.model_validate(
            {
                "dataset": dataset,
                "depth": depth,
                "method": method,
                "epsilon": epsilon,
                "seed": seed,
                "weight_decay": weight_decay,
            }
        )
        self.registry.runs[run.key] = run
        blocks = blocks_of(depth, self.registry.datasets[dataset].recipe)
        kept = kept or list(blocks)
        gone = sum(blocks) - sum(kept)
        metrics = {
            "data_differs": None,
            "test_images": 10_000,
            "settled": True,
            "error": {"pruned": 0.05, "gated": 0.05},
            "blocks": list(blocks),
            "kept": kept,
            "discarded_blocks": list(range(gone)),
            "compression": {"discarded_ratio": gone / sum(blocks), "parameters_removed": gone / sum(blocks)},
            "after": {"parameters": 10**5},
            "agreement": {"images": 10_000, "equal": 10_000, "batches": 79, "batches_with_other_gates": 0},
        }
        write_json(self.layout.run(run.key).metrics, {**metrics, **others})
        self.write_discarded(run.key, [min(gone, gone * epoch // 10) for epoch in range(1, EPOCHS + 1)])
        self.write_weights(run.key, sum(blocks), dict.fromkeys(range(gone), 0.01))
        return run.key

    def finish_seeds(self, *run: Any, **others: Any) -> list[str]:
        """The same for as many seeds as a verdict needs."""
        return [self.finish(*run, seed=seed, **others) for seed in range(LEAST_SEEDS)]

    def write_discarded(self, key: str, counts: list[int]) -> None:
        rows = [f"{epoch},{count}" for epoch, count in enumerate(counts, start=1)]
        write_text(self.layout.run(key).history, "\n".join(["epoch,discarded", *rows]) + "\n")

    def write_weights(self, key: str, blocks: int, left: dict[int, float]) -> None:
        largest = np.ones((2, blocks))
        for block, share in left.items():
            largest[1, block] = share
        percentiles = np.stack([-largest, -largest, largest, largest, largest], axis=2)
        write_blocks(self.layout.run(key).blocks, np.zeros((2, blocks), dtype=np.int64), 1, percentiles)

    def claim(self, number: int, dataset: str = "cifar10", against: str = "") -> Claim:
        [claim, *others] = [
            claim
            for claim in claims.claims(self.registry, self.layout)
            if (claim.number, claim.dataset) == (number, dataset) and claim.statement.endswith(against)
        ]
        assert len(others) == (number == 1 and not against)
        return claim


@pytest.fixture
def bench(experiments: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    layout = Layout(tmp_path)
    monkeypatch.setattr(state, "state", lambda e: "done" if e.files.metrics.exists() else "missing")
    return Bench(experiments.model_copy(update={"runs": dict(experiments.runs)}), layout)


def test_every_claim_is_made_on_every_data_set_and_nothing_is_claimed_without_runs(bench: Bench) -> None:
    found = claims.claims(bench.registry, bench.layout)
    assert [(claim.dataset, claim.number) for claim in found] == [
        (dataset, number) for dataset in bench.registry.datasets for number in (1, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    ]
    assert {claim.verdict for claim in found} == {"not run"}
    assert not any(claim.runs for claim in found)


def errs(error: float) -> dict[str, Any]:
    return {"error": {"pruned": error, "gated": error}}


@pytest.mark.parametrize(("gated", "verdict"), [(0.05, "supported"), (0.06, "undecided"), (0.07, "contradicted")])
def test_claim_1_needs_a_difference_beyond_the_seeds_spread(bench: Bench, gated: float, verdict: str) -> None:
    keys: list[str] = []
    for seed, spread in enumerate((-0.0005, 0.0002, 0.0008)):
        keys += [
            bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, seed, **errs(gated + spread)),
            bench.finish("cifar10", 110, "standard", seed=seed, **errs(0.06)),
        ]
    claim = bench.claim(1, against="standard network")
    assert (claim.verdict, claim.runs) == (verdict, tuple(keys))
    assert bench.claim(1, against="side head").verdict == "not run"  # no standard_side to pair with


def test_claim_1_is_undecided_until_every_depth_has_enough_paired_seeds(bench: Bench) -> None:
    def finish(depth: int, seed: int, gated: float, plain: float) -> Claim:
        bench.finish("cifar10", depth, "epsilon_side", None, 2.5, seed, **errs(gated))
        bench.finish("cifar10", depth, "standard", seed=seed, **errs(plain))
        return bench.claim(1, against="standard network")

    claim = finish(110, 0, 0.010, 0.090)
    assert claim.verdict == "undecided"
    assert "depth 110, ε 2.5 +8.00 (n 1)" in claim.evidence  # no interval
    assert "For the claim 1 of 1 differences and 1 of 1 pairs of runs, against it 0 and 0; a verdict" in claim.evidence
    assert finish(110, 1, 0.011, 0.092).verdict == "undecided"
    claim = finish(110, 2, 0.012, 0.094)
    assert claim.verdict == "supported"
    assert claim.evidence.endswith("For the claim 1 of 1 differences and 3 of 3 pairs of runs, against it 0 and 0")
    claim = finish(200, 0, 0.090, 0.010)
    assert claim.verdict == "undecided"
    assert "For the claim 1 of 2 differences and 3 of 4 pairs of runs, against it 1 and 1;" in claim.evidence
    assert "± " in claim.evidence  # of depth 110


def test_other_decays_are_no_further_seeds(bench: Bench) -> None:
    for decay in (None, 0.0004, 0.0008):
        for depth, kept in ((110, [18, 16, 8]), (200, [18, 10, 5])):
            bench.finish("cifar10", depth, "epsilon_side", kept, 2.5, 0, decay)
        bench.finish("cifar10", 110, "epsilon_side", [18, 12, 4], 2.7, 0, decay)
        bench.finish("cifar10", 110, "standard", None, None, 0, decay, **errs(0.09))
    for number in (1, 2, 3, 4):
        claim = bench.claim(number, against="standard network" if number == 1 else "")
        assert claim.verdict == "undecided"
        assert "(n 1)" in claim.evidence
        assert "(n 3)" not in claim.evidence
        assert "decay 0.0004" in claim.evidence


def test_claim_1_pairs_equal_seeds_only(bench: Bench) -> None:
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, seed=1)
    bench.finish("cifar10", 110, "standard", seed=2)
    assert bench.claim(1, against="standard network").verdict == "not run"


@pytest.mark.parametrize(
    ("kept", "verdict"), [([18, 10, 5], "supported"), ([30, 28, 19], "undecided"), ([33, 30, 30], "contradicted")]
)
def test_claim_2_compares_each_depth_with_the_next(bench: Bench, kept: list[int], verdict: str) -> None:
    bench.finish_seeds("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)  # 12 of 54
    bench.finish_seeds("cifar10", 200, "epsilon_side", kept, 2.5)
    assert bench.claim(2).verdict == verdict
    bench.finish_seeds("cifar10", 500, "epsilon_side", [83, 83, 83], 2.5)  # one step down is enough
    assert bench.claim(2).verdict == "contradicted"


def test_claim_2_does_not_compare_depths_of_different_epsilons(bench: Bench) -> None:
    bench.finish("imagenet", 101, "epsilon_side", [3, 4, 20, 3], 2.0)
    bench.finish("imagenet", 152, "epsilon_side", [3, 8, 20, 3], 1.8)
    assert bench.claim(2, "imagenet").verdict == "not run"


def test_claim_3_compares_each_epsilon_with_the_next_at_one_depth(bench: Bench) -> None:
    bench.finish_seeds("cifar100", 200, "epsilon_side", [32, 30, 30], 2.3)
    bench.finish_seeds("cifar100", 200, "epsilon_side", [32, 23, 29], 2.5)
    assert bench.claim(3, "cifar100").verdict == "supported"
    bench.finish_seeds("cifar100", 200, "epsilon_side", [32, 24, 28], 2.7)  # as many as at 2.5
    assert bench.claim(3, "cifar100").verdict == "undecided"


def test_a_share_of_blocks_from_one_seed_decides_nothing(bench: Bench) -> None:
    for depth, epsilon, kept in ((110, 2.5, [18, 16, 8]), (200, 2.5, [18, 10, 5]), (200, 2.7, [9, 5, 1])):
        bench.finish("cifar10", depth, "epsilon_side", kept, epsilon)
    assert [bench.claim(number).verdict for number in (2, 3, 4)] == ["undecided"] * 3


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        ([18, 16, 8], "supported"),
        ([18, 16, 16], "undecided"),
        (None, "undecided"),  # nothing discarded: no stage more than another
        ([16, 18, 8], "contradicted"),  # the last stage loses most, but the second less than the first
        ([8, 16, 18], "contradicted"),
    ],
)
def test_claim_4_compares_each_stage_with_the_next(bench: Bench, kept: list[int] | None, verdict: str) -> None:
    assert bench.claim(4).verdict == "not run"
    bench.finish_seeds("cifar10", 110, "epsilon_side", kept, 2.5)
    assert bench.claim(4).verdict == verdict


def test_claim_4_counts_the_seeds_that_discard_nothing(bench: Bench) -> None:
    for seed, kept in enumerate(([18, 16, 8], [18, 16, 8], [18, 16, 8], None)):
        bench.finish("cifar10", 110, "epsilon_side", kept, 2.5, seed)
    claim = bench.claim(4)
    assert claim.verdict == "undecided"
    assert "(n 4)" in claim.evidence
    assert len(claim.runs) == 4


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5), st.data())
def test_stages_rise_by_what_they_discard_and_fall_where_more_is_kept(blocks: list[int], data: st.DataObject) -> None:
    kept = [data.draw(st.integers(0, whole)) for whole in blocks]
    rises = stage_rises(kept, blocks)
    assert len(rises) == len(blocks) - 1
    assert sum(rises) == pytest.approx(kept[0] / blocks[0] - kept[-1] / blocks[-1])
    assert stage_rises(blocks, blocks) == [0] * len(rises)


def test_claim_5_asks_for_nine_tenths_of_the_discarded_blocks_below_a_tenth(bench: Bench) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 18, 8], 2.5)  # ten discarded
    assert bench.claim(5).verdict == "supported"
    bench.write_weights(key, 54, dict.fromkeys(range(9), 0.01))
    assert bench.claim(5).verdict == "supported"
    bench.write_weights(key, 54, dict.fromkeys(range(8), 0.01))
    assert bench.claim(5).verdict == "undecided"
    bench.write_weights(key, 54, dict.fromkeys(range(10), 0.2))
    assert bench.claim(5).verdict == "contradicted"
    bench.finish("cifar10", 200, "epsilon_side", [33, 33, 8], 2.5)
    assert bench.claim(5).verdict == "undecided"
    assert bench.claim(5).evidence.startswith("so in 1 of 2 runs")


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ([0, 5, 10, 12, 12, 12, 12, 12, 12, 12], "supported"),
        ([0, 5, 10, 12, 11, 12, 12, 12, 11, 12], "supported"),  # one block comes back
        ([0, 12, 2, 12, 12, 12, 12, 12, 12, 12], "contradicted"),  # most come back
        ([0, 1, 2, 3, 4, 6, 8, 9, 8, 12], "contradicted"),  # still rising at the end
        ([0] * 10, "not run"),
    ],
)
def test_claim_6_asks_for_a_rise_without_a_fall_and_a_quiet_end(bench: Bench, counts: list[int], verdict: str) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)
    bench.write_discarded(key, counts)
    claim = bench.claim(6)
    assert claim.verdict == verdict
    assert claim.evidence.startswith("so in 1 of 1 runs") == (verdict == "supported")


@pytest.mark.parametrize(
    ("removed", "kept", "verdict"),
    [(0.918, [36, 22, 6], "supported"), (0.70, [36, 22, 6], "undecided"), (0.70, [60, 40, 20], "undecided")],
)
def test_claim_7_is_about_parameters_and_some_instance(
    bench: Bench, removed: float, kept: list[int], verdict: str
) -> None:
    share = 1 - sum(kept) / 375
    compression = {"discarded_ratio": share, "parameters_removed": removed}
    bench.finish("cifar10", 752, "epsilon_side", kept, 2.5, compression=compression)
    assert bench.claim(7).verdict == verdict


def test_claim_7_is_contradicted_by_all_runs_where_the_paper_has_an_instance(bench: Bench) -> None:
    for run in list(bench.registry.runs.values()):
        if run.dataset in ("cifar10", "svhn") and run.method == "epsilon_side":
            bench.finish(run.dataset, run.depth, run.method, None, run.epsilon)
    assert bench.claim(7, "cifar10").verdict == "contradicted"
    assert bench.claim(7, "svhn").verdict == "undecided"


def test_claim_8_weighs_the_images_on_which_the_two_networks_disagree(bench: Bench) -> None:
    def claim(more: int, disagree: int, batches: int = 6) -> Claim:
        error = {"pruned": 0.05 + more / 10_000, "gated": 0.05}
        equal = 10_000 - disagree
        agreement = {"images": 10_000, "equal": equal, "batches": 79, "batches_with_other_gates": batches}
        bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, error=error, agreement=agreement)
        return bench.claim(8)

    assert claim(0, 0).verdict == "supported"
    assert claim(-5, 20).verdict == "supported"
    assert claim(3, 20).verdict == "undecided"
    assert claim(18, 20).verdict == "contradicted"
    assert claim(18, 20, batches=5).verdict == "undecided"
    assert (
        "+18 wrong images, 20 of 10000 predicted otherwise, other gates in 5 of 79 batches" in bench.claim(8).evidence
    )


@given(st.integers(1, 300), st.integers(0, 20))
def test_a_difference_that_few_batches_make_never_contradicts(more: int, batches: int) -> None:
    all_one_way = binomtest(batches, batches, 0.5).pvalue if batches else 1.0
    if judge_disagreement(more, more, batches) == "contradicted":
        assert all_one_way < 0.05
        assert batches >= 6


CHOSEN = "chosen on a split of the training images to show blocks vanish"


def test_what_is_special_about_the_runs_is_said_beside_the_claim(bench: Bench) -> None:
    bench.finish("digits", 20, "epsilon_side", [3, 3, 1], 2.5)
    remark = bench.claim(7, "digits").remark
    assert remark is not None
    assert CHOSEN in remark
    bench.finish("cifar10-cpu", 56, "epsilon_side", [9, 8, 4], 2.5)
    remark = bench.claim(7, "cifar10-cpu").remark
    assert remark is not None
    assert "chosen to show blocks vanish, at a price in error" in remark
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, data_differs="half of it", settled=False)
    remark = bench.claim(7).remark
    assert remark is not None
    assert "An altered copy of the data: half of it." in remark
    assert "Never settled" in remark
    assert bench.claim(7, "svhn").remark is None


DIFFERENCES = st.builds(
    lambda centre, spread: [centre + 0.01 * some for some in spread],
    st.floats(-1, 1),
    st.lists(st.floats(-1, 1), min_size=1, max_size=6),
)


@given(st.lists(DIFFERENCES, min_size=1, max_size=5))
def test_a_claim_and_its_opposite_are_never_both_supported(points: list[list[float]]) -> None:
    def judged(sign: int) -> str:
        return judge_points([Point("", [sign * d for d in differences], 0.01) for differences in points])[0]

    if judged(1) == "supported":
        assert judged(-1) == "contradicted"


@pytest.mark.parametrize(("points", "quantile"), [(1, 4.303), (5, 9.925)])  # Student's t: .975 and .995, two degrees
def test_an_interval_of_seeds_holds_for_all_points_at_once(points: int, quantile: float) -> None:
    point = Point("", [0.1, 0.2, 0.3], 0.01)
    assert point.mean == pytest.approx(0.2)
    assert point.half_width(points) == pytest.approx(quantile * 0.1 / 3**0.5 + 0.005, rel=1e-3)


@given(st.lists(DIFFERENCES, min_size=1, max_size=5))
def test_fewer_seeds_than_a_spread_needs_anywhere_decide_nothing(points: list[list[float]]) -> None:
    verdict, evidence = judge_points([Point("", differences, 0.01) for differences in points])
    has_few = any(len(differences) < LEAST_SEEDS for differences in points)
    assert (f"a verdict needs {LEAST_SEEDS} paired seeds" in evidence) == has_few
    assert evidence.count("±") == sum(len(differences) >= LEAST_SEEDS for differences in points)
    assert verdict == "undecided" or not has_few


def test_one_block_decides_if_every_seed_shows_it() -> None:
    for blocks in range(2, 60):
        low, high = 1 - (blocks - 1) / blocks, 1 - (blocks - 2) / blocks
        assert judge_points([Point("", [high - low] * 3, 1 / blocks)])[0] == "supported"
        assert judge_points([Point("", [high - low, high - low, 0], 1 / blocks)])[0] == "undecided"


def test_runs_that_differ_leave_a_claim_undecided() -> None:
    assert judge_runs(["supported", "supported"]) == "supported"
    assert judge_runs(["supported", "contradicted"]) == "undecided"
    assert judge_runs(["contradicted", "undecided"]) == "undecided"
    assert judge_runs(["contradicted", "contradicted"]) == "contradicted"


@given(st.integers(1, 300), st.data())
def test_more_disagreement_never_makes_a_contradiction_of_the_same_difference(
    disagree: int, data: st.DataObject
) -> None:
    more = data.draw(st.integers(1, disagree))
    if judge_disagreement(more, disagree + 2, 6) == "contradicted":
        assert judge_disagreement(more, disagree, 6) == "contradicted"


def test_claim_1_is_about_baselines_of_every_decay(bench: Bench) -> None:
    gated = bench.finish_seeds("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, **errs(0.06))
    for decay, error in ((None, 0.09), (0.0004, 0.03)):
        for seed in range(LEAST_SEEDS):
            bench.finish("cifar10", 110, "standard", None, None, seed, decay, **errs(error))
    claim = bench.claim(1, against="standard network")
    assert claim.verdict == "contradicted"
    assert set(gated) < set(claim.runs)
    assert len(claim.runs) == 3 * LEAST_SEEDS
    assert "depth 110, ε 2.5 +3.00" in claim.evidence
    assert "depth 110, ε 2.5, decay 0.0004 -3.00" in claim.evidence


def as_long(bench: Bench) -> None:
    """Baselines of CIFAR-10 are trained for as many epochs as gated networks."""
    data = bench.registry.datasets["cifar10"]
    recipe = data.recipe.model_copy(update={"epochs": Epochs(standard=1000, epsilon=1000)})
    changed = {**bench.registry.datasets, "cifar10": data.model_copy(update={"recipe": recipe})}
    bench.registry = bench.registry.model_copy(update={"datasets": changed})


@pytest.mark.parametrize(("shallow", "verdict"), [(0.09, "supported"), (0.06, "undecided"), (0.03, "contradicted")])
def test_claim_9_compares_with_the_smallest_network_that_is_as_large(
    bench: Bench, shallow: float, verdict: str
) -> None:
    as_long(bench)
    kept = {"after": {"parameters": 300_000}}  # between 20 layers (269,722 parameters) and 26
    bench.finish_seeds("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, **errs(0.06), **kept)
    assert bench.claim(9).verdict == "not run"
    assert bench.claim(9).evidence.endswith(
        "not run: depth 110, ε 2.5 (300,000 to 300,000 parameters) against depth 26 (366,938)"
    )
    bench.finish_seeds("cifar10", 20, "standard", **errs(shallow))
    assert bench.claim(9).verdict == "not run"
    bench.finish_seeds("cifar10", 26, "standard", **errs(shallow))
    claim = bench.claim(9)
    assert claim.verdict == verdict
    assert len(claim.runs) == 2 * LEAST_SEEDS


def test_claim_9_is_contradicted_where_one_small_network_errs_less_though_another_is_not_run(bench: Bench) -> None:
    as_long(bench)
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, **errs(0.06), after={"parameters": 300_000})
    bench.finish_seeds("cifar10", 200, "epsilon_side", None, 2.5, **errs(0.06), after={"parameters": 400_000})
    bench.finish_seeds("cifar10", 26, "standard", **errs(0.03))
    assert bench.claim(9).verdict == "contradicted"
    assert "not run: depth 200" in bench.claim(9).evidence


def test_claim_9_leaves_out_a_network_of_which_hardly_anything_was_pruned(bench: Bench) -> None:
    as_long(bench)
    bench.finish_seeds("cifar10", 26, "epsilon_side", None, 2.5, **errs(0.06), after={"parameters": 300_000})
    bench.finish_seeds("cifar10", 26, "standard", **errs(0.03))
    assert bench.claim(9).evidence == "no pruned network is as small as a shallower one"


def test_claim_9_asks_for_trainings_of_one_length(bench: Bench) -> None:
    bench.finish_seeds("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)
    bench.finish_seeds("cifar10", 14, "standard")
    assert bench.claim(9).evidence == "no standard network of that size is trained as long"


@given(st.integers(1, 2_000_000))
def test_the_shallow_network_is_the_smallest_that_is_large_enough(parameters: int) -> None:
    experiments = registry.load(PROJECT / "config/experiments.yaml")

    def size(depth: int) -> int:
        run = Run.model_validate({"dataset": "cifar10", "depth": depth, "method": "standard"})
        experiment = experiments.experiment_of(run, Layout())
        return size_of(architecture_of(experiment), experiment.data.size).parameters

    depth, its_parameters = claims.depth_of_size(experiments, "cifar10", parameters)
    assert its_parameters == size(depth) >= parameters
    assert depth == 8 or size(depth - 6) < parameters

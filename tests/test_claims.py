"""The paper's claims: what supports or contradicts them or leaves them open, from results as a run writes them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet import claims, provenance
from eps_resnet.claims import Claim, Point, judge_disagreement, judge_points, judge_runs
from eps_resnet.files import write_json, write_text
from eps_resnet.history import write_blocks
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import blocks_of
from eps_resnet.registry import Registry, Run

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
        **others: Any,
    ) -> str:
        """Writes the results of a run, which joins the registry if need be, and returns its key.

        Discarded blocks go one after the other in the first ten epochs, and their weights fall to a hundredth.
        """
        values = {"dataset": dataset, "depth": depth, "method": method, "epsilon": epsilon, "seed": seed}
        run = Run.model_validate(values)
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
            "agreement": {"images": 10_000, "equal": 10_000},
        }
        write_json(self.layout.metrics(run.key), {**metrics, **others})
        self.write_discarded(run.key, [min(gone, gone * epoch // 10) for epoch in range(1, EPOCHS + 1)])
        self.write_weights(run.key, sum(blocks), dict.fromkeys(range(gone), 0.01))
        return run.key

    def write_discarded(self, key: str, counts: list[int]) -> None:
        rows = [f"{epoch},{count}" for epoch, count in enumerate(counts, start=1)]
        write_text(self.layout.history(key), "\n".join(["epoch,discarded", *rows]) + "\n")

    def write_weights(self, key: str, blocks: int, left: dict[int, float]) -> None:
        largest = torch.ones(2, blocks)
        for block, share in left.items():
            largest[1, block] = share
        percentiles = torch.stack([-largest, -largest, largest, largest, largest], dim=2)
        write_blocks(self.layout.blocks(key), torch.zeros(2, blocks, dtype=torch.int64), 1, percentiles)

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
    monkeypatch.setattr(provenance, "state", lambda _r, _l, k: "done" if layout.metrics(k).exists() else "missing")
    return Bench(experiments.model_copy(update={"runs": dict(experiments.runs)}), layout)


def test_every_claim_is_made_on_every_data_set_and_nothing_is_claimed_without_runs(bench: Bench) -> None:
    found = claims.claims(bench.registry, bench.layout)
    assert [(claim.dataset, claim.number) for claim in found] == [
        (dataset, number) for dataset in bench.registry.datasets for number in (1, 1, 2, 3, 4, 5, 6, 7, 8)
    ]
    assert {claim.verdict for claim in found} == {"not run"}
    assert not any(claim.runs for claim in found)


@pytest.mark.parametrize(("gated", "verdict"), [(0.05, "supported"), (0.0605, "undecided"), (0.07, "contradicted")])
def test_claim_1_needs_a_difference_beyond_the_sampling_error(bench: Bench, gated: float, verdict: str) -> None:
    keys = (
        bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, error={"pruned": gated, "gated": gated}),
        bench.finish("cifar10", 110, "standard", error={"pruned": 0.06, "gated": 0.06}),
    )
    claim = bench.claim(1, against="standard network")
    assert (claim.verdict, claim.runs) == (verdict, keys)
    assert bench.claim(1, against="side head").verdict == "not run"  # no standard_side to pair with


def test_claim_1_is_undecided_on_few_images_and_decided_by_enough_seeds(bench: Bench) -> None:
    def finish(seed: int, gated: float, plain: float) -> None:
        few: dict[str, Any] = {"seed": seed, "test_images": 360}
        bench.finish("digits", 20, "epsilon_side", [3, 3, 1], 2.5, error={"pruned": gated, "gated": gated}, **few)
        bench.finish("digits", 20, "standard", error={"pruned": plain, "gated": plain}, **few)

    finish(0, 0.010, 0.025)
    assert bench.claim(1, "digits", "standard network").verdict == "undecided"
    finish(1, 0.011, 0.027)
    finish(2, 0.012, 0.026)
    assert bench.claim(1, "digits", "standard network").verdict == "supported"


def test_claim_1_pairs_equal_seeds_only(bench: Bench) -> None:
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, seed=1)
    bench.finish("cifar10", 110, "standard", seed=2)
    assert bench.claim(1, against="standard network").verdict == "not run"


@pytest.mark.parametrize(
    ("kept", "verdict"), [([18, 10, 5], "supported"), ([33, 28, 16], "undecided"), ([33, 30, 30], "contradicted")]
)
def test_claim_2_compares_each_depth_with_the_next(bench: Bench, kept: list[int], verdict: str) -> None:
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)  # 12 of 54
    bench.finish("cifar10", 200, "epsilon_side", kept, 2.5)
    assert bench.claim(2).verdict == verdict
    bench.finish("cifar10", 500, "epsilon_side", [83, 83, 83], 2.5)  # one step down is enough
    assert bench.claim(2).verdict == "contradicted"


def test_claim_2_does_not_compare_depths_of_different_epsilons(bench: Bench) -> None:
    bench.finish("imagenet", 101, "epsilon_side", [3, 4, 20, 3], 2.0)
    bench.finish("imagenet", 152, "epsilon_side", [3, 8, 20, 3], 1.8)
    assert bench.claim(2, "imagenet").verdict == "not run"


def test_claim_3_compares_each_epsilon_with_the_next_at_one_depth(bench: Bench) -> None:
    bench.finish("cifar100", 200, "epsilon_side", [32, 30, 30], 2.3)
    bench.finish("cifar100", 200, "epsilon_side", [32, 23, 29], 2.5)
    assert bench.claim(3, "cifar100").verdict == "supported"
    bench.finish("cifar100", 200, "epsilon_side", [32, 24, 28], 2.7)  # as many as at 2.5
    assert bench.claim(3, "cifar100").verdict == "undecided"


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [([18, 16, 8], "supported"), ([17, 16, 16], "undecided"), ([8, 16, 18], "contradicted"), (None, "not run")],
)
def test_claim_4_compares_the_last_stage_with_the_first(bench: Bench, kept: list[int] | None, verdict: str) -> None:
    bench.finish("cifar10", 110, "epsilon_side", kept, 2.5)
    assert bench.claim(4).verdict == verdict


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
    assert bench.claim(5).verdict == "undecided"  # one run of two


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
    assert bench.claim(6).verdict == verdict


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
    def verdict(more: int, disagree: int) -> str:
        error = {"pruned": 0.05 + more / 10_000, "gated": 0.05}
        agreement = {"images": 10_000, "equal": 10_000 - disagree}
        bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, error=error, agreement=agreement)
        return bench.claim(8).verdict

    assert verdict(0, 0) == "supported"
    assert verdict(-5, 20) == "supported"
    assert verdict(3, 20) == "undecided"
    assert verdict(18, 20) == "contradicted"


def test_what_is_special_about_the_runs_is_said_beside_the_claim(bench: Bench) -> None:
    bench.finish("digits", 20, "epsilon_side", [3, 3, 1], 2.5)
    remark = bench.claim(7, "digits").remark
    assert remark is not None
    assert "chosen on a split of the training images to show blocks vanish" in remark
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, data_differs="half of it", settled=False)
    remark = bench.claim(7).remark
    assert remark is not None
    assert "An altered copy of the data: half of it." in remark
    assert "Never settled" in remark
    assert bench.claim(7, "svhn").remark is None


DIFFERENCES = st.lists(st.floats(-1, 1), min_size=1, max_size=6)


@given(st.lists(DIFFERENCES, min_size=1, max_size=5))
def test_a_claim_and_its_opposite_are_never_both_supported(points: list[list[float]]) -> None:
    def judged(sign: int) -> str:
        return judge_points([Point("", [sign * d for d in differences], 0.01) for differences in points])[0]

    if judged(1) == "supported":
        assert judged(-1) == "contradicted"


@pytest.mark.parametrize(("points", "quantile"), [(1, 4.303), (5, 9.925)])  # Student's t: .975 and .995, two degrees
def test_an_interval_of_seeds_holds_for_all_points_at_once(points: int, quantile: float) -> None:
    mean, half = Point("", [0.1, 0.2, 0.3], 0.01).interval(points)
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(quantile * 0.1 / 3**0.5 + 0.005, rel=1e-3)


def test_an_interval_of_one_seed_is_the_sampling_error_and_one_step() -> None:
    assert Point("", [0.1], 0.01, 0.02).interval(1) == (0.1, pytest.approx(1.96 * 0.02 + 0.01, rel=1e-3))


def test_a_difference_of_exactly_one_block_decides_nothing() -> None:
    for blocks in range(2, 60):
        low, high = 1 - (blocks - 1) / blocks, 1 - (blocks - 2) / blocks
        assert judge_points([Point("", [high - low], 1 / blocks)])[0] == "undecided"


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
    if judge_disagreement(more, disagree + 2) == "contradicted":
        assert judge_disagreement(more, disagree) == "contradicted"

"""The paper's claims: what supports or contradicts them or leaves them open, from results as a run writes them."""

import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.evidence.claims import Claim, claims
from eps_resnet.evidence.claims.errors import Pairing, depth_of_size, excess
from eps_resnet.evidence.claims.lives import e_folds_since_loss
from eps_resnet.evidence.claims.rules import Leaning, leaning
from eps_resnet.evidence.claims.shares import judge_rows, stage_rises, trend
from eps_resnet.evidence.finished import Result, finished
from eps_resnet.evidence.margins import MARGINAL_LOSS
from eps_resnet.evidence.statistics import LEAST_SEEDS
from eps_resnet.experiments import registry
from eps_resnet.experiments.experiment import Experiment
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Epochs, Run, Variant
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import write_text
from eps_resnet.measure.evaluation import Measured
from eps_resnet.measure.metrics import metrics_of
from eps_resnet.measure.size import size_of
from eps_resnet.method.history import write_blocks
from eps_resnet.method.networks.architecture import architecture_of
from eps_resnet.provenance import records, state
from eps_resnet.provenance.records import Agreement, Latest, Metrics, WrongPerBatch
from tests.conftest import PROJECT

EPOCHS, LOST = 60, 10  # of a training, and until its blocks are lost: 3.9 e-foldings on CIFAR-10 are left
IMAGES, BATCHES = 10_000, 80


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
        variant: str | None = None,
        error: float = 0.05,
        more_wrong: tuple[int, ...] = (),
        **others: Any,
    ) -> str:
        """Writes the results of a run, which joins the registry if need be, and returns its key.

        Discarded blocks are the first of each stage, lost one after the other in the first ten epochs; their weights
        fall to a hundredth. `more_wrong`: wrong images of the pruned network beyond the gated one's, by batch.
        """
        document = {"dataset": dataset, "depth": depth, "method": method, "epsilon": epsilon, "seed": seed}
        run = Run.model_validate({**document, "weight_decay": weight_decay, "variant": variant})
        self.registry.runs[run.key] = run
        experiment = self.registry.experiment_of(run, self.layout)
        stages = list(zip(kept or experiment.blocks, experiment.blocks, strict=True))
        gone = [index < whole - some for some, whole in stages for index in range(whole)]
        write_metrics(experiment, gone, error, more_wrong, others)
        self.write_discarded(run.key, [min(sum(gone), sum(gone) * epoch // LOST) for epoch in range(1, EPOCHS + 1)])
        self.write_weights(run.key, gone, [0.01] * sum(gone))
        return run.key

    def finish_seeds(self, *run: Any, errors: tuple[float, ...] = (0.05,) * LEAST_SEEDS, **others: Any) -> list[str]:
        """Writes the results of as many seeds as there are errors."""
        return [self.finish(*run, seed=seed, error=error, **others) for seed, error in enumerate(errors)]

    def write_discarded(self, key: str, counts: list[int], rates: list[float] | None = None) -> None:
        rates = rates or [0.1] * len(counts)
        rows = [f"{n},{rate},{count}" for n, (rate, count) in enumerate(zip(rates, counts, strict=True), start=1)]
        write_text(self.layout.run(key).history, "\n".join(["epoch,rate,discarded", *rows]) + "\n")

    def write_weights(self, key: str, gone: list[bool], left: list[float]) -> None:
        """`left`: of each discarded block, what is left of its largest weight at the end."""
        largest, closed = np.ones((EPOCHS, len(gone))), np.zeros((EPOCHS, len(gone)), dtype=np.int64)
        largest[-1, gone] = left
        closed[LOST:, gone] = 1
        percentiles = np.stack([-largest, -largest, largest, largest, largest], axis=2)
        write_blocks(self.layout.run(key).blocks, closed, largest, 1, percentiles)

    def plan_only_what_finishes(self) -> None:
        """Empties the registry: what is finished from here on is all that is planned."""
        self.registry.runs.clear()

    def claim(self, number: int, dataset: str = "cifar10", against: str = "standard network") -> Claim:
        found = [c for c in claims(self.registry, self.layout) if (c.number, c.dataset) == (number, dataset)]
        return next(c for c in found if number != 1 or against in c.statement)


def write_metrics(
    experiment: Experiment, gone: list[bool], error: float, more_wrong: tuple[int, ...], others: dict[str, Any]
) -> None:
    pruned = [round(error * IMAGES) // BATCHES] * BATCHES
    pruned[0] += round(error * IMAGES) - sum(pruned)
    more = [*more_wrong, *[0] * (BATCHES - len(more_wrong))]
    wrong = WrongPerBatch(gated=[p - m for p, m in zip(pruned, more, strict=True)], pruned=pruned)
    agreement = Agreement(
        images=IMAGES,
        equal=IMAGES,
        batches=BATCHES,
        batches_with_other_gates=0,
        kept_gates_that_closed=0,
        discarded_gates_that_opened=0,
        flickered_in_training=0,
    )
    found = Measured(sum(wrong.gated) / IMAGES, error, 0.0, 0.0, agreement, wrong)
    latest = Latest(epoch=EPOCHS, discarded=sum(gone), flickered=0, gated=error, pruned=error)
    history = pd.DataFrame({"epoch": [EPOCHS], "test_error": [error], "discarded": [sum(gone)]})
    digests = {"model_sha256": "0" * 64, "pruned_sha256": "0" * 64}
    metrics = metrics_of(experiment, EPOCHS, True, gone, found, latest, history, None, {}, digests)
    removed = {"parameters_removed": others.pop("removed")} if "removed" in others else {}
    parameters = {"parameters": others.pop("parameters")} if "parameters" in others else {}
    changed = {
        "compression": metrics.compression.model_copy(update=removed),
        "after": metrics.after.model_copy(update=parameters),
        **others,
    }
    records.write(experiment.files.metrics, metrics.model_copy(update=changed))


@pytest.fixture
def bench(experiments: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    layout = Layout(tmp_path)
    monkeypatch.setattr(state, "state", lambda e: "done" if e.files.metrics.exists() else "missing")
    return Bench(experiments.model_copy(update={"runs": dict(experiments.runs)}), layout)


def changed_data(bench: Bench, **changes: Any) -> None:
    """CIFAR-10 in the bench's registry, with these of its keys changed."""
    data = bench.registry.datasets["cifar10"].model_copy(update=changes)
    bench.registry = bench.registry.model_copy(update={"datasets": {**bench.registry.datasets, "cifar10": data}})


def test_every_claim_is_made_on_every_data_set_and_nothing_is_claimed_without_runs(bench: Bench) -> None:
    found = claims(bench.registry, bench.layout)
    for dataset in bench.registry.datasets:
        numbers = [claim.number for claim in found if claim.dataset == dataset]
        assert sorted(set(numbers)) == list(range(1, 13))
        ways = 2 if dataset == "cifar10-cpu" else 1  # to train a baseline
        assert (numbers.count(1), numbers.count(7)) == (2 * ways, ways)
    assert {claim.verdict for claim in found} == {"not run"}
    assert not any(claim.runs for claim in found)


def test_a_claim_says_how_many_runs_are_finished_while_only_some_are(bench: Bench) -> None:
    assert bench.claim(8).progress is None
    others = {key: run for key, run in bench.registry.runs.items() if run.dataset != "cifar10"}
    bench.registry = bench.registry.model_copy(update={"runs": others})
    keys = bench.finish_seeds("cifar10", 20, "epsilon_side", epsilon=2.5)
    assert (bench.claim(8).progress, bench.claim(8, "cifar100").progress) == (None, None)
    bench.layout.run(keys[0]).metrics.unlink()
    assert bench.claim(8).progress == "2 of 3 runs finished"
    assert (bench.claim(8).remark or "").startswith("2 of 3 runs finished: verdicts may change.")


SPREAD = (-0.0005, 0.0002, 0.0003)


def around(error: float) -> tuple[float, ...]:
    return tuple(error + some for some in SPREAD)


@pytest.mark.parametrize(
    ("gated", "verdict"), [(0.05, "supported"), (0.06, "supported"), (0.0618, "undecided"), (0.07, "contradicted")]
)
def test_claim_1_allows_for_three_percent_of_the_baselines_error(bench: Bench, gated: float, verdict: str) -> None:
    bench.plan_only_what_finishes()
    keys: list[str] = []
    for depth in (110, 200):
        keys += bench.finish_seeds("cifar10", depth, "epsilon_side", [18, 16, 8], 2.5, errors=around(gated))
        keys += bench.finish_seeds("cifar10", depth, "standard", errors=around(0.06))
    claim = bench.claim(1)
    assert (claim.verdict, claim.runs) == (verdict, tuple(keys))
    assert "power if there is none" in claim.evidence
    assert bench.claim(1, against="side head").verdict == "not run"  # no standard_side to compare with


@pytest.mark.parametrize(
    ("gated", "way", "count"),
    [((0.0616, 0.0616), "for", 2), ((0.061, 0.0624), "for", 1), ((0.0621, 0.0617), "against", 1)],
)
def test_an_undecided_claim_1_says_which_way_its_mean_points_and_at_how_many_depths(
    bench: Bench, gated: tuple[float, float], way: Literal["for", "against"], count: int
) -> None:
    bench.plan_only_what_finishes()
    for depth, error in zip((110, 200), gated, strict=True):
        bench.finish_seeds("cifar10", depth, "epsilon_side", None, 2.5, errors=around(error))
        bench.finish_seeds("cifar10", depth, "standard", errors=around(0.06))
    assert (bench.claim(1).verdict, bench.claim(1).leaning) == ("undecided", Leaning(way, count, 2, "place"))


def test_a_claim_that_is_decided_leans_nowhere(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, errors=around(0.04))
    bench.finish_seeds("cifar10", 110, "standard", errors=around(0.06))
    assert bench.claim(1).leaning is None


def test_runs_that_differ_and_rows_that_rise_or_fall_say_which_way_they_point() -> None:
    assert str(leaning(0.2, [0.3, -0.1], "run")) == "1 of 2 runs for"
    assert str(leaning(0.2, [0.3], "run")) == "1 of 1 run for"
    assert leaning(0, [1, -1], "run") is None
    assert trend([[0.1, 0.2], [0.2, 0.1], [0.3, 0.4]], "seed") == Leaning("for", 2, 3, "seed")
    assert trend([[0.1, 0.2], [0.2, 0.1], [0.4, 0.3]], "seed") == Leaning("against", 2, 3, "seed")


def test_claim_1_is_one_estimate_over_all_depths(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    for depth, gated in ((110, 0.054), (200, 0.063)):  # better at one depth, worse at the other, better on average
        bench.finish_seeds("cifar10", depth, "epsilon_side", [18, 16, 8], 2.5, errors=around(gated))
        bench.finish_seeds("cifar10", depth, "standard", errors=around(0.06))
    claim = bench.claim(1)
    assert claim.verdict == "supported"
    assert "difference of errors -0.15 points" in claim.evidence
    assert "depth 200, ε 2.5: 6.30% against 6.00% (n 3 and 3), p 0.99" in claim.evidence


def test_claim_1_is_undecided_until_every_depth_has_enough_seeds_of_both(bench: Bench) -> None:
    for depth, seeds in ((110, 3), (200, 2)):
        bench.finish_seeds("cifar10", depth, "epsilon_side", None, 2.5, errors=around(0.01)[:seeds])
        bench.finish_seeds("cifar10", depth, "standard", errors=around(0.09))
    claim = bench.claim(1)
    assert claim.verdict == "undecided"
    assert "a verdict needs 3 seeds of each network; not run: depth 500, ε 2.5" in claim.evidence


def test_claim_1_is_undecided_while_a_depth_of_the_registry_has_no_runs_and_holm_counts_it(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    for depth in (110, 200):
        keys = bench.finish_seeds("cifar10", depth, "epsilon_side", None, 2.5, errors=around(0.05))
        bench.finish_seeds("cifar10", depth, "standard", errors=around(0.06))
    whole = bench.claim(1)
    for key in keys:
        bench.layout.run(key).metrics.unlink()
    claim = bench.claim(1)
    assert (whole.verdict, claim.verdict, str(claim.leaning)) == ("supported", "undecided", "1 of 1 place for")
    assert claim.evidence.endswith("; not run: depth 200, ε 2.5")
    p = re.search(r"depth 110, .*?, p [\d.e-]+", whole.evidence)
    assert p is not None
    assert p[0] in claim.evidence


def test_claim_1_is_judged_by_the_baselines_of_the_decay_chosen_beforehand_alone(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, errors=around(0.05))
    bench.finish_seeds("cifar10", 110, "standard", None, None, errors=around(0.09))
    bench.finish_seeds("cifar10", 110, "standard", None, None, errors=around(0.03), weight_decay=0.0004)
    assert bench.claim(1).verdict == "supported"
    changed_data(bench, baseline_decay=0.0004)
    assert bench.claim(1).verdict == "contradicted"


def test_claim_1_is_judged_against_each_way_to_train_a_baseline(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    long = Variant(title="as many steps", recipe={"epochs": {"standard": 1000, "epsilon": 1000}})
    changed_data(bench, variants={"long": long})
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, errors=around(0.05))
    bench.finish_seeds("cifar10", 110, "standard", errors=around(0.06))
    bench.finish_seeds("cifar10", 110, "standard", errors=around(0.04), variant="long")
    assert bench.claim(1, against="standard network (by the paper's protocol").verdict == "supported"
    assert bench.claim(1, against="standard network (as many steps").verdict == "contradicted"


def test_the_margin_is_what_the_paper_itself_calls_marginal_rounded_up() -> None:
    table = pd.read_csv(PROJECT / "paper_tables/published/published.csv")
    rows = table[(table["figure"] == "6d") & (table["metric"] == "top1_error")]
    losses = []
    for depth, epsilon in ((101, 2.0), (152, 1.8)):
        at = rows[rows["depth"] == depth]
        gated, plain = at[at["epsilon"] == epsilon]["value"].iloc[0], at[at["method"] == "standard"]["value"].iloc[0]
        losses.append(gated / plain - 1)
    assert losses == pytest.approx([0.021, 0.029], abs=5e-4)
    assert math.ceil(100 * max(losses)) / 100 == MARGINAL_LOSS


def test_claim_2_asks_for_a_trend_over_depths_and_no_single_step_decides(bench: Bench) -> None:
    for depth, kept in ((110, [18, 16, 8]), (200, [25, 20, 15]), (500, [40, 30, 20])):
        bench.finish_seeds("cifar10", depth, "epsilon_side", kept, 2.5)
    claim = bench.claim(2)
    assert claim.verdict == "supported"
    assert "Page's test over 3 rows" in claim.evidence
    bench.finish_seeds("cifar10", 752, "epsilon_side", [60, 60, 60], 2.5)  # less than at 500, more than at 110
    assert bench.claim(2).verdict == "supported"


def test_claim_2_is_contradicted_by_a_falling_trend_and_undecided_with_two_seeds(bench: Bench) -> None:
    for depth, kept in ((110, [5, 5, 5]), (200, [20, 20, 20]), (500, [70, 70, 70])):
        bench.finish_seeds("cifar10", depth, "epsilon_side", kept, 2.5)
    assert bench.claim(2).verdict == "contradicted"
    for depth, kept in ((110, [18, 16, 8]), (200, [18, 10, 5]), (500, [40, 30, 20])):
        bench.finish_seeds("cifar100", depth, "epsilon_side", kept, 2.5, errors=(0.05, 0.05))
    assert bench.claim(2, "cifar100").verdict == "undecided"


def test_claim_2_does_not_compare_depths_of_different_epsilons(bench: Bench) -> None:
    bench.finish("imagenet", 101, "epsilon_side", [3, 4, 20, 3], 2.0)
    bench.finish("imagenet", 152, "epsilon_side", [3, 8, 20, 3], 1.8)
    assert bench.claim(2, "imagenet").verdict == "not run"


def test_other_decays_are_no_further_seeds(bench: Bench) -> None:
    for decay in (None, 0.0004, 0.0008):
        for depth, kept in ((110, [18, 16, 8]), (200, [18, 10, 5])):
            bench.finish("cifar10", depth, "epsilon_side", kept, 2.5, 0, decay)
    assert bench.claim(2).evidence.count("(n 1)") == 3


def test_claim_3_compares_epsilons_at_one_depth(bench: Bench) -> None:
    bench.finish_seeds("cifar100", 200, "epsilon_side", [32, 30, 30], 2.3)
    bench.finish_seeds("cifar100", 200, "epsilon_side", [32, 23, 29], 2.5)
    bench.finish_seeds("cifar100", 200, "epsilon_side", [32, 20, 20], 2.7)
    assert bench.claim(3, "cifar100").verdict == "supported"
    bench.finish_seeds("cifar10", 200, "epsilon_side", [32, 30, 30], 2.3)
    bench.finish_seeds("cifar10", 200, "epsilon_side", [32, 30, 30], 2.5)  # as many
    assert bench.claim(3).verdict == "undecided"


@pytest.mark.parametrize(
    ("kept", "verdict"),
    [
        ([18, 16, 8], "supported"),
        ([16, 18, 8], "undecided"),  # the last stage loses most, but the second less than the first
        (None, "undecided"),  # nothing discarded: no stage more than another
        ([8, 16, 18], "contradicted"),
    ],
)
def test_claim_4_asks_for_a_trend_over_stages(bench: Bench, kept: list[int] | None, verdict: str) -> None:
    assert bench.claim(4).verdict == "not run"
    bench.finish_seeds("cifar10", 110, "epsilon_side", kept, 2.5)
    assert bench.claim(4).verdict == verdict


def test_claim_4_is_undecided_where_one_stage_alone_makes_the_trend(bench: Bench) -> None:
    bench.finish_seeds("cifar10", 110, "epsilon_side", [14, 16, 0], 2.5, errors=(0.05,) * 12)
    claim = bench.claim(4)
    assert judge_rows([[0.22, 0.11, 1.0]] * 12)[0] == "supported"
    assert claim.verdict == "undecided"
    assert claim.evidence.endswith("of a fall; but stage 2 discards less than stage 1 (p = 0.00049)")  # 2 / 2^12


def test_rows_of_equal_values_decide_nothing_and_two_rows_neither() -> None:
    assert judge_rows([[0.5, 0.5, 0.5]] * 10)[0] == "undecided"
    assert judge_rows([[0.1, 0.2, 0.3, 0.4]] * 2)[0] == "undecided"
    assert judge_rows([[0.1, 0.2, 0.3, 0.4]] * 3)[0] == "supported"
    assert judge_rows([[0.4, 0.3, 0.2, 0.1]] * 3)[0] == "contradicted"


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5), st.data())
def test_stages_rise_by_what_they_discard_and_fall_where_more_is_kept(blocks: list[int], data: st.DataObject) -> None:
    kept = [data.draw(st.integers(0, whole)) for whole in blocks]
    rises = stage_rises(kept, blocks)
    assert len(rises) == len(blocks) - 1
    assert sum(rises) == pytest.approx(kept[0] / blocks[0] - kept[-1] / blocks[-1])
    assert stage_rises(blocks, blocks) == [0] * len(rises)


def test_claim_5_asks_for_nine_tenths_of_the_discarded_blocks_below_a_tenth(bench: Bench) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 18, 8], 2.5)  # ten discarded
    gone = [False] * 36 + [True] * 10 + [False] * 8
    assert bench.claim(5).verdict == "supported"
    for left, verdict in (
        ([0.01] * 9 + [1], "supported"),
        ([0.01] * 8 + [1] * 2, "undecided"),
        ([0.2] * 10, "contradicted"),
    ):
        bench.write_weights(key, gone, left)
        assert bench.claim(5).verdict == verdict
    bench.finish("cifar10", 200, "epsilon_side", [33, 33, 8], 2.5)
    assert bench.claim(5).verdict == "undecided"
    assert bench.claim(5).evidence.startswith("so in 1 of 2 runs")


def test_claim_5_leaves_out_blocks_that_had_no_time_to_collapse(bench: Bench) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 18, 8], 2.5)
    bench.write_discarded(key, [10] * EPOCHS, [0.1] * 20 + [0.01] * 40)  # 10 epochs at the full rate: 1.1 e-foldings
    assert bench.claim(5).verdict == "not run"


def test_e_foldings_are_rate_times_decay_over_the_steps_since_a_gate_closed_for_good(bench: Bench) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 18, 8], 2.5)
    experiment = bench.registry.experiment_of(bench.registry.runs[key], bench.layout)
    metrics = records.read(Metrics, experiment.files.metrics)
    assert metrics is not None
    folds = e_folds_since_loss(Result(experiment, metrics))
    assert folds[36] == pytest.approx((EPOCHS - LOST) * 390 * 0.1 * 2e-4 / (1 - 0.9))
    assert folds[0] == 0  # open to the end


def slowly(values: list[Any]) -> list[Any]:
    """A trace of ten values drawn out to a whole training."""
    return [value for value in values for _ in range(EPOCHS // len(values))]


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
    bench.write_discarded(key, slowly(counts))
    claim = bench.claim(6)
    assert claim.verdict == verdict
    assert claim.evidence.startswith("so in 1 of 1 runs") == (verdict == "supported")


def test_claim_6_is_undecided_where_the_last_fifth_has_no_epoch_at_the_full_rate(bench: Bench) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)
    rates = slowly([0.1] * 8 + [0.01] * 2)
    bench.write_discarded(key, slowly([0, 5, 10, 12, 12, 12, 12, 12, 12, 12]), rates)
    assert bench.claim(6).verdict == "undecided"
    bench.write_discarded(key, slowly([0, 1, 2, 3, 4, 6, 8, 9, 8, 12]), rates)
    assert bench.claim(6).verdict == "contradicted"  # it changes all the same


@pytest.mark.parametrize(("removed", "verdict"), [(0.918, "supported"), (0.70, "undecided")])
def test_claim_7_is_about_parameters_and_some_instance_without_loss(bench: Bench, removed: float, verdict: str) -> None:
    bench.finish_seeds("cifar10", 752, "epsilon_side", [36, 22, 6], 2.5, errors=around(0.05), removed=removed)
    bench.finish_seeds("cifar10", 752, "standard", errors=around(0.05))
    assert bench.claim(7).verdict == verdict
    if verdict == "supported":
        bench.finish_seeds("cifar10", 752, "standard", errors=around(0.045))
        assert bench.claim(7).verdict == "undecided"  # it errs more than the margin allows, and not all runs are done


def test_claim_7_is_judged_against_each_way_to_train_the_standard_network(bench: Bench) -> None:
    long = Variant(title="as many steps", recipe={"epochs": {"standard": 1000, "epsilon": 1000}})
    changed_data(bench, variants={"long": long})
    bench.finish_seeds("cifar10", 752, "epsilon_side", [36, 22, 6], 2.5, errors=around(0.05), removed=0.9)
    bench.finish_seeds("cifar10", 752, "standard", errors=around(0.06))
    bench.finish_seeds("cifar10", 752, "standard", errors=around(0.04), variant="long")
    found = [claim for claim in claims(bench.registry, bench.layout) if (claim.number, claim.dataset) == (7, "cifar10")]
    assert [claim.verdict for claim in found] == ["supported", "undecided"]
    assert found[1].statement.endswith("(as many steps)")


def test_claim_7_counts_every_depth_and_way_of_the_registry_as_a_test_finished_or_not(bench: Bench) -> None:
    def p_of_a_loss(errors: tuple[float, ...]) -> float:
        bench.finish_seeds("cifar10", 752, "epsilon_side", [36, 22, 6], 2.5, errors=errors, removed=0.9)
        bench.finish_seeds("cifar10", 752, "standard", errors=around(0.05))
        found = re.search(r"depth 752.*p of a loss beyond the margin ([\d.e-]+)", bench.claim(7).evidence)
        assert found is not None
        return float(found[1])

    bench.plan_only_what_finishes()
    changed_data(bench, variants={"long": Variant(title="as many steps", recipe={})})
    alone = p_of_a_loss(around(0.05))
    for way in (None, "long"):
        bench.finish("cifar10", 110, "standard", variant=way)
    bench.finish("cifar10", 110, "epsilon_side", None, 2.5)
    assert p_of_a_loss(around(0.05)) == pytest.approx(3 * alone, rel=0.05)  # 752, 110 and, in the other way, 110


def test_claim_7_is_not_contradicted_while_a_baseline_is_not_run(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    for depth in (110, 752):
        bench.finish_seeds("cifar10", depth, "epsilon_side", [16, 16, 6], 2.5, errors=around(0.09), removed=0.9)
        keys = bench.finish_seeds("cifar10", depth, "standard", errors=around(0.05))
    assert bench.claim(7).verdict == "contradicted"
    for key in keys:
        bench.layout.run(key).metrics.unlink()
    assert bench.claim(7).verdict == "undecided"
    assert bench.claim(7).evidence.endswith("; not all runs are finished")


def test_a_baseline_that_stands_at_two_places_counts_its_seeds_once(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, errors=around(0.05))
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.0, errors=around(0.05))
    bench.finish_seeds("cifar10", 110, "standard", errors=around(0.06))
    results = finished(bench.registry, bench.layout)
    small, large, baseline = (
        [result for result in results if result.run.epsilon == epsilon] for epsilon in (2.0, 2.5, None)
    )
    shared = excess([Pairing("2.0", small, baseline), Pairing("2.5", large, baseline)], margin=0.0)
    variance = float(np.var(SPREAD, ddof=1))  # of every arm
    assert shared.error == pytest.approx(math.sqrt(variance / LEAST_SEEDS * (0.5**2 + 0.5**2 + 1)))


def test_claims_5_and_8_leave_out_other_ways_to_train(bench: Bench) -> None:
    changed_data(bench, variants={"fixed": Variant(title="no restarts", recipe={"adaptive_steps": None})})
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)
    bad = bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, variant="fixed", more_wrong=(1,) * 9)
    gone = [index < whole - some for some, whole in ((18, 18), (16, 18), (8, 18)) for index in range(whole)]
    bench.write_weights(bad, gone, [1.0] * sum(gone))
    for number in (5, 8):
        claim = bench.claim(number)
        assert claim.verdict == "supported"
        assert bad not in claim.runs


def test_claim_7_is_contradicted_by_all_runs_where_the_paper_has_an_instance(bench: Bench) -> None:
    for run in list(bench.registry.runs.values()):
        if run.dataset in ("cifar10", "svhn") and run.method in ("epsilon_side", "standard"):
            bench.finish(run.dataset, run.depth, run.method, None, run.epsilon, run.seed)
    for dataset, depth in {
        (r.dataset, r.depth) for r in bench.registry.runs.values() if r.dataset in ("cifar10", "svhn")
    }:
        for seed in range(LEAST_SEEDS):
            bench.finish(dataset, depth, "standard", seed=seed)
    for run in [r for r in bench.registry.runs.values() if r.dataset in ("cifar10", "svhn") and r.epsilon]:
        for seed in range(LEAST_SEEDS):
            bench.finish(run.dataset, run.depth, run.method, None, run.epsilon, seed)
    assert bench.claim(7, "cifar10").verdict == "contradicted"
    assert bench.claim(7, "svhn").verdict == "undecided"


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ((), "supported"),
        ((-3, 2), "supported"),
        ((18,), "undecided"),  # one batch, one gate: no more than one piece of evidence
        ((4, 4, 4, 4), "undecided"),
        ((1, 1, 1, 1, 1, 1, 1), "contradicted"),
    ],
)
def test_claim_8_weighs_batches_as_one_gate_decides_for_a_whole_one(
    bench: Bench, more: tuple[int, ...], verdict: str
) -> None:
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, more_wrong=more)
    claim = bench.claim(8)
    assert claim.verdict == verdict
    assert "holds in 1 of 1 runs" in claim.evidence


def test_claim_8_counts_the_runs_that_it_looks_at(bench: Bench) -> None:
    for seed in range(10):
        bench.finish("cifar10", 110, "epsilon_side", None, 2.5, seed, more_wrong=(1,) * 6)
    assert bench.claim(8).verdict == "undecided"  # p is 1/64 in each run, and 10 are looked at
    bench.finish("cifar10", 110, "epsilon_side", None, 2.5, 10, more_wrong=(1,) * 12)
    assert bench.claim(8).verdict == "contradicted"


CHOSEN = "chosen on a split of the training images to show blocks vanish"


def test_what_is_special_about_the_runs_is_said_beside_the_claim(bench: Bench) -> None:
    bench.finish("digits", 20, "epsilon_side", [3, 3, 1], 2.5)
    remark = bench.claim(4, "digits").remark
    assert remark is not None
    assert CHOSEN in remark
    bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, data_differs="half of it", settled=False)
    remark = bench.claim(4).remark
    assert remark is not None
    assert "An altered copy of the data: half of it." in remark
    assert "Never settled" in remark
    assert bench.claim(4, "svhn").remark is None


def as_long(bench: Bench) -> None:
    """Baselines of CIFAR-10 are trained for as many epochs as gated networks."""
    recipe = bench.registry.datasets["cifar10"].recipe
    changed_data(bench, recipe=recipe.model_copy(update={"epochs": Epochs(standard=1000, epsilon=1000)}))


@pytest.mark.parametrize(("shallow", "verdict"), [(0.09, "supported"), (0.06, "undecided"), (0.03, "contradicted")])
def test_claim_9_compares_with_the_smallest_network_that_is_as_large_and_trained_as_long(
    bench: Bench, shallow: float, verdict: str
) -> None:
    bench.plan_only_what_finishes()
    as_long(bench)  # 300,000 parameters lie between 20 layers (269,722) and 26
    bench.finish_seeds("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, errors=around(0.06), parameters=300_000)
    assert bench.claim(9).verdict == "not run"
    assert "(300,000 to 300,000 parameters) against depth 26 (366,938)" in bench.claim(9).evidence
    bench.finish_seeds("cifar10", 20, "standard", errors=around(shallow))
    assert bench.claim(9).verdict == "not run"
    bench.finish_seeds("cifar10", 26, "standard", errors=around(shallow))
    claim = bench.claim(9)
    assert claim.verdict == verdict
    assert len(claim.runs) == 2 * LEAST_SEEDS


def test_claim_9_leaves_out_a_network_of_which_hardly_anything_was_pruned(bench: Bench) -> None:
    as_long(bench)
    bench.finish_seeds("cifar10", 26, "epsilon_side", None, 2.5, parameters=300_000)
    bench.finish_seeds("cifar10", 26, "standard")
    assert bench.claim(9).evidence == "no pruned network is as small as a shallower one"


@pytest.mark.parametrize(("without", "verdict"), [(0.07, "supported"), (0.06, "undecided"), (0.05, "contradicted")])
def test_claim_10_compares_with_the_same_network_whose_rate_nothing_restarts(
    bench: Bench, without: float, verdict: str
) -> None:
    changed_data(bench, variants={"fixed": Variant(title="no restarts", recipe={"adaptive_steps": None})})
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, errors=around(0.06))
    assert bench.claim(10).verdict == "not run"
    bench.finish_seeds("cifar10", 110, "epsilon_side", None, 2.5, errors=around(without), variant="fixed")
    assert bench.claim(10).verdict == verdict


def test_claims_9_and_11_are_undecided_while_a_place_of_the_registry_has_no_runs(bench: Bench) -> None:
    as_long(bench)
    bench.finish_seeds("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5, errors=around(0.06), parameters=300_000)
    for depth in (26, 110):
        bench.finish_seeds("cifar10", depth, "standard", errors=around(0.09))
    bench.finish_seeds("cifar10", 110, "standard_side", errors=around(0.06))
    for number in (9, 11):
        assert (bench.claim(number).verdict, str(bench.claim(number).leaning)) == ("undecided", "1 of 1 place for")
        assert "; not run: depth" in bench.claim(number).evidence


def test_claim_11_compares_the_standard_network_with_and_without_side_head_of_one_decay(bench: Bench) -> None:
    bench.plan_only_what_finishes()
    bench.finish_seeds("cifar10", 110, "standard_side", errors=around(0.05))
    bench.finish_seeds("cifar10", 110, "standard", errors=around(0.06), weight_decay=0.0004)
    assert bench.claim(11).verdict == "not run"
    bench.finish_seeds("cifar10", 110, "standard", errors=around(0.06))
    assert bench.claim(11).verdict == "supported"


def test_claim_12_asks_whether_the_rate_is_at_its_lowest_when_the_training_ends(bench: Bench) -> None:
    key = bench.finish("cifar10", 110, "epsilon_side", [18, 16, 8], 2.5)
    bench.write_discarded(key, [12] * EPOCHS, [0.1] * 50 + [0.001] * 10)
    assert bench.claim(12).verdict == "supported"
    bench.write_discarded(key, [12] * EPOCHS, [0.001] * 50 + [0.1] * 10)
    assert bench.claim(12).verdict == "contradicted"


@given(st.integers(1, 2_000_000))
def test_the_shallow_network_is_the_smallest_that_is_large_enough(parameters: int) -> None:
    experiments = registry.load(PROJECT / "config/experiments.yaml")

    def size(depth: int) -> int:
        run = Run.model_validate({"dataset": "cifar10", "depth": depth, "method": "standard"})
        experiment = experiments.experiment_of(run, Layout())
        return size_of(architecture_of(experiment), experiment.data.size).parameters

    depth, its_parameters = depth_of_size(experiments.datasets["cifar10"], parameters)
    assert its_parameters == size(depth) >= parameters
    assert depth == 8 or size(depth - 6) < parameters

"""Every published number gets one comparison: where ours comes from, and what keeps the two from being compared."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from eps_resnet import cli, compare, provenance, published
from eps_resnet.compare import Comparison
from eps_resnet.errors import UserError
from eps_resnet.files import write_json, write_text
from eps_resnet.layout import Layout
from eps_resnet.networks.architecture import blocks_of
from eps_resnet.registry import Registry

DEEPEST = "cifar10-752-epsilon_side-2p5-s0"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """An empty root, in which a run counts as done once `finish` has written its results."""
    root = Layout(tmp_path)
    monkeypatch.setattr(provenance, "state", lambda _r, _l, k: "done" if root.metrics(k).exists() else "missing")
    return root


def finish(
    registry: Registry,
    layout: Layout,
    key: str,
    kept: list[int],
    error: float,
    top5: float | None = None,
    **others: Any,
) -> None:
    """Writes the results of a run as its evaluation would; after epoch e, e of its blocks are discarded."""
    run = registry.runs[key]
    blocks = list(blocks_of(run.depth, registry.datasets[run.dataset].recipe))
    metrics = {
        "data_differs": None,
        "test_images": 10_000,
        "epoch": 900,
        "settled": True,
        "error": {"pruned": error, "gated": error + 0.01}
        | ({} if top5 is None else {"pruned_top5": top5, "gated_top5": top5 + 0.001}),
        "blocks": blocks,
        "kept": kept,
        "compression": {"discarded_ratio": 1 - sum(kept) / sum(blocks)},
        "after": {"size_mib": 3.81},
    }
    write_json(layout.metrics(key), {**metrics, **others})
    rows = [f"{epoch},{error + 0.01 + epoch / 1e6!r},{epoch}" for epoch in range(1, 1001)]
    write_text(layout.history(key), "\n".join(["epoch,test_error,discarded", *rows]) + "\n")


def with_seeds(registry: Registry, key: str, seeds: int) -> tuple[Registry, list[str]]:
    """The registry with so many seeds of a run, and their keys."""
    runs = [registry.runs[key].model_copy(update={"seed": seed}) for seed in range(seeds)]
    added = {run.key: run for run in runs}
    return registry.model_copy(update={"runs": {**registry.runs, **added}}), list(added)


def of(rows: list[Comparison], figure: str, metric: str, **where: Any) -> Comparison:
    [row] = [
        row
        for row in rows
        if (row.figure, row.metric) == (figure, metric) and all(getattr(row, k) == v for k, v in where.items())
    ]
    return row


def test_without_a_run_each_number_is_compared_once_and_only_exact_sizes_are_reproduced(
    experiments: Registry, layout: Layout
) -> None:
    rows = compare.compare(experiments, layout)
    table = published.read(provenance.published_csv(), experiments)
    assert [row.published for row in rows] == table["value"].tolist()
    assert {row.dataset for row in rows} <= set(experiments.datasets)
    assert all(row.reason for row in rows)
    reproduced = [row for row in rows if row.verdict == "reproduced"]
    assert {(row.metric, row.method, row.n_seeds, row.runs) for row in reproduced} == {
        ("param_size_mb", "standard", 0, ())
    }
    assert {row.figure for row in reproduced} == {"7a", "7b", "7d"}
    assert len(reproduced) == 10
    assert not [row for row in rows if row.verdict in ("close", "off")]


def test_imagenet_baselines_are_counted_with_the_side_head_and_without(experiments: Registry, layout: Layout) -> None:
    row = of(compare.compare(experiments, layout), "7d", "param_size_mb", depth=152, method="standard")
    assert row.ours == pytest.approx(233.5, abs=0.05)
    assert row.other_reading == pytest.approx(229.6, abs=0.05)


def test_a_finished_run_is_set_beside_each_of_its_published_numbers(experiments: Registry, layout: Layout) -> None:
    finish(experiments, layout, DEEPEST, [36, 22, 6], 0.0522)
    rows = [row for row in compare.compare(experiments, layout) if row.runs]
    assert {row.runs for row in rows} == {(DEEPEST,)}
    assert {row.n_seeds for row in rows} == {1}
    assert {row.verdict for row in rows} == {"close", "off"}  # a single seed
    error = of(rows, "6a", "val_error")
    assert error.ours == 0.0522
    assert error.low is not None
    assert error.high is not None
    assert error.low < 0.0522 < error.high
    assert of(rows, "6e", "discarded_ratio").ours == pytest.approx(311 / 375)
    size = of(rows, "7a", "param_size_mb")
    assert size.ours == pytest.approx(46.273 * 64 / 375, rel=1e-4)
    assert size.other_reading == 3.81
    assert [of(rows, "10a", "kept_fraction", group=g).ours for g in (1, 2, 3)] == [36 / 125, 22 / 125, 6 / 125]
    assert of(rows, "9", "discarded_ratio", epoch=100).ours == pytest.approx(100 / 375)
    assert of(rows, "9", "discarded_ratio", epoch=100).verdict == "off"  # .27 against .51


def test_three_seeds_reproduce_a_number_and_their_mean_is_ours(experiments: Registry, layout: Layout) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 3)
    for key, error, kept in zip(keys, (0.0512, 0.0522, 0.0532), (5, 6, 7), strict=True):
        finish(registry, layout, key, [36, 22, kept], error)
    rows = compare.compare(registry, layout)
    error = of(rows, "6a", "val_error", depth=752, method="epsilon_side")
    assert (error.verdict, error.n_seeds, error.runs) == ("reproduced", 3, tuple(keys))
    assert error.ours == pytest.approx(0.0522)
    assert error.low == pytest.approx(0.0522 - 4.303 * 0.001 / 3**0.5, rel=1e-3)  # Student's t, two degrees
    assert of(rows, "6e", "discarded_ratio", depth=752, dataset="cifar10").verdict == "reproduced"


def test_one_unsettled_seed_keeps_a_number_from_being_reproduced(experiments: Registry, layout: Layout) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 3)
    for key, error in zip(keys, (0.0512, 0.0522, 0.0532), strict=True):
        finish(registry, layout, key, [36, 22, 6], error, settled=key != keys[1])
    row = of(compare.compare(registry, layout), "6a", "val_error", depth=752, method="epsilon_side")
    assert row.verdict == "close"
    assert "never settled" in row.reason


def test_errors_of_imagenet_at_the_evaluated_epoch_include_top_5(experiments: Registry, layout: Layout) -> None:
    key = "imagenet-101-epsilon_side-2p0-s0"
    finish(experiments, layout, key, [2, 3, 19, 2], 0.23, epoch=110, top5=0.067)
    rows = [row for row in compare.compare(experiments, layout) if row.runs]
    assert of(rows, "6d", "top1_error").ours == 0.23
    assert of(rows, "6d", "top5_error").ours == 0.067
    assert of(rows, "README imagenet-val-error.png", "top5_error").ours == 0.068
    assert of(rows, "7d", "param_size_mb").ours == pytest.approx(173.83 * 26 / 33, rel=1e-4)  # with the side head
    finish(experiments, layout, key, [2, 3, 19, 2], 0.23, epoch=110)  # measured before there was a top-5 error
    row = of(compare.compare(experiments, layout), "6d", "top5_error", epsilon=2.0)
    assert (row.verdict, row.reason) == ("not run", "the finished runs did not measure top5_error")


@pytest.mark.parametrize(
    ("figure", "metric", "where", "reason"),
    [
        ("7c", "param_size_mb", {"depth": 302, "method": "standard"}, "Figure 7b"),
        ("7c", "param_size_mb", {"depth": 110, "method": "epsilon_side"}, "Figure 7b"),
        ("README comment", "discarded_ratio", {"published": 0.181818}, "does not say which epsilon"),
        ("README cifar10-val-error.png", "val_error", {"method": "standard"}, "epoch 300 lies beyond the 200"),
        ("9", "discarded_ratio", {"dataset": "cifar10", "epoch": 0}, "by definition"),
    ],
)
def test_a_number_that_means_something_else_is_not_comparable(
    experiments: Registry, layout: Layout, figure: str, metric: str, where: dict[str, Any], reason: str
) -> None:
    row = of(compare.compare(experiments, layout), figure, metric, **where)
    assert row.verdict == "not comparable"
    assert reason in row.reason


def test_an_altered_copy_of_the_data_is_not_comparable_and_says_how(experiments: Registry, layout: Layout) -> None:
    finish(experiments, layout, DEEPEST, [36, 22, 6], 0.0522, data_differs="half of the training images")
    row = of(compare.compare(experiments, layout), "6a", "val_error", depth=752, method="epsilon_side")
    assert (row.verdict, row.ours) == ("not comparable", 0.0522)
    assert "half of the training images" in row.reason


def test_a_decay_of_its_own_is_not_comparable_and_does_not_mix_with_the_papers(
    experiments: Registry, layout: Layout
) -> None:
    other = experiments.runs[DEEPEST].model_copy(update={"weight_decay": 0.001})
    registry = experiments.model_copy(update={"runs": {**experiments.runs, other.key: other}})
    finish(registry, layout, other.key, [36, 22, 6], 0.06)

    def row() -> Comparison:
        return of(compare.compare(registry, layout), "6a", "val_error", depth=752, method="epsilon_side")

    assert row().verdict == "not comparable"
    assert "weight_decay 0.001 instead of 0.0002" in row().reason
    finish(registry, layout, DEEPEST, [36, 22, 6], 0.0522)
    assert (row().ours, row().verdict) == (0.0522, "close")


def test_the_registrys_recipes_are_those_of_the_paper(experiments: Registry) -> None:
    for run in experiments.runs.values():
        data = experiments.datasets[run.dataset]
        if data.published_name:
            assert published.recipe_difference(data, data.recipe, run) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rate_steps": (82,)}, "rate_steps"),
        ({"batch": 64}, "batch"),
        ({"epochs": {"standard": 200, "epsilon": 10}}, "epochs 10 instead of 1000"),
        ({"augmentation": {}}, "augmentation"),
    ],
)
def test_a_reduced_recipe_is_named(experiments: Registry, change: dict[str, Any], named: str) -> None:
    data = experiments.datasets["cifar10"]
    recipe = type(data.recipe).model_validate({**data.recipe.model_dump(), **change})
    difference = published.recipe_difference(data, recipe, experiments.runs[DEEPEST])
    assert difference is not None
    assert named in difference


def published_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published numbers that the test may change, used instead of the project's."""
    path = Path(shutil.copy(provenance.published_csv(), folder / "published.csv"))
    monkeypatch.setattr(provenance, "published_csv", lambda: path)
    return path


@pytest.mark.parametrize(
    "change", [{"figure": "11"}, {"depth": 116}, {"dataset": "CIFAR-11"}, {"method": "epsilon_side", "epsilon": 9.9}]
)
def test_a_published_number_that_no_figure_claims_is_an_error_that_names_its_line(
    experiments: Registry, layout: Layout, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    path = published_file(layout.root, monkeypatch)
    table = pd.read_csv(path)
    table.loc[4, list(change)] = list(change.values())
    table.to_csv(path, index=False)
    with pytest.raises(UserError, match=r"line 6: no figure of the registry claims this number"):
        compare.compare(experiments, layout)


def test_a_registry_without_the_papers_data_sets_shows_them_as_not_run(small: tuple[Registry, Layout]) -> None:
    rows = compare.compare(*small)
    assert len(rows) == 253
    assert {row.verdict for row in rows} == {"not run"}


def test_the_identity_of_a_comparable_number_is_its_own(experiments: Registry, layout: Layout) -> None:
    rows = [row for row in compare.compare(experiments, layout) if row.verdict != "not comparable"]
    assert len({compare.identity(row) for row in rows}) == len(rows)


def test_strict_fails_on_a_number_that_was_reproduced_and_no_longer_is(
    experiments: Registry, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_file(layout.root, monkeypatch)
    registry, keys = with_seeds(experiments, DEEPEST, 3)
    monkeypatch.setattr("eps_resnet.registry.load", lambda _path: registry)

    def eps(*options: str) -> Any:
        return CliRunner().invoke(cli.app, ["compare", *options, "--root", str(layout.root)])

    for key, error in zip(keys, (0.0512, 0.0522, 0.0532), strict=True):
        finish(registry, layout, key, [36, 22, 6], error)
    assert eps("--strict").exit_code == 0  # nothing is recorded
    assert eps("--record", "--strict").exit_code == 0
    before = compare.recorded()
    assert ("6a", "cifar10", "752", "2.5", "epsilon_side", "val_error", "", "", "digitised") in before
    finish(registry, layout, keys[0], [36, 22, 6], 0.2)
    failed = eps("--record", "--strict")
    assert failed.exit_code == 1
    assert "6a cifar10 752 2.5 epsilon_side val_error digitised: now off" in str(failed.exception)
    assert compare.recorded() == before  # the record only grows


def test_a_damaged_record_is_an_error_that_says_what_was_expected(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_file(layout.root, monkeypatch)
    compare.record_path().write_text("figure;dataset\n6a;cifar10\n")
    with pytest.raises(UserError, match="expected the columns figure, dataset"):
        compare.recorded()


def test_a_line_per_number_and_the_counts_per_verdict_are_printed(layout: Layout) -> None:
    lines = CliRunner().invoke(cli.app, ["compare", "--root", str(layout.root)]).output.splitlines()
    assert len(lines) == 1 + 253 + 1
    assert lines[-1] == "253 numbers: 10 reproduced, 0 close, 0 off, 224 not run, 19 not comparable"


def test_a_run_of_any_seed_belongs_to_a_number(experiments: Registry, layout: Layout) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 2)
    finish(registry, layout, keys[1], [36, 22, 6], 0.0522)
    assert of(compare.compare(registry, layout), "6e", "discarded_ratio", depth=752, dataset="cifar10").runs == (
        keys[1],
    )

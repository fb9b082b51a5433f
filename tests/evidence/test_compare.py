"""Every published number gets one comparison: where ours comes from, and what keeps the two from being compared."""

import csv
import io
import json
import re
import shutil
import tempfile
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from eps_resnet import cli
from eps_resnet.data import manifest
from eps_resnet.data.manifest import DataManifest
from eps_resnet.evidence import compare, consistency, published, record
from eps_resnet.evidence.compare import Comparison
from eps_resnet.experiments.experiment import blocks_of
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import Augmentation, Epochs, LateRate, Recipe
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.atomic import write_json, write_text
from eps_resnet.files.errors import UserError
from eps_resnet.provenance import state
from eps_resnet.provenance.records import Metrics, read, write
from tests.conftest import PROJECT

DEEPEST = "cifar10-752-epsilon_side-2p5-s0"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """An empty root, in which a run counts as done once `finish` has written its results."""
    root = Layout(tmp_path)
    monkeypatch.setattr(state, "state", lambda e: "done" if e.files.metrics.exists() else "missing")
    return root


def finish(
    registry: Registry,
    layout: Layout,
    key: str,
    kept: list[int],
    error: float,
    top5: float = 0.05,
    **others: Any,
) -> None:
    """Writes the results of a run as its evaluation would; after epoch e, e of its blocks are discarded."""
    run = registry.runs[key]
    blocks = list(blocks_of(run.depth, registry.datasets[run.dataset].recipe))
    there = read(Metrics, PROJECT / "results/digits-20-standard-s0/metrics.json")
    assert there is not None
    errors = {"final": error, "pruned": error + 0.003, "gated_top5": top5, "pruned_top5": top5 + 0.001}
    metrics = {
        "key": key,
        "test_images": 10_000,
        "epoch": 900,
        "settled": True,
        "error": there.error.model_copy(update=errors),
        "blocks": blocks,
        "kept": kept,
        "compression": there.compression.model_copy(update={"discarded_ratio": 1 - sum(kept) / sum(blocks)}),
        "after": there.after.model_copy(update={"size_mib": 3.81}),
    }
    write(layout.run(key).metrics, there.model_copy(update={**metrics, **others}))
    rows = [f"{epoch},{error + 0.01 + epoch / 1e6!r},{epoch}" for epoch in range(1, 1001)]
    write_text(layout.run(key).history, "\n".join(["epoch,test_error,discarded", *rows]) + "\n")


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
    assert [row.published for row in rows] == [number.value for number in published.numbers()]
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
    assert "without it 229.6 MiB, difference -3.63: off by that reading" in row.reason


def test_an_exact_size_says_that_it_is_weak_evidence(experiments: Registry, layout: Layout) -> None:
    rows = [row for row in compare.compare(experiments, layout) if row.verdict == "reproduced"]
    assert all("weak evidence, as the unit (MiB) was chosen to fit the paper's bars" in row.reason for row in rows)
    assert {row.figure for row in rows if "so was the side head" in row.reason} == {"7d"}


def test_a_finished_run_is_set_beside_each_of_its_published_numbers(experiments: Registry, layout: Layout) -> None:
    finish(experiments, layout, DEEPEST, [36, 22, 6], 0.0522)
    rows = [row for row in compare.compare(experiments, layout) if row.runs]
    assert {row.runs for row in rows} == {(DEEPEST,)}
    assert {row.n_seeds for row in rows} == {1}
    assert {row.verdict for row in rows} == {"close", "off"}  # a single seed
    error = of(rows, "6a", "val_error")
    assert (error.ours, error.other_reading) == (0.0522, 0.0522 + 0.003)
    assert "pruned, in the reported epoch, 5.52%: close by that reading" in error.reason
    assert error.reason.endswith("or the pruned one's")
    assert error.low is not None
    assert error.high is not None
    assert error.low < 0.0522 < error.high
    assert of(rows, "6e", "discarded_ratio").ours == pytest.approx(311 / 375)
    size = of(rows, "7a", "param_size_mb")
    assert size.ours == pytest.approx(46.273 * 64 / 375, rel=1e-4)
    assert size.other_reading == 3.81
    assert "true size 3.81 MiB, difference -4.12: off by that reading" in size.reason
    assert [of(rows, "10a", "kept_fraction", group=g).ours for g in (1, 2, 3)] == [36 / 125, 22 / 125, 6 / 125]
    assert of(rows, "9", "discarded_ratio", epoch=100).ours == pytest.approx(100 / 375)
    assert of(rows, "9", "discarded_ratio", epoch=100).verdict == "off"  # .27 against .51


FIVE = (0.0512, 0.0522, 0.0532, 0.0520, 0.0524)


def test_five_seeds_reproduce_a_number_and_their_mean_is_ours(experiments: Registry, layout: Layout) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 5)
    for key, error, kept in zip(keys, FIVE, (5, 6, 7, 6, 6), strict=True):
        finish(registry, layout, key, [36, 22, kept], error)
    rows = compare.compare(registry, layout)
    error = of(rows, "6a", "val_error", depth=752, method="epsilon_side")
    assert (error.verdict, error.n_seeds, error.runs) == ("reproduced", 5, tuple(keys))
    assert error.ours == pytest.approx(0.0522)
    assert "5.52%: reproduced by that reading" in error.reason
    assert error.low == pytest.approx(0.0522 - 2.776 * stdev(FIVE) / 5**0.5, rel=1e-3)  # Student's t, four degrees
    assert of(rows, "6e", "discarded_ratio", depth=752, dataset="cifar10").verdict == "reproduced"


def test_one_unsettled_seed_keeps_a_share_from_being_reproduced_but_no_error_of_the_last_epoch(
    experiments: Registry, layout: Layout
) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 5)
    for key, error in zip(keys, FIVE, strict=True):
        finish(registry, layout, key, [36, 22, 6], error, settled=key != keys[1])
    rows = compare.compare(registry, layout)
    share = of(rows, "6e", "discarded_ratio", depth=752, dataset="cifar10")
    assert share.verdict == "close"
    assert "never settled" in share.reason
    error = of(rows, "6a", "val_error", depth=752, method="epsilon_side")
    assert error.verdict == "reproduced"
    assert "5.52%: close by that reading" in error.reason  # the pruned network is that of a reported epoch


def test_the_spread_is_pooled_over_depths(experiments: Registry, layout: Layout) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 5)
    for key, error in zip(keys, FIVE, strict=True):
        finish(registry, layout, key, [36, 22, 6], error)
    registry, others = with_seeds(registry, "cifar10-110-epsilon_side-2p5-s0", 5)
    for key, error in zip(others, (0.03, 0.04, 0.05, 0.06, 0.07), strict=True):
        finish(registry, layout, key, [10, 8, 6], error)
    row = of(compare.compare(registry, layout), "6a", "val_error", depth=752, method="epsilon_side")
    assert row.verdict == "close"
    assert "chance may hide" in row.reason
    assert "5.52%: close by that reading" in row.reason  # whose errors spread alike


def test_an_error_of_a_network_that_no_script_prunes_can_only_be_the_gated_ones(
    experiments: Registry, layout: Layout
) -> None:
    finish(experiments, layout, "imagenet-152-epsilon_side-1p8-s0", [2, 6, 19, 2], 0.23)
    row = of(compare.compare(experiments, layout), "6d", "top1_error", epsilon=1.8)
    assert row.reason.endswith("step 390,000)")


def test_a_published_time_is_told_beside_ours_and_never_judged(experiments: Registry, layout: Layout) -> None:
    key = "cifar10-110-epsilon_side-2p5-s0"
    finish(experiments, layout, key, [10, 8, 6], 0.06)
    manifest = json.loads((PROJECT / "results/digits-20-standard-s0/manifest.json").read_text())
    write_json(layout.run(key).manifest, {**manifest, "seconds": {"training": 7200.0}})
    row = of(compare.compare(experiments, layout), "README cifar10-lr.png", "training_hours", method="epsilon_side")
    assert (row.verdict, row.published, row.ours) == ("not comparable", 13.5, 2.0)


def test_errors_of_imagenet_at_the_evaluated_epoch_include_top_5(experiments: Registry, layout: Layout) -> None:
    key = "imagenet-101-epsilon_side-2p0-s0"
    finish(experiments, layout, key, [2, 3, 19, 2], 0.23, epoch=110, top5=0.067)
    rows = [row for row in compare.compare(experiments, layout) if row.runs]
    assert of(rows, "6d", "top1_error").ours == 0.23
    assert of(rows, "6d", "top5_error").ours == 0.067
    assert of(rows, "README imagenet-val-error.png", "top5_error").ours == 0.067
    assert of(rows, "7d", "param_size_mb").ours == pytest.approx(173.83 * 26 / 33, rel=1e-4)  # with the side head


@pytest.mark.parametrize(
    ("figure", "metric", "where", "reason"),
    [
        ("7c", "param_size_mb", {"depth": 302, "method": "standard"}, "Figure 7b"),
        ("7c", "param_size_mb", {"depth": 110, "method": "epsilon_side"}, "Figure 7b"),
        ("6d", "top1_error", {"depth": 152, "method": "standard"}, "fb.resnet.torch"),
        ("6d", "top5_error", {"depth": 152, "method": "standard"}, "fb.resnet.torch"),
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


def test_a_decay_that_is_accepted_is_compared_and_named_but_never_pooled_with_another(
    experiments: Registry, layout: Layout
) -> None:
    key = "imagenet-101-epsilon_side-2p0-s0"
    others = [
        experiments.runs[key].model_copy(update={"weight_decay": 2e-4, "seed": seed})  # the paper's decay
        for seed in range(2)
    ]
    registry = experiments.model_copy(update={"runs": {**experiments.runs, **{run.key: run for run in others}}})
    for run in others:
        finish(registry, layout, run.key, [2, 3, 19, 2], 0.23)

    def row() -> Comparison:
        return of(compare.compare(registry, layout), "6d", "top1_error", epsilon=2.0)

    assert (row().n_seeds, row().verdict) == (2, "close")
    assert "weight_decay 0.0002 (default 0.0001)" in row().reason
    finish(registry, layout, key, [2, 3, 19, 2], 0.23)
    assert row().runs == (key,)
    assert "weight_decay" not in row().reason


@pytest.mark.parametrize("sample", ["0" * 64, None])
def test_images_without_an_official_checksum_are_said_to_be_unverified(
    experiments: Registry, layout: Layout, sample: str | None
) -> None:
    key = "imagenet-101-epsilon_side-2p0-s0"
    finish(experiments, layout, key, [2, 3, 19, 2], 0.23)
    manifest.write(layout, DataManifest("imagenet", "official", None, None, 1281167, 50000, "1" * 64, sample))
    row = of(compare.compare(experiments, layout), "6d", "top1_error", epsilon=2.0)
    assert ("could not be verified against the official ones" in row.reason) == (sample is not None)


def test_every_key_of_a_recipe_is_compared_with_the_papers(experiments: Registry) -> None:
    for name, accepted in published.RECIPES.items():
        assert set(accepted) == set(Recipe.model_fields) - {"device", "epsilons"}, name


def test_the_registrys_recipes_are_the_default_ones(experiments: Registry) -> None:
    for run in experiments.runs.values():
        data = experiments.datasets[run.dataset]
        if data.is_papers:
            assert published.recipe_difference(data, data.recipe_of(run), run) is None
            assert published.recipe_choices(data, data.recipe_of(run), run) is None


# One value of each key that neither paper nor code has.
UNFAITHFUL: dict[str, Any] = {
    "network": "imagenet",
    "batch": 64,
    "drop_last": False,
    "epochs": {"standard": 200, "epsilon": 10},
    "epoch_steps": 100,
    "rate": 0.2,
    "first_rate": 0.05,
    "rate_steps": (82,),
    "adaptive_steps": None,
    "late_rate": {"rate": 1e-5, "epoch": 300, "adaptive_epoch": 150},
    "restart_on": "never",
    "momentum": 0.8,
    "nesterov": True,
    "weight_decay": 1e-3,
    "decay_on": "all",
    "weight_decay_every": 100,
    "weight_decay_factor": 0.5,
    "slices": 2,
    "gate_scope": "image",
    "epsilon_start_epoch": 900,
    "test_every": 5,
    "discard_window": 1,
    "side_weight": 0.0,
    "augmentation": {},
    "pixel_divisor": 255.0,
    "stride_padding": "symmetric",
    "initialisation": "zeros",
    "discarded_in_evaluation": "opened",
    "precision": "bfloat16",
    "compiled": True,
}


@pytest.mark.parametrize("key", sorted(set(Recipe.model_fields) - {"device", "epsilons"}))
def test_a_recipe_of_our_own_is_not_comparable_and_its_key_and_values_are_named(
    experiments: Registry, key: str
) -> None:
    data = experiments.datasets["cifar10"]
    value = UNFAITHFUL[key]
    # Not validated as a whole: some keys have no value but the accepted ones.
    models: dict[str, Any] = {"epochs": Epochs, "augmentation": Augmentation, "late_rate": LateRate}
    recipe = data.recipe.model_copy(update={key: models[key](**value) if key in models else value})
    difference = published.recipe_difference(data, recipe, experiments.runs[DEEPEST])
    assert difference is not None
    found = 10 if key == "epochs" else value
    assert difference.startswith(f"{key} {published.in_words(found)} instead of ")
    assert published.recipe_choices(data, recipe, experiments.runs[DEEPEST]) is None


@pytest.mark.parametrize(
    ("dataset", "change"),
    [
        ("cifar10", {"late_rate": {"rate": 2e-4, "epoch": 300, "adaptive_epoch": 150}}),
        ("cifar10", {"restart_on": "running_average"}),
        ("cifar10", {"epsilon_start_epoch": 150}),
        ("cifar10", {"weight_decay_factor": 1}),
        ("cifar10", {"gate_scope": "batch"}),
        ("cifar10", {"initialisation": "gaussian"}),
        ("cifar10", {"discarded_in_evaluation": "gated"}),
        ("svhn", {"epochs": {"standard": 200, "epsilon": 200}}),
        ("svhn", {"augmentation": {"pad": 4, "flip": True}}),
        ("imagenet", {"nesterov": False}),
        ("imagenet", {"weight_decay": 2e-4}),
    ],
)
def test_what_paper_or_code_do_otherwise_is_comparable_and_named(
    experiments: Registry, dataset: str, change: dict[str, Any]
) -> None:
    data = experiments.datasets[dataset]
    recipe = Recipe.model_validate({**data.recipe.model_dump(), **change})
    run = next(r for r in experiments.runs.values() if r.dataset == dataset and r.method == "epsilon_side")
    assert published.recipe_difference(data, recipe, run) is None
    choices = published.recipe_choices(data, recipe, run)
    assert choices is not None
    assert choices.startswith(next(iter(change)))
    assert "(default " in choices


def test_an_accepted_choice_stands_in_the_reason_of_each_number(experiments: Registry, layout: Layout) -> None:
    data = experiments.datasets["cifar10"]
    recipe = data.recipe.model_copy(update={"restart_on": "running_average"})
    datasets = {**experiments.datasets, "cifar10": data.model_copy(update={"recipe": recipe})}
    registry = experiments.model_copy(update={"datasets": datasets})
    finish(registry, layout, DEEPEST, [36, 22, 6], 0.0522)
    rows = [row for row in compare.compare(registry, layout) if row.runs]
    assert rows
    assert all("restart_on running_average (default discarded)" in row.reason for row in rows)


def test_other_images_under_a_name_of_the_paper_are_not_comparable(experiments: Registry) -> None:
    data = experiments.datasets["cifar10"].model_copy(update={"format": "svhn"})
    difference = published.recipe_difference(data, data.recipe, experiments.runs[DEEPEST])
    assert difference == "format svhn instead of cifar10"


@pytest.mark.parametrize("images", ["train_images", "test_images"])
def test_fewer_images_than_the_papers_are_a_difference(experiments: Registry, images: str) -> None:
    data = experiments.datasets["cifar10"]
    few = data.model_copy(update={"archives": [a.model_copy(update={images: 500}) for a in data.archives]})
    difference = published.recipe_difference(few, few.recipe, experiments.runs[DEEPEST])
    assert difference is not None
    assert difference.startswith(f"{images} 500 instead of ")


@pytest.mark.parametrize(
    ("figure", "where", "checks"),
    [
        ("10a", {"depth": 200, "group": 1}, {"Figure 10a discards as much as 6e"}),
        (
            "6f",
            {"depth": 752},
            {"Figure 10b discards as much as 6f", "Figure 9 ends at the ratios of 6e and 6f"},
        ),
        ("10b", {"depth": 500, "group": 3}, {"Figure 10b discards as much as 6f"}),
        (
            "6h",
            {"epsilon": 2.1},
            {"ImageNet ratios are whole numbers of blocks", "Figure 6h shows the ratios of the text"},
        ),
        ("8a", {"dataset": "cifar10", "epsilon": 2.5}, {"Figures 8a and 6 show the same errors"}),
        ("8a", {"dataset": "cifar10", "epsilon": 2.3}, set()),
        ("6e", {"depth": 110}, set()),
    ],
)
def test_a_number_that_the_paper_contradicts_names_the_checks(
    experiments: Registry, layout: Layout, figure: str, where: dict[str, Any], checks: set[str]
) -> None:
    [row] = [
        row
        for row in compare.compare(experiments, layout)
        if row.figure == figure and all(getattr(row, k) == v for k, v in where.items())
    ]
    inconsistent = {
        check.title: check.number
        for check in consistency.checks(published.numbers())
        if check.verdict == "inconsistent"
    }
    assert {title for title in inconsistent if f"check {inconsistent[title]} ({title})" in row.reason} == checks
    assert ("the paper contradicts this point" in row.reason) == bool(checks)


def test_only_inconsistent_checks_contradict_a_number_and_each_entry_finds_one() -> None:
    numbers = published.numbers()
    names = [check.name for check in consistency.CHECKS]
    found = zip(names, consistency.checks(numbers), strict=True)
    inconsistent = {name for name, check in found if check.verdict == "inconsistent"}
    for title, figures, where in compare.CONTRADICTED:
        assert title in inconsistent
        for figure in figures:
            assert any(
                number.figure == figure and all(getattr(number, column) in values for column, values in where.items())
                for number in numbers
            ), (title, figure)


def published_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published numbers that the test may change, used instead of the project's."""
    path = Path(shutil.copy(published.published_csv(), folder / "published.csv"))
    monkeypatch.setattr(published, "published_csv", lambda: path)
    return path


def changed(path: Path, line: int, change: dict[str, str]) -> None:
    """Changes cells of one line of the published numbers, counted from 1 with the heading."""
    lines = path.read_text().splitlines()
    cells = next(csv.DictReader([lines[0], lines[line - 1]]))
    text = io.StringIO()
    csv.DictWriter(text, list(cells)).writerow({**cells, **change})
    lines[line - 1] = text.getvalue().strip()
    path.write_text("\n".join(lines) + "\n")


def line_of(path: Path, start: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), start=1) if line.startswith(start))


@pytest.mark.parametrize(
    ("start", "change"),
    [
        ("6a,", {"depth": "116"}),
        ("6a,", {"epsilon": "9.9"}),
        ("9,", {"depth": "110"}),  # which Figure 6 shows
        ("text,", {"depth": "128"}),
        ("1,CIFAR-100,752,,standard", {"depth": "116"}),
        ("README imagenet", {"depth": "200"}),
    ],
)
def test_a_published_number_that_no_figure_claims_is_an_error_that_names_its_line(
    experiments: Registry, layout: Layout, monkeypatch: pytest.MonkeyPatch, start: str, change: dict[str, str]
) -> None:
    path = published_file(layout.root, monkeypatch)
    line = line_of(path, start)
    changed(path, line, change)
    with pytest.raises(UserError, match=rf"line {line}: no figure of the registry claims this number"):
        compare.compare(experiments, layout)


@pytest.mark.parametrize(
    ("start", "change", "message"),
    [
        ("6a,", {"figure": "11"}, "figure: must be one of 1, 3, 6a, .*found '11'"),
        ("6a,", {"figure": ""}, "figure: Input should be a valid string"),
        ("6a,", {"dataset": "CIFAR-11"}, "dataset: Input should be 'CIFAR-10', .*found 'CIFAR-11'"),
        ("6a,", {"dataset": "CIFAR-100"}, "dataset: 6a shows CIFAR-10, found 'CIFAR-100'"),
        ("6a,", {"metric": "error"}, "metric: Input should be 'val_error', .*found 'error'"),
        ("6a,", {"metric": "discarded_ratio"}, "metric: 6a shows val_error, found 'discarded_ratio'"),
        ("6a,", {"value": "abc"}, "value: Input should be a valid number.*found 'abc'"),
        ("6a,", {"value": "nan"}, "value: .*finite.*found 'nan'"),
        ("6a,", {"value": ""}, "value: Input should be a valid number"),
        ("6a,", {"value": "5.24"}, "value: val_error is a fraction, found 5.24"),
        ("6a,", {"uncertainty": ""}, "uncertainty: Input should be a valid number"),
        ("6a,", {"unit": "MiB"}, "value: val_error is a fraction, found .* in unit MiB"),
        ("6a,", {"epsilon": ""}, "epsilon: must be given for method epsilon_side of 6a"),
        ("6a,CIFAR-10,110,,standard", {"epsilon": "2.5"}, "epsilon: must not be given for method standard"),
        ("6a,", {"group": "1"}, "group: must not be given for metric val_error"),
        ("10a,", {"group": ""}, "group: must be given for metric kept_fraction"),
        ("9,", {"epoch": ""}, "epoch: must be given for figure 9"),
        ("6a,", {"method": "gated"}, "method: Input should be 'standard', .*found 'gated'"),
        ("text,", {"depth": ""}, "depth: Input should be a valid integer"),
    ],
)
def test_a_line_that_is_no_published_number_is_named_with_what_was_expected_and_found(
    experiments: Registry,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    start: str,
    change: dict[str, str],
    message: str,
) -> None:
    path = published_file(layout.root, monkeypatch)
    line = line_of(path, start)
    changed(path, line, change)
    with pytest.raises(UserError, match=rf"line {line} is no published number:\n  {message}"):
        compare.compare(experiments, layout)


def test_a_number_that_stands_there_twice_is_an_error_that_names_both_lines(
    experiments: Registry, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = published_file(layout.root, monkeypatch)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[2].replace("0.054597", "0.06")]) + "\n")
    with pytest.raises(UserError, match=rf"line {len(lines) + 1}: expected each number once, found that of line 3"):
        compare.compare(experiments, layout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected the columns figure, dataset, .*found nothing"),
        (b"figure;dataset\n6a;CIFAR-10\n", "expected the columns .*found figure;dataset"),
        (b"\xff\xfe", "is no table of comma-separated values"),
    ],
)
def test_a_file_that_is_no_table_of_numbers_is_an_error(
    experiments: Registry, layout: Layout, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    published_file(layout.root, monkeypatch).write_bytes(content)
    with pytest.raises(UserError, match=message):
        compare.compare(experiments, layout)


CELLS = st.sampled_from(["", "6a", "text", "CIFAR-10", "110", "2.5", "-1", "inf", "standard", "val_error", "1e999"])


@given(st.lists(CELLS | st.text(max_size=5), max_size=15))
def test_any_line_is_a_number_or_an_error_that_names_it(cells: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "published.csv"
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            csv.writer(file).writerows([list(published.Number.model_fields), cells])
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(published, "published_csv", lambda: path)
                assert len(published.numbers()) <= 1
        except UserError as error:
            message = str(error)
        else:
            return
    assert "published.csv" in message


def test_a_registry_without_the_papers_data_sets_shows_them_as_not_run(small: tuple[Registry, Layout]) -> None:
    rows = compare.compare(*small)
    assert len(rows) == 257
    assert {row.verdict for row in rows} == {"not run"}


def test_the_identity_of_a_comparable_number_is_its_own(experiments: Registry, layout: Layout) -> None:
    rows = [row for row in compare.compare(experiments, layout) if row.verdict != "not comparable"]
    assert len({record.identity(row) for row in rows}) == len(rows)


def test_strict_fails_on_a_number_that_was_reproduced_and_no_longer_is(
    experiments: Registry, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_file(layout.root, monkeypatch)
    registry, keys = with_seeds(experiments, DEEPEST, 5)
    monkeypatch.setattr("eps_resnet.experiments.registry.load", lambda _path: registry)

    def eps(*options: str) -> Any:
        return CliRunner().invoke(cli.app, ["compare", *options, "--root", str(layout.root)])

    for key, error in zip(keys, FIVE, strict=True):
        finish(registry, layout, key, [36, 22, 6], error)
    unrecorded = eps("--strict")
    assert unrecorded.exit_code == 1
    assert "Nothing is recorded" in str(unrecorded.exception)
    assert eps("--record", "--strict").exit_code == 0
    before = record.recorded()
    assert ("6a", "cifar10", "752", "2.5", "epsilon_side", "val_error", "", "", "digitised") in before
    finish(registry, layout, keys[0], [36, 22, 6], 0.2)
    failed = eps("--record", "--strict")
    assert failed.exit_code == 1
    assert "6a cifar10 752 2.5 epsilon_side val_error digitised: now off" in str(failed.exception)
    assert record.recorded() == before  # the record only grows


def test_a_damaged_record_is_an_error_that_says_what_was_expected(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    published_file(layout.root, monkeypatch)
    record.record_path().write_text("figure;dataset\n6a;cifar10\n")
    with pytest.raises(UserError, match="expected the columns figure, dataset"):
        record.recorded()


def test_a_line_per_number_and_the_counts_per_verdict_are_printed(layout: Layout) -> None:
    lines = CliRunner().invoke(cli.app, ["compare", "--all", "--root", str(layout.root)]).output.splitlines()
    headings = [line for line in lines if line.startswith("figure depth method")]
    assert len(headings) == 5  # the paper's data sets, and the smaller version
    numbers = [line for line in lines if re.search(r" (reproduced|close|off|not run|not comparable) +\d+ ", line)]
    assert len(numbers) == 257 + 9  # for the smaller version as many lines as in the test of those
    assert lines[0].rstrip() == (
        "257 numbers: 10 exact sizes agree, 0 trained numbers reproduced; "
        "0 close, 0 off, 25 not comparable, 222 not run"
    )
    assert "trends and the order of methods: eps-resnet claims" in lines[-1]


def test_a_run_of_any_seed_belongs_to_a_number(experiments: Registry, layout: Layout) -> None:
    registry, keys = with_seeds(experiments, DEEPEST, 2)
    finish(registry, layout, keys[1], [36, 22, 6], 0.0522)
    assert of(compare.compare(registry, layout), "6e", "discarded_ratio", depth=752, dataset="cifar10").runs == (
        keys[1],
    )


def test_the_registry_gives_a_reason_for_each_difference_of_a_smaller_version_and_no_other(
    experiments: Registry,
) -> None:
    for name, data in experiments.datasets.items():
        runs = [r for r in experiments.runs.values() if (r.dataset, r.weight_decay, r.variant) == (name, None, None)]
        differ = {key for run in runs for key in published.recipe_differences(data, data.recipe_of(run), run)}
        assert differ == set(data.reduced)
        reasons = published.reasons(data, runs)
        assert {reason.split()[0] for reason in reasons} == differ
        assert all(any(reason.endswith(f": {why}.") for reason in reasons) for why in data.reduced.values())


def test_a_smaller_version_stands_beside_the_papers_numbers_and_is_never_judged(
    experiments: Registry, layout: Layout
) -> None:
    key = "cifar10-cpu-110-epsilon_side-2p5-s0"
    finish(experiments, layout, key, [12, 8, 7], 0.3)
    found = compare.beside(experiments, layout)
    assert {c.verdict for c in found} == {"not comparable"}
    assert all(c.reason.startswith("another recipe than the paper's: size 16 instead of 32") for c in found)
    assert {(c.figure, c.metric, c.group) for c in found if c.method == "epsilon_side"} == {
        ("6a", "val_error", None),
        ("6e", "discarded_ratio", None),
        ("7a", "param_size_mb", None),
        *(("10a", "kept_fraction", stage) for stage in (1, 2, 3)),
    }
    measured = {(c.figure, c.group): c.ours for c in found if key in c.runs}
    assert measured["6a", None] == 0.3
    assert measured["6e", None] == 0.5
    assert all(c.dataset != "cifar10-cpu" for c in compare.compare(experiments, layout))


def test_every_published_error_of_a_gated_network_says_which_of_our_errors_it_can_be(
    experiments: Registry, layout: Layout
) -> None:
    rows = [
        row
        for row in compare.compare(experiments, layout)
        if row.method == "epsilon_side" and row.metric.endswith("_error") and row.epoch is None and row.epsilon
    ]
    assert len(rows) > 20
    assert all("the published error can be the gated network's in the last epoch" in row.reason for row in rows)

"""Tables, drawings and comparisons: what they say where runs are done, missing, unsettled or altered."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet import compare, figures, provenance, published
from eps_resnet.evaluate import evaluate
from eps_resnet.figures import results
from eps_resnet.files import read_json, write_json
from eps_resnet.layout import Layout
from eps_resnet.prune import prune_run
from eps_resnet.registry import Registry
from eps_resnet.reproduction import block_tolerance, reproduce
from eps_resnet.train import train


@pytest.fixture
def done(small: tuple[Registry, Layout]) -> tuple[Registry, Layout]:
    """The small registry with one of its three runs done."""
    experiments, layout = small
    key = "digits-8-epsilon_side-2p5-s0"
    train(experiments, layout, key, torch.device("cpu"), 1)
    prune_run(experiments, layout, key)
    evaluate(experiments, layout, key)
    return experiments, layout


@pytest.mark.parametrize("number", ["6", "7", "8"])
@pytest.mark.parametrize("dataset", ["digits", "cifar10", "cifar100", "svhn", "imagenet"])
def test_each_figure_is_drawn_with_nothing_run_and_says_so(
    experiments: Registry, tmp_path: Path, number: str, dataset: str
) -> None:
    name, layout = f"figure{number}-{dataset}", Layout(tmp_path)
    if name not in experiments.figures:
        pytest.skip("the paper has no such figure")
    figures.write_table(experiments, layout, name)
    figures.write_drawing(experiments, layout, name)
    text = (layout.tables(name) / "table.md").read_text()
    assert text.count("not run") == len(experiments.runs_of(name))
    assert "not run" in (layout.tables(name) / "figure.svg").read_text()


def test_published_numbers_stand_beside_ours(experiments: Registry, tmp_path: Path) -> None:
    figures.write_table(experiments, Layout(tmp_path), "figure6-cifar10")
    rows = pd.read_csv(tmp_path / "paper_tables/figure6-cifar10/table.csv").set_index("run")
    assert rows.loc["cifar10-752-epsilon_side-2p5-s0", "published_ratio"] == pytest.approx(0.8296, abs=1e-4)
    assert rows.loc["cifar10-110-standard-s0", "published_error"] == pytest.approx(0.0605, abs=1e-5)
    figures.write_table(experiments, Layout(tmp_path), "figure6-imagenet")
    rows = pd.read_csv(tmp_path / "paper_tables/figure6-imagenet/table.csv").set_index("run")
    assert rows.loc["imagenet-101-epsilon_side-2p1-s0", "published_error"] == pytest.approx(0.2272, abs=1e-3)


def test_a_table_shows_done_runs_beside_missing_ones_and_says_what_is_special(done: tuple[Registry, Layout]) -> None:
    experiments, layout = done
    figures.write_table(experiments, layout, "figure6-digits")
    text = (layout.tables("figure6-digits") / "table.md").read_text()
    assert text.count("| not run |") == 2
    assert "1 of 3 runs are done; seeds per point: 1" in text
    assert "Never settled" in text
    assert "chosen on a split of the training images" in text


def test_tables_and_drawings_are_the_same_bytes_when_repeated(done: tuple[Registry, Layout]) -> None:
    experiments, layout = done
    contents = []
    for _ in range(2):
        figures.write_table(experiments, layout, "figure6-digits")
        figures.write_drawing(experiments, layout, "figure6-digits")
        contents.append({p.name: p.read_bytes() for p in layout.tables("figure6-digits").iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"table.csv", "table.md", "figure.svg", "figure.png", "manifest.json"}


def test_a_stale_run_shows_as_not_run(done: tuple[Registry, Layout]) -> None:
    experiments, layout = done
    key = "digits-8-epsilon_side-2p5-s0"
    manifest = read_json(layout.manifest(key))
    write_json(layout.manifest(key), {**manifest, "fingerprint": "0" * 16})
    assert provenance.state(experiments, layout, key) == "stale"
    assert set(results.runs_table(experiments, layout, "figure6-digits")["state"]) == {"not run"}


def test_the_gated_network_is_compared_with_the_better_baseline() -> None:
    rows = pd.DataFrame(
        {
            "depth": [20, 20, 20, 56],
            "method": ["standard", "standard", "epsilon_side", "epsilon_side"],
            "error_pruned": [0.03, 0.02, 0.01, 0.01],
        }
    )
    best = figures.figure6._best_baseline_error(rows)
    assert best[2] == 0.02
    assert best.isna().tolist() == [True, True, False, True]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_interval_of_an_error_holds_it(images: int, share: float) -> None:
    wrong = round(share * images)
    low, high = results.error_interval(wrong, images)
    assert 0 <= low <= wrong / images <= high <= 1


def test_every_published_number_is_compared_once_under_the_registrys_names(
    experiments: Registry, tmp_path: Path
) -> None:
    rows = compare.compare(experiments, Layout(tmp_path))
    table = published.read(provenance.published_csv(), experiments)
    assert len(rows) == len(table) == 253
    assert not table["dataset"].isna().any()
    assert all(row.verdict == "not run" and row.ours is None and row.reason for row in rows)


def test_a_finished_run_is_set_beside_each_of_its_published_numbers(
    experiments: Registry, done: tuple[Registry, Layout], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digits run stands in for CIFAR-10's deepest: what is tested is where each number comes from."""
    _, layout = done
    key = "cifar10-752-epsilon_side-2p5-s0"
    layout.result("digits-8-epsilon_side-2p5-s0").rename(layout.result(key))
    monkeypatch.setattr(provenance, "state", lambda _r, _l, k: "done" if k == key else "missing")
    rows = [row for row in compare.compare(experiments, layout) if row.verdict == "run"]
    metrics = read_json(layout.metrics(key))
    ours = {(row.figure, row.metric, row.group): row.ours for row in rows}
    assert ours["6a", "val_error", None] == metrics["error"]["pruned"]
    assert ours["6e", "discarded_ratio", None] == metrics["compression"]["discarded_ratio"]
    assert ours["7a", "param_size_mb", None] == metrics["compression"]["size_mib_by_block_ratio"]
    assert [ours["10a", "kept_fraction", g] for g in (1, 2, 3)] == metrics["kept"]  # of one block each
    assert {row.n_seeds for row in rows} == {1}
    assert not [row for row in rows if row.figure == "9"]  # its epochs lie beyond these two


def test_a_reproduction_is_judged_by_its_errors_and_its_blocks(tmp_path: Path) -> None:
    here, committed = Layout(tmp_path / "here"), Layout(tmp_path / "there")

    def write(layout: Layout, wrong: int, discarded: int) -> None:
        metrics = {
            "error": {"pruned": wrong / 360},
            "test_images": 360,
            "blocks": [18, 18, 18],
            "discarded": discarded,
        }
        write_json(layout.metrics("run"), metrics)

    def verdict() -> str:
        return reproduce(["run"], here, committed)[0].verdict

    write(committed, 6, 40)
    assert verdict() == "not comparable"
    for wrong, discarded, expected in (
        (6, 40, "identical"),
        (12, 40, "reproduced"),  # the interval of 6 in 360 reaches from 2.2 to 12.9
        (13, 40, "differs"),
        (6, 40 + block_tolerance(54), "reproduced"),
        (6, 41 + block_tolerance(54), "differs"),
        (40, 40, "differs"),
    ):
        write(here, wrong, discarded)
        assert verdict() == expected


def test_json_documents_hold_no_infinity_or_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"error": float("nan")})
    assert not (tmp_path / "x.json").exists()
    write_json(tmp_path / "x.json", {"error": 0.1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"error": 0.1}

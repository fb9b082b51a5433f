"""What each figure's module promises: tables, drawings and captions with nothing run, with some runs, repeated."""

import re
from pathlib import Path

import pandas as pd
import pytest

from eps_resnet.evidence import figures, published
from eps_resnet.evidence.figures import current
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import OWN_FIGURES, stem_of
from eps_resnet.experiments.registry import Registry, load
from eps_resnet.files.atomic import read_json, write_json
from eps_resnet.provenance import code, state
from tests.conftest import PROJECT
from tests.evidence.figures.conftest import NUMBERS, OPEN, SIDE

NAMES = list(load(PROJECT / "config/experiments.yaml").figures)


def test_every_figure_that_a_registry_can_name_has_a_module() -> None:
    assert set(figures.MODULES) == set(NUMBERS)


def test_every_figure_of_the_paper_exists_for_digits(experiments: Registry) -> None:
    shown = {figure.figure for figure in experiments.figures.values() if figure.dataset == "digits"}
    assert shown >= set(NUMBERS) - set(OWN_FIGURES)


def test_code_that_figures_share_is_part_of_their_fingerprint() -> None:
    stems = set(map(stem_of, NUMBERS))
    shared = {path for path in (code.PACKAGE / "evidence/figures").glob("*.py") if path.stem not in {*stems, "figure4"}}
    for number in NUMBERS:
        modules = set(code.layer_files("tables", number))
        assert shared <= modules
        assert {path.stem for path in modules - shared} == {stem_of(number), "published", "statistics"}


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_with_nothing_run_says_so_and_shows_the_published_numbers(
    experiments: Registry, tmp_path: Path, name: str
) -> None:
    layout = Layout(tmp_path)
    figures.write_table(experiments, layout, name)
    figures.write_drawing(experiments, layout, name)
    assert all(path.stat().st_size > 20 for path in layout.figure_files(name))
    runs = list(experiments.runs_of(name))
    text = (layout.tables(name) / "table.md").read_text()
    assert all(any(key in line and "| not run |" in line for line in text.splitlines()) for key in runs)
    assert "| done |" not in text
    drawing = (layout.tables(name) / "figure.svg").read_text()
    assert "not run" in drawing
    assert read_json(layout.table_manifest(name))["runs"] == runs

    figure = experiments.figures[name]
    is_usable = name != "figure7-svhn" and any(
        re.fullmatch(rf"{figure.figure}[a-h]?", number.figure) and number.depth in figure.select.depths
        for number in published.of_data(experiments.datasets[figure.dataset])
    )
    assert bool(re.search(r">paper( \(another recipe\))?[:<]", drawing)) == is_usable  # a label, not the caption
    rows = pd.read_csv(layout.tables(name) / "table.csv")
    assert rows.filter(like="published").notna().to_numpy().any() == is_usable


@pytest.mark.parametrize("number", NUMBERS)
def test_a_figure_shows_done_runs_beside_missing_ones_with_its_caption(
    trained: tuple[Registry, Layout], tmp_path: Path, number: str
) -> None:
    experiments, layout = trained
    name = f"{stem_of(number)}-digits"
    figures.write_table(experiments, layout, name)
    figures.write_drawing(experiments, layout, name)
    rows = pd.read_csv(layout.tables(name) / "table.csv")
    assert list(dict.fromkeys(rows["run"])) == list(experiments.runs_of(name))
    assert set(rows.loc[rows["state"] == "not run", "run"]) == {SIDE} & set(rows["run"])
    text, drawing = ((layout.tables(name) / file).read_text() for file in ("table.md", "figure.svg"))
    title = f"Not in the paper: {OWN_FIGURES[number].lower()}" if number in OWN_FIGURES else f"Figure {number}"
    assert text.startswith(f"# {title}, digits: ")
    assert f"{title}, digits: " in drawing
    for words in ("runs are done; seeds per point: ", "chosen on a split of the training images", "Never settled"):
        assert words in text
        assert words not in drawing
    missing = 1 if SIDE in set(rows["run"]) else 0
    assert text.count("| not run |") == missing
    assert "not run" not in drawing


@pytest.mark.parametrize("number", NUMBERS)
def test_tables_and_drawings_are_the_same_bytes_when_repeated(trained: tuple[Registry, Layout], number: str) -> None:
    experiments, layout = trained
    name = f"{stem_of(number)}-digits"
    contents = []
    for _ in range(2):
        figures.write_table(experiments, layout, name)
        figures.write_drawing(experiments, layout, name)
        contents.append({path.name: path.read_bytes() for path in layout.tables(name).iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {path.name for path in layout.figure_files(name)} | {"manifest.json"}


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("metrics.json", set(NUMBERS)),
        ("history.csv", {"9", "life"}),
        ("blocks.parquet", {"5", "life"}),
        ("manifest.json", set()),
    ],
)
def test_a_figure_is_drawn_again_for_the_files_it_reads_alone(
    done: tuple[Registry, Layout], file: str, stale: set[str]
) -> None:
    experiments, layout = done

    def fingerprints() -> dict[str, str]:
        names = (f"{stem_of(number)}-digits" for number in NUMBERS if number != "3")  # which does not show this run
        return {name: current.table_fingerprint(experiments, layout, name) for name in names}

    before = fingerprints()
    path = layout.run(OPEN).folder / file
    path.write_bytes(path.read_bytes() + b"\n")
    after = fingerprints()
    assert {name for name in before if before[name] != after[name]} == {
        f"{stem_of(number)}-digits" for number in stale - {"3"}
    }


def test_a_stale_run_shows_as_not_run(done: tuple[Registry, Layout]) -> None:
    experiments, layout = done
    manifest = read_json(layout.run(OPEN).manifest)
    write_json(layout.run(OPEN).manifest, {**manifest, "fingerprint": "0" * 16})
    assert state.state(experiments.experiment(OPEN, layout)) == "stale"
    for number in NUMBERS:
        rows = figures.MODULES[number].table(experiments, layout, f"{stem_of(number)}-digits")
        assert set(rows.loc[rows["run"] == OPEN, "state"]) <= {"not run"}

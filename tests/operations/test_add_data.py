"""`eps-resnet add-data`: an entry, runs and figures in the registry, images in the store, and nothing else changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from eps_resnet.cli import app
from eps_resnet.data import store
from eps_resnet.data.fetch import OWN, READERS, fetch
from eps_resnet.evidence.figures import MODULES
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.models import METHODS, Figure, Format
from eps_resnet.experiments.registry import load
from eps_resnet.files.errors import UserError
from eps_resnet.provenance.state import is_fetched
from tests.conftest import PROJECT
from tests.data.own_copies import arrays, make_folder, make_npz


@pytest.fixture
def registry_file(tmp_path: Path) -> Path:
    """A copy of the project's own registry."""
    path = tmp_path / "experiments.yaml"
    path.write_bytes((PROJECT / "config/experiments.yaml").read_bytes())
    return path


def add(registry_file: Path, data: Path, *options: str, name: str = "mine") -> Result:
    """What `eps-resnet add-data` does, with results beside the registry."""
    places = ("--registry", str(registry_file), "--root", str(registry_file.parent))
    result = CliRunner().invoke(app, ["add-data", str(data), "--name", name, *options, *places], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(("kind", "make"), [("npz", make_npz), ("folder", make_folder)])
def test_data_is_added_as_entry_runs_figures_and_images(
    registry_file: Path, tmp_path: Path, kind: str, make: Callable[[Path], Path]
) -> None:
    before, text = load(registry_file), registry_file.read_text()
    printed = add(registry_file, make(tmp_path / "mine.npz")).output
    after = load(registry_file)
    data, recipe = after.datasets["mine"], after.datasets["mine"].recipe
    assert (data.format, data.size, data.classes, recipe.batch) == (kind, 8, 10, 8)
    assert not recipe.augmentation.flip
    assert {(run.depth, run.method) for run in after.runs.values() if run.dataset == "mine"} == {
        (depth, method) for depth in (20, 56) for method in METHODS
    }
    assert len(after.runs_of("figure6-mine")) == len(after.runs_of("figure7-mine")) == 6
    layout = Layout(tmp_path)
    assert is_fetched(layout, "mine", data)
    assert len(store.load(layout, "mine").test_labels) == 40
    assert "snakemake --cores 2 --config root=" in printed
    assert before.datasets.items() <= after.datasets.items()
    lines = iter(registry_file.read_text().splitlines(keepends=True))
    assert all(line in lines for line in text.splitlines(keepends=True))  # in their order


def test_every_reason_that_an_entry_gives_stands_beside_its_key(registry_file: Path, tmp_path: Path) -> None:
    add(registry_file, make_npz(tmp_path / "mine.npz"))
    entry = registry_file.read_text().split("  mine: #")[1].split("\nruns:")[0]
    for key in ("batch", "epochs", "rate_steps", "adaptive_steps", "weight_decay", "pad", "flip"):
        assert any(line.strip().startswith(f"{key}: ") and " # " in line for line in entry.splitlines()), key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "has a data set 'digits' already; choose another --name"),
        ("train", "means something else"),
        ("My Data", "cannot be called"),
        ("10", "YAML does not read '10' as a text"),
        ("no", "YAML does not read 'no' as a text"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(
    registry_file: Path, tmp_path: Path, name: str, message: str
) -> None:
    before = registry_file.read_bytes()
    with pytest.raises(UserError, match=message):
        add(registry_file, make_npz(tmp_path / "mine.npz"), name=name)
    assert registry_file.read_bytes() == before
    assert not (tmp_path / "data").exists()


def test_nothing_at_the_place_is_said(registry_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is nothing at .*nowhere; give an \.npz file, or a folder"):
        add(registry_file, tmp_path / "nowhere")


def test_a_registry_that_is_written_otherwise_is_left_and_the_lines_are_printed(
    registry_file: Path, tmp_path: Path
) -> None:
    text = registry_file.read_text()
    registry_file.write_text(text.replace("\nruns:\n", '\n"runs":\n'))
    before = registry_file.read_bytes()
    with pytest.raises(
        UserError, match=r"cannot be added to \(it has no line `runs:`[\s\S]*  mine-20-standard-s0: {dat"
    ):
        add(registry_file, make_npz(tmp_path / "mine.npz"))
    assert registry_file.read_bytes() == before


def test_another_size_shrinks_images_and_is_fetched_anew_from_the_same_file(
    registry_file: Path, tmp_path: Path
) -> None:
    path, layout = tmp_path / "large.npz", Layout(tmp_path)
    np.savez(path, **{k: v.repeat(5, 1).repeat(5, 2) if "images" in k else v for k, v in arrays().items()})
    add(registry_file, path, "--size", "20")
    assert store.load(layout, "mine").train_images.shape == (80, 1, 20, 20)
    registry_file.write_text(
        registry_file.read_text().replace("      size: 20\n", "").replace("size: 20\n", "size: 8\n")
    )
    changed = load(registry_file)
    assert not is_fetched(layout, "mine", changed.datasets["mine"])
    with pytest.raises(
        UserError, match=r"mine has no address .* give its file on this machine: `eps-resnet fetch mine --f"
    ):
        fetch(changed, layout, "mine")
    fetch(changed, layout, "mine", str(path))
    assert np.array_equal(store.load(layout, "mine").train_images[:, 0].numpy(), arrays()["train_images"])


def test_data_that_changed_is_no_longer_accepted(registry_file: Path, tmp_path: Path) -> None:
    pets, file = make_folder(tmp_path / "pets"), make_npz(tmp_path / "mine.npz")
    add(registry_file, pets, name="pets")
    add(registry_file, file)
    next((pets / "train/digit0").iterdir()).unlink()
    make_npz(file, train=81)
    for name, path in (("pets", pets), ("mine", file)):
        with pytest.raises(UserError, match=f"is not the data that was added as {name}: the SHA-256 of its"):
            fetch(load(registry_file), Layout(tmp_path), name, str(path))


def test_an_entry_whose_classes_are_not_those_of_the_data_is_refused(registry_file: Path, tmp_path: Path) -> None:
    path = make_npz(tmp_path / "mine.npz")
    add(registry_file, path)
    registry = load(registry_file)
    wrong = registry.datasets["mine"].model_copy(update={"classes": 9, "channels": 3})
    changed = registry.model_copy(update={"datasets": {"mine": wrong}})
    with pytest.raises(UserError, match="1 channels, the registry has 3 and 10 classes, the registry has 9"):
        fetch(changed, Layout(tmp_path), "mine", str(path))


def test_the_registrys_formats_and_figures_are_those_that_there_are_modules_for() -> None:
    assert set(Format.__args__) == {*READERS, *OWN, "digits", "imagenet"}  # type: ignore[attr-defined]
    assert set(Figure.model_fields["figure"].annotation.__args__) == set(MODULES)  # type: ignore[union-attr]

"""Folders of ImageNet that people really have: what does not fit is named, what is no image is skipped and counted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eps_resnet.data import listing
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from tests.data.imagenet_copies import CLASSES, accepting, make_folder

FIRST = CLASSES[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


def image(folder: Path) -> Path:
    """The first training image."""
    return min((folder / "train" / FIRST).iterdir())


def replaced(folder: Path, make: Callable[[Path], object]) -> None:
    image(folder).unlink()
    make(folder / "train" / FIRST / f"{FIRST}_0.JPEG")


def flat(folder: Path, split: str) -> None:
    """As Kaggle's validation images lie."""
    for group in (folder / split).iterdir():
        for file in group.iterdir():
            file.rename(folder / split / file.name)
        group.rmdir()


def empty(folder: Path) -> None:
    for file in (folder / "val").glob("*/*"):
        file.unlink()
    for group in (folder / "val").iterdir():
        group.rmdir()


def tars_alone(folder: Path) -> None:
    empty(folder)
    (folder / "val/n01440764.tar").touch()


def renamed(folder: Path) -> None:
    for file in (folder / "train").glob("*/*"):
        file.rename(file.with_suffix(".jpg"))


def deeper(folder: Path) -> None:
    """As Tiny ImageNet's classes lie."""
    for group in [*(folder / "train").iterdir(), *(folder / "val").iterdir()]:
        (group / "images").mkdir()
        for file in group.glob("*.JPEG"):
            file.rename(group / "images" / file.name)


def doubled(folder: Path) -> None:
    (folder / "train" / CLASSES[1] / f"{CLASSES[1]}_7 (1).JPEG").write_bytes(image(folder).read_bytes())


def stray_class(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / split / "other").mkdir()
        (folder / split / "other/other_1.JPEG").touch()


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


FILE = rf"images/train/{FIRST}/{FIRST}_0\.JPEG"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: flat(f, "val"), r"6 images in val and no folders of .* val/ILSVRC2012_val_00000000\.JPEG; expected"),
        (lambda f: flat(f, "train"), rf"12 images in train and no folders of .* train/{FIRST}_0\.JPEG; expected"),
        (empty, r"has no folders of classes in val, but nothing; expected one folder for each class, val/<class>/"),
        (tars_alone, r"no folders of classes in val, but 1 file, the first of them val/n01440764\.tar; expected"),
        (renamed, rf"no images in train.*12 that are no \.JPEG .* first of them train/{FIRST}/{FIRST}_0\.jpg"),
        (deeper, rf"has 0 classes, .* should have 3\. Skipped: 6 that are no .* first of them train/{FIRST}/images"),
        (doubled, rf"13 images in train, .* 12\. The first .* not named .* is train/{CLASSES[1]}/\w+ \(1\)\.JPEG"),
        (stray_class, r"has 4 classes, .* should have 3\. The first .* not named .* is train/other/other_1\.JPEG"),
        (lambda f: replaced(f, lambda path: path.symlink_to("/nowhere")), rf"{FILE} is a link to /nowhere: No such"),
        (lambda f: replaced(f, lambda path: path.symlink_to(path)), rf"{FILE} is a link to .*: Too many levels"),
        (lambda f: replaced(f, Path.mkdir), rf"{FILE} is a folder\. Expected the file of an image"),
        (lambda f: replaced(f, os.mkfifo), rf"{FILE} is a named pipe\. Expected the file of an image"),
        (lambda f: replaced(f, sparse), rf"{FILE} has 1099511627776 bytes, more than \d+\. Expected"),
        (lambda f: replaced(f, lambda p: Path(f"{p}\n.JPEG").touch()), r"images/train/.*\\n\.JPEG' has control"),
        (lambda f: replaced(f, lambda p: Path(f"{p}\udcff.JPEG").touch()), r"\\udcff\.JPEG' has .* broken UTF-8"),
    ],
)  # fmt: skip
def test_the_first_thing_that_does_not_fit_is_named(
    experiments: Registry, folder: Path, layout: Layout, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=words):
        fetch(accepting(experiments), layout, "imagenet", str(folder))


def test_names_that_begin_with_a_dot_and_what_is_no_image_are_skipped_counted_and_change_nothing(
    experiments: Registry, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, places = accepting(experiments), (Layout(tmp_path / "a"), Layout(tmp_path / "b"))
    clean = fetch(registry, places[0], "imagenet", str(folder))
    assert capsys.readouterr().err == ""
    for file in list(folder.glob("*/*/*.JPEG")):
        file.with_name(f"._{file.name}").write_bytes(b"Mac OS X")
    for place in ("train/.DS_Store", "val/Thumbs.db", f"val/{FIRST}/.hidden", f"val/{FIRST}/index.html"):
        (folder / place).touch()
    (folder / "train/.ipynb_checkpoints").mkdir()
    assert fetch(registry, places[1], "imagenet", str(folder)) == clean
    assert (
        f"{folder}: skipped 21 whose name begins with a dot and 2 that are no .JPEG in a class's folder, the first of "
        "them val/Thumbs.db.\n" == capsys.readouterr().err
    )


def test_links_to_classes_and_images_elsewhere_are_followed(
    experiments: Registry, folder: Path, layout: Layout, tmp_path: Path
) -> None:
    (folder / "train").rename(tmp_path / "elsewhere")
    (folder / "train").mkdir()
    for group in (tmp_path / "elsewhere").iterdir():
        (folder / "train" / group.name).symlink_to(group)
    file = next((folder / "val" / FIRST).iterdir())
    file.rename(tmp_path / "image")
    file.symlink_to(tmp_path / "image")
    fetch(accepting(experiments), layout, "imagenet", str(folder))
    assert len(listing.load(layout, "imagenet")["train"]) == 12


@pytest.mark.parametrize("given", [".", "train", "val", "ILSVRC", "ILSVRC/Data/CLS-LOC/test"])
def test_the_folder_that_was_meant_is_named_where_another_was_given(
    experiments: Registry, folder: Path, layout: Layout, tmp_path: Path, given: str
) -> None:
    right = tmp_path / "archive/ILSVRC/Data/CLS-LOC"
    right.parent.mkdir(parents=True)
    folder.rename(right)
    (right / "test").mkdir()
    wrong = right / given if given in ("train", "val") else tmp_path / "archive" / given
    with pytest.raises(UserError, match=rf"{wrong} is neither, but {right} has train and val: give that folder\.$"):
        fetch(accepting(experiments), layout, "imagenet", str(wrong))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", r"; there is nothing at \S+/nowhere\.$"),
        ("images.zip", r"; \S+/images\.zip is a file, not a folder\.$"),
        ("other", r"; \S+/other has a, validation\.$"),
        ("empty", r"; \S+/empty has nothing\.$"),
    ],
)
def test_what_lies_at_a_place_without_images_is_told(
    experiments: Registry, layout: Layout, tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "images.zip").touch()
    (tmp_path / "empty").mkdir()
    for name in ("a", "validation"):
        (tmp_path / "other" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=words):
        fetch(experiments, layout, "imagenet", str(tmp_path / source))

"""A user's own data as a folder of image files: what is stored, what the digest covers, what is refused by name."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.io import write_jpeg

from eps_resnet.data import folder, npz
from eps_resnet.files.errors import UserError
from tests.data.own_copies import make_folder, make_npz, save

SMALL = torch.zeros(1, 9, 7, dtype=torch.uint8)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("digits") / "pets")


@pytest.fixture
def pets(digits: Path, tmp_path: Path) -> Path:
    """A copy of the folder for the test to change."""
    return Path(shutil.copytree(digits, tmp_path / "pets"))


def test_images_are_stored_in_rgb_class_by_class(digits: Path, tmp_path: Path) -> None:
    images, same = folder.read(digits, 8), npz.read(make_npz(tmp_path / "a.npz"), 8)
    order = torch.argsort(same.train_labels, stable=True)  # files are sorted by class, then by name
    assert torch.equal(images.train_images, same.train_images[order].expand(-1, 3, -1, -1))
    assert torch.equal(images.train_labels, same.train_labels[order])
    assert images.train_labels.dtype == torch.uint8


def test_a_look_says_what_there_is(digits: Path) -> None:
    look = folder.look(digits)
    assert (look.train_images, look.test_images, look.channels, look.short_side) == (80, 40, 3, 8)
    assert look.classes == tuple(f"digit{i}" for i in range(10))
    assert not look.are_photographs


def test_one_coloured_jpeg_among_grey_images_makes_photographs_of_them(pets: Path) -> None:
    image = torch.zeros(3, 20, 12, dtype=torch.uint8)
    image[0] = 200
    write_jpeg(image, str(pets / "train/digit0/red.JPG"))
    look = folder.look(pets)
    assert look.are_photographs
    assert look.train_images == 81
    assert folder.read(pets, 8).train_images.shape == (81, 3, 8, 8)


def test_the_digest_is_that_of_sha256sums_lines_sorted_by_name(digits: Path) -> None:
    script = "find train test -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(script, shell=True, cwd=digits, capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == folder.digest(digits) == folder.look(digits).sha256


def test_the_digest_changes_with_a_name_and_with_a_byte_and_not_with_the_folders_place(
    pets: Path, digits: Path
) -> None:
    assert folder.digest(pets) == folder.digest(digits)
    first = next((pets / "train/digit3").iterdir())
    first.rename(first.with_name("renamed.png"))
    renamed = folder.digest(pets)
    content = bytearray(first.with_name("renamed.png").read_bytes())
    content[-1] ^= 1
    first.with_name("renamed.png").write_bytes(bytes(content))
    assert len({folder.digest(digits), renamed, folder.digest(pets)}) == 3


def test_what_is_no_image_is_skipped_and_named(pets: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = folder.digest(pets)
    (pets / "train/._digit0").write_text("macOS")
    (pets / "train/digit0/notes.txt").write_text("x")
    folder.look(pets)
    assert folder.digest(pets) == before
    skipped = (
        "skipped 1 whose name begins with a dot and 1 that is no image in a class's folder, the first of them train"
    )
    assert f"{skipped}/digit0/notes.txt." in capfd.readouterr().err


def one_class(pets: Path) -> None:
    for path in pets.glob("*/digit[1-9]"):
        shutil.rmtree(path)


def empty_class(pets: Path) -> None:
    for path in (pets / "train/digit4").iterdir():
        path.unlink()


def holding(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda pets: (pets / name).write_bytes(content)


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no test": (lambda p: shutil.rmtree(p / "test"), "has no folder test; expected train/<class>/ and test/<class>/"),
    "one split": (lambda p: shutil.rmtree(p / "test/digit4"), "class digit4 has none in test"),
    "an empty class": (empty_class, "class digit4 has none in train"),
    "one class": (one_class, "has one class; expected two or more"),
    "unreadable": (holding("train/digit5/a.png", b"text"), r"Image train/digit5/a\.png in .* is corrupt"),
    "nothing": (holding("test/digit5/a.png", b""), r"Image test/digit5/a\.png in .* is corrupt"),
    "small": (lambda p: save(p / "train/digit5/a.png", SMALL), r"digit5/a\.png has 9x7 pixels; the networks need 8"),
    "a link": (lambda p: (p / "train/digit5/a.png").symlink_to("nowhere"), r"a\.png is a link to nowhere"),
    "a folder": (lambda p: (p / "train/digit5/a.png").mkdir(), r"a\.png is a folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_gets_its_sentence(pets: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    change(pets)
    with pytest.raises(UserError, match=message):
        folder.look(pets)


def test_images_in_no_folders_of_classes_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(tmp_path / split / "a.png", torch.zeros(1, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match="train has no images in folders of classes; expected train/<class>/"):
        folder.look(tmp_path)


def test_an_image_is_not_enlarged_and_is_named(digits: Path) -> None:
    with pytest.raises(UserError, match=r"Image .*\.png has 8x8 pixels and is not enlarged to 9x9"):
        folder.read(digits, 9)


@settings(max_examples=15)
@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_in_an_image_are_refused_by_its_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, is_png: bool
) -> None:
    path = tmp_path_factory.mktemp("any")
    for split in ("train", "test"):
        for name in ("a", "b"):
            save(path / split / name / "1.png", torch.zeros(1, 8, 8, dtype=torch.uint8))
    (path / "train/a/2.png").write_bytes((b"\x89PNG\r\n\x1a\n" if is_png else b"") + content)
    with pytest.raises(UserError, match=r"train/a/2\.png"):
        folder.look(path)

"""ImageNet's listing: folder and tars alike, the checks at fetch, and what wrong copies are told."""

import shutil
from pathlib import Path

import pytest
import torch

from eps_resnet.data import imagenet, listing
from eps_resnet.data.decode import decoded
from eps_resnet.data.fetch import fetch
from eps_resnet.data.imagenet import DEVKIT, TEST_TAR, TRAIN_TAR
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files import tensors
from eps_resnet.files.errors import UserError
from eps_resnet.provenance.state import is_fetched
from tests.data.imagenet_copies import CLASSES, accepting, make_folder, make_tars


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


def test_the_tars_read_the_same_as_the_folder(experiments: Registry, folder: Path, tmp_path: Path) -> None:
    tars = make_tars(folder, tmp_path / "tars")
    registry = accepting(experiments, tars)
    places = Layout(tmp_path / "a"), Layout(tmp_path / "b")
    first, second = (
        fetch(registry, place, "imagenet", str(source)) for place, source in zip(places, (folder, tars), strict=True)
    )
    assert first == second
    assert first.sample_sha256 is not None
    listings = [listing.load(place, "imagenet") for place in places]
    for split, count in (("train", 12), ("test", 6)):
        one, other = (stored[split] for stored in listings)
        assert len(one) == len(other) == count
        for i in range(count):
            assert one.name(i) == other.name(i)
            assert one.read(i) == other.read(i) == (folder / one.name(i)).read_bytes()
            assert int(one.labels[i]) == CLASSES.index(one.name(i).split("/")[1])


@pytest.mark.parametrize("name", [TRAIN_TAR, TEST_TAR, DEVKIT])
def test_an_archive_with_a_wrong_md5_is_refused_before_it_is_opened(
    experiments: Registry, folder: Path, layout: Layout, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tars = make_tars(folder, tmp_path / "tars")
    registry = accepting(experiments, tars)
    content = bytearray((tars / name).read_bytes())
    content[-300] ^= 1
    (tars / name).write_bytes(content)
    monkeypatch.setattr("tarfile.open", lambda *_, **__: pytest.fail("opened an unverified archive"))
    with pytest.raises(UserError, match=rf"^[^;]*{name} has MD5 \w+, expected \w+\.$"):
        fetch(registry, layout, "imagenet", str(tars))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_missing_from_one_split_is_named(
    experiments: Registry, folder: Path, layout: Layout, split: str
) -> None:
    shutil.rmtree(folder / split / CLASSES[1])
    with pytest.raises(UserError, match=rf"class {CLASSES[1]} has no images in {split}\."):
        fetch(accepting(experiments), layout, "imagenet", str(folder))


def test_a_class_missing_from_both_and_missing_images_are_counted(
    experiments: Registry, folder: Path, layout: Layout
) -> None:
    next((folder / "val" / CLASSES[0]).iterdir()).unlink()
    with pytest.raises(UserError, match=r"has 5 images in val, copy 'official' should have 6"):
        fetch(accepting(experiments), layout, "imagenet", str(folder))
    for split in ("train", "val"):
        shutil.rmtree(folder / split / CLASSES[1])
    with pytest.raises(UserError, match=r"has 2 classes, copy 'official' should have 3"):
        fetch(accepting(experiments), layout, "imagenet", str(folder))


def cut(folder: Path, count: int) -> list[str]:
    """Cuts so many training images in half and returns their names."""
    files = sorted((folder / "train").glob("*/*"))[:count]
    for file in files:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return [str(file.relative_to(folder)) for file in files]


def test_corrupt_images_above_the_share_are_counted_named_and_refused_and_the_store_stays(
    experiments: Registry, folder: Path, layout: Layout
) -> None:
    fetch(accepting(experiments), layout, "imagenet", str(folder))
    before = {path: path.read_bytes() for path in layout.store("imagenet").parent.iterdir()}
    names = cut(folder, 11)
    with pytest.raises(
        UserError, match=r"11 of 18 images cannot be decoded, more than 0\.1%.* and 1 more\."
    ) as refusal:
        fetch(accepting(experiments), layout, "imagenet", str(folder))
    assert [name in str(refusal.value) for name in names] == [True] * 10 + [False]
    assert {path: path.read_bytes() for path in layout.store("imagenet").parent.iterdir()} == before


def test_corrupt_images_within_the_share_are_left_out_and_every_table_will_say_so(
    experiments: Registry, folder: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = cut(folder, 2)
    (folder / names[1]).write_bytes(b"")
    monkeypatch.setattr(imagenet, "CORRUPT_SHARE", 0.2)
    registry = accepting(experiments)
    manifest = fetch(registry, layout, "imagenet", str(folder))
    assert manifest.differs == "2 corrupt images left out"
    assert is_fetched(layout, "imagenet", registry.datasets["imagenet"])
    train = listing.load(layout, "imagenet")["train"]
    assert len(train) == 10
    assert not {train.name(i) for i in range(10)} & set(names)
    assert tensors.read(layout.store("imagenet"), "")[1]["corrupt"] == names


@pytest.mark.parametrize("source", [None, "nowhere", "https://example.org/imagenet.tar"])
def test_imagenet_is_never_downloaded_and_the_user_is_told_how_to_give_it(
    experiments: Registry, layout: Layout, source: str | None
) -> None:
    with pytest.raises(UserError, match=r"not downloaded.*train/<class>.*ILSVRC2012_img_train\.tar.*--from PATH"):
        fetch(experiments, layout, "imagenet", source)
    assert not list((layout.root / "data").iterdir())


def test_the_real_sample_is_an_accepted_copy_that_says_how_it_differs(
    experiments: Registry, real_data: Path, layout: Layout
) -> None:
    manifest = fetch(experiments, layout, "imagenet", str(real_data / "imagenette-subset"))
    assert manifest.copy == "sample"
    assert "10 of the 1,000 classes" in (manifest.differs or "")
    train = listing.load(layout, "imagenet")["train"]
    assert train.labels.bincount().tolist() == [40] * 10
    assert decoded(train, 7).dtype == torch.uint8

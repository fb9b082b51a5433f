"""A stored listing of ImageNet: where its images are, and that they are still those that were fetched."""

from pathlib import Path

import pytest

from eps_resnet.data import listing
from eps_resnet.data.fetch import fetch
from eps_resnet.data.listing import Split, sample_sha256
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError
from tests.data.imagenet_copies import CLASSES, accepting, make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "images")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


def test_altered_images_are_noticed_by_the_sampled_checksum_at_fetch_and_at_opening(
    experiments: Registry, folder: Path, layout: Layout
) -> None:
    registry = accepting(experiments)
    digest = fetch(registry, layout, "imagenet", str(folder)).sample_sha256
    known = accepting(experiments, sample_sha256=digest)
    assert fetch(known, layout, "imagenet", str(folder)).sample_sha256 == digest
    file = next((folder / "val" / CLASSES[2]).iterdir())
    content = file.read_bytes()
    file.write_bytes(content[:-2] + b"\xff\xff")
    with pytest.raises(
        UserError, match=r"no longer those that were fetched; run `eps-resnet fetch imagenet --from PATH`"
    ):
        listing.load(layout, "imagenet")
    file.write_bytes(jpeg_like(content))
    with pytest.raises(UserError, match=rf"its sampled checksum is \w+, expected {digest}"):
        fetch(known, layout, "imagenet", str(folder))
    file.unlink()
    with pytest.raises(UserError, match=r"Image val/.* cannot be read from .*No such file"):
        listing.load(layout, "imagenet")


def jpeg_like(content: bytes) -> bytes:
    """The same picture with a comment after its first marker: it still decodes."""
    return content[:2] + b"\xff\xfe\x00\x04hi" + content[2:]


def test_the_sample_is_evenly_spaced_over_both_splits(
    experiments: Registry, folder: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(accepting(experiments), layout, "imagenet", str(folder))
    stored, read = listing.load(layout, "imagenet"), list[str]()
    monkeypatch.setattr(listing, "SAMPLE", 6)
    original = Split.read
    monkeypatch.setattr(Split, "read", lambda s, i: read.append(s.name(i)) or original(s, i))
    sample_sha256(stored)
    assert read == [stored["train"].name(i) for i in (0, 3, 6, 9)] + [stored["test"].name(i) for i in (0, 3)]


def test_a_store_without_its_images_on_this_machine_says_to_fetch(
    experiments: Registry, folder: Path, layout: Layout
) -> None:
    fetch(accepting(experiments), layout, "imagenet", str(folder))
    layout.image_location("imagenet").unlink()  # as after pulling the listing from another machine
    with pytest.raises(UserError, match=r"There is no file .*location.*; run `eps-resnet fetch imagenet --from PATH`"):
        listing.load(layout, "imagenet")

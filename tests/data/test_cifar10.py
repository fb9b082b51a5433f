"""CIFAR-10's binary layout: round trip, verification before parsing, and what damaged copies are told."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data import cifar10, store
from eps_resnet.data.cifar10 import PIXELS, RECORD, TEST_FILES, TRAIN_FILES
from eps_resnet.data.fetch import fetch
from eps_resnet.errors import UserError
from eps_resnet.files import sha256
from eps_resnet.layout import Layout
from eps_resnet.registry import Registry

PER_BATCH = 4


def records(count: int, seed: int) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(256, (count, RECORD), dtype=torch.uint8, generator=generator)
    table[:, 0] %= 10
    return table.numpy().tobytes()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for index, name in enumerate(TRAIN_FILES + TEST_FILES):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            content = records(PER_BATCH, index)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def accepting(experiments: Registry, archive: Path) -> Registry:
    """The registry with this archive as the one accepted copy of CIFAR-10."""
    data = experiments.datasets["cifar10"]
    files = {name: _digest(records(PER_BATCH, index)) for index, name in enumerate(TRAIN_FILES + TEST_FILES)}
    copy = data.archives[0].model_copy(
        update={"sha256": sha256(archive), "files": files, "train_images": 20, "test_images": 4, "urls": ()}
    )
    datasets = {**experiments.datasets, "cifar10": data.model_copy(update={"archives": (copy,)})}
    return experiments.model_copy(update={"datasets": datasets})


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def test_an_archive_comes_back_image_by_image(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    fetch(accepting(experiments, archive), layout, "cifar10", str(archive))
    images = store.load(layout, "cifar10")
    expected = torch.frombuffer(bytearray(records(PER_BATCH, 2)), dtype=torch.uint8).reshape(-1, RECORD)
    assert images.train_images.shape == (20, 3, 32, 32)
    assert torch.equal(images.train_images[8:12].reshape(4, PIXELS), expected[:, 1:])
    assert torch.equal(images.train_labels[8:12], expected[:, 0])


def test_an_unpacked_folder_gives_the_same_images(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    registry = accepting(experiments, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    digests = [
        fetch(registry, Layout(tmp_path / name), "cifar10", str(source)).sha256
        for name, source in (("a", archive), ("b", tmp_path / "unpacked/cifar-10-batches-bin"))
    ]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("offset", [0, 11, 200, -1])
def test_a_flipped_byte_is_rejected_before_anything_is_parsed(
    experiments: Registry, archive: Path, tmp_path: Path, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = accepting(experiments, archive)
    content = bytearray(archive.read_bytes())
    content[offset] ^= 1
    archive.write_bytes(content)
    monkeypatch.setattr(cifar10, "parse", lambda _: pytest.fail("parsed an unverified archive"))
    with pytest.raises(UserError, match=r"not an accepted copy of cifar10: SHA-256 .* expected"):
        fetch(registry, Layout(tmp_path), "cifar10", str(archive))
    assert not (tmp_path / "data").exists()


def test_a_truncated_archive_is_rejected(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    registry = accepting(experiments, archive)
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(UserError, match="may be truncated"):
        fetch(registry, Layout(tmp_path), "cifar10", str(archive))


def test_a_flipped_byte_in_an_unpacked_folder_names_the_file(
    experiments: Registry, archive: Path, tmp_path: Path
) -> None:
    registry = accepting(experiments, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / "cifar-10-batches-bin"
    content = bytearray((folder / "data_batch_3.bin").read_bytes())
    content[5000] ^= 128
    (folder / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"wrong SHA-256 of data_batch_3\.bin"):
        fetch(registry, Layout(tmp_path), "cifar10", str(folder))


def test_counts_must_be_those_of_the_accepted_copy(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    registry = accepting(experiments, archive)
    copy = registry.datasets["cifar10"].archives[0].model_copy(update={"train_images": 25})
    data = registry.datasets["cifar10"].model_copy(update={"archives": (copy,)})
    registry = registry.model_copy(update={"datasets": {"cifar10": data}})
    with pytest.raises(UserError, match=r"20 training images.* should have 25"):
        fetch(registry, Layout(tmp_path), "cifar10", str(archive))


@given(st.binary(max_size=3 * RECORD))
def test_parsing_any_bytes_gives_images_or_a_clear_error(content: bytes) -> None:
    try:
        images, labels = cifar10.parse(content)
    except UserError:
        return
    assert len(images) == len(labels) == len(content) // RECORD > 0


def test_an_altered_store_is_noticed_when_it_is_loaded(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    fetch(accepting(experiments, archive), layout, "cifar10", str(archive))
    content = bytearray(layout.store("cifar10").read_bytes())
    content[-1] ^= 1
    layout.store("cifar10").write_bytes(content)
    with pytest.raises(UserError, match="was altered"):
        store.load(layout, "cifar10")


def test_the_real_sample_is_an_accepted_copy_that_says_how_it_differs(
    experiments: Registry, real_data: Path, tmp_path: Path
) -> None:
    manifest = fetch(experiments, Layout(tmp_path), "cifar10", str(real_data / "cifar-10-binary-half.tar.gz"))
    images = store.load(Layout(tmp_path), "cifar10")
    assert (len(images.train_labels), len(images.test_labels)) == (25_000, 10_000)
    assert manifest.differs is not None
    assert images.test_labels.bincount().tolist() == [1000] * 10

"""CIFAR's binary layouts: round trip, verification before parsing, and what damaged copies are told."""

import io
import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eps_resnet.data import cifar, store
from eps_resnet.data.cifar import CIFAR10, CIFAR100, PIXELS, Binary
from eps_resnet.data.fetch import fetch
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.digests import sha256
from eps_resnet.files.errors import UserError

PER_BATCH = 4
LAYOUTS = {"cifar10": CIFAR10, "cifar100": CIFAR100}
FILES = CIFAR10.train_files + CIFAR10.test_files


def records(count: int, seed: int, layout: Binary = CIFAR10) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(256, (count, layout.record), dtype=torch.uint8, generator=generator)
    table[:, layout.label_bytes - 1] %= layout.classes
    return table.numpy().tobytes()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for index, name in enumerate(FILES):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            content = records(PER_BATCH, index)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def accepting(experiments: Registry, archive: Path) -> Registry:
    """The registry with this archive as the one accepted copy of CIFAR-10."""
    data = experiments.datasets["cifar10"]
    files = {name: _digest(records(PER_BATCH, index)) for index, name in enumerate(FILES)}
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
    expected = torch.frombuffer(bytearray(records(PER_BATCH, 2)), dtype=torch.uint8).reshape(-1, CIFAR10.record)
    assert images.train_images.shape == (20, 3, 32, 32)
    assert torch.equal(images.train_images[8:12].reshape(4, PIXELS), expected[:, 1:])
    assert torch.equal(images.train_labels[8:12], expected[:, 0])


def test_an_unpacked_folder_gives_the_same_images(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    registry = accepting(experiments, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked")
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
    monkeypatch.setattr(cifar, "parse", lambda *_: pytest.fail("parsed an unverified archive"))
    with pytest.raises(UserError, match=r"not an accepted copy of cifar10: SHA-256 .* expected"):
        fetch(registry, Layout(tmp_path), "cifar10", str(archive))
    assert not list((tmp_path / "data").iterdir())


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
        tar.extractall(tmp_path)
    folder = tmp_path / "cifar-10-batches-bin"
    content = bytearray((folder / "data_batch_3.bin").read_bytes())
    content[5000] ^= 128
    (folder / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"data_batch_3\.bin has SHA-256 .*, expected"):
        fetch(registry, Layout(tmp_path), "cifar10", str(folder))


def test_counts_must_be_those_of_the_accepted_copy(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    registry = accepting(experiments, archive)
    copy = registry.datasets["cifar10"].archives[0].model_copy(update={"train_images": 25})
    data = registry.datasets["cifar10"].model_copy(update={"archives": (copy,)})
    registry = registry.model_copy(update={"datasets": {"cifar10": data}})
    with pytest.raises(UserError, match=r"20 training images.* should have 25"):
        fetch(registry, Layout(tmp_path), "cifar10", str(archive))


@given(st.sampled_from([CIFAR10, CIFAR100]), st.binary(max_size=3 * CIFAR100.record))
def test_parsing_any_bytes_gives_images_or_a_clear_error(layout: Binary, content: bytes) -> None:
    try:
        images, labels = cifar.parse(layout, content)
    except UserError:
        return
    assert len(images) == len(labels) == len(content) // layout.record > 0


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_cifar100_has_a_coarse_label_before_the_fine_one_that_counts(count: int, seed: int) -> None:
    content = records(count, seed, CIFAR100)
    images, labels = cifar.parse(CIFAR100, content)
    for i in range(count):
        record = content[i * CIFAR100.record : (i + 1) * CIFAR100.record]
        assert int(labels[i]) == record[1]
        assert images[i].numpy().tobytes() == record[2:]


@pytest.mark.parametrize(("layout", "wrong"), [(CIFAR10, 10), (CIFAR100, 100)])
def test_a_label_that_is_no_class_is_refused(layout: Binary, wrong: int) -> None:
    content = bytearray(records(2, 0, layout))
    content[layout.record + layout.label_bytes - 1] = wrong
    with pytest.raises(UserError, match=rf"{layout.title} labels are 0 to {wrong - 1}; found {wrong}"):
        cifar.parse(layout, bytes(content))


def test_a_failed_fetch_leaves_what_was_stored_before(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    registry, layout = accepting(experiments, archive), Layout(tmp_path)
    fetch(registry, layout, "cifar10", str(archive))
    before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(UserError):
        fetch(registry, layout, "cifar10", str(archive))
    assert {path: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_an_unpacked_copy_whose_files_are_not_known_is_told_to_come_as_its_archive(
    experiments: Registry, tmp_path: Path
) -> None:
    for name in CIFAR100.train_files + CIFAR100.test_files:
        (tmp_path / name).write_bytes(records(3, 0, CIFAR100))
    with pytest.raises(
        UserError, match=r"test\.bin has SHA-256 .*train\.bin has SHA-256 .*'official' is only accepted as its ar"
    ):
        fetch(experiments, Layout(tmp_path), "cifar100", str(tmp_path))


def test_an_altered_store_is_noticed_when_it_is_loaded(experiments: Registry, archive: Path, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    fetch(accepting(experiments, archive), layout, "cifar10", str(archive))
    content = bytearray(layout.store("cifar10").read_bytes())
    content[-1] ^= 1
    layout.store("cifar10").write_bytes(content)
    with pytest.raises(UserError, match="was altered"):
        store.load(layout, "cifar10")


@pytest.mark.parametrize(
    ("name", "file", "train_images", "test_images"),
    [
        pytest.param("cifar10", "cifar-10-binary-half.tar.gz", 25_000, 10_000, marks=pytest.mark.slow),
        ("cifar100", "cifar-100-binary-subset.tar.gz", 10_000, 2_000),
    ],
)
def test_the_real_sample_is_an_accepted_copy_that_says_how_it_differs(
    experiments: Registry, real_data: Path, tmp_path: Path, name: str, file: str, train_images: int, test_images: int
) -> None:
    manifest = fetch(experiments, Layout(tmp_path), name, str(real_data / file))
    images, classes = store.load(Layout(tmp_path), name), LAYOUTS[name].classes
    assert (len(images.train_labels), len(images.test_labels)) == (train_images, test_images)
    assert manifest.differs is not None
    assert images.test_labels.bincount().tolist() == [test_images // classes] * classes

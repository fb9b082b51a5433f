"""What people give as a source is told by what it is, with what is needed, and stays as it is."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from eps_resnet.data.fetch import fetch
from eps_resnet.data.source import located
from eps_resnet.experiments.layout import Layout
from eps_resnet.experiments.registry import Registry
from eps_resnet.files.errors import UserError

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def refused(registry: Registry, tmp_path: Path, source: object, dataset: str = "cifar10") -> str:
    with pytest.raises(UserError) as refusal:
        fetch(registry, Layout(tmp_path / "root"), dataset, str(source))
    return str(refusal.value)


def tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("cifar-10-batches-py/data_batch_1"), io.BytesIO())


def gunzipped(path: Path) -> None:
    packed = path.with_suffix(".gz")
    tar(packed)
    path.write_bytes(gzip.decompress(packed.read_bytes()))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train/cat/1.png", b"x")


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cifar-10-python.tar.gz": (tar, "It is the Python version"),
    "cifar-10-matlab.tar.gz": (tar, "It is the MATLAB version"),
    "cifar-10-binary.tar": (gunzipped, "no longer gzipped"),
    "cifar10.zip": (zipped, "It is a ZIP archive"),
    "page.tar.gz": (lambda path: path.write_text("<!DOCTYPE html>Quota exceeded"), "It is a web page"),
    "pointer.tar.gz": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "Git LFS"),
    "nothing.tar.gz": (lambda path: path.write_bytes(b""), "It is empty"),
    "other.tar.gz": (lambda path: path.write_bytes(b"anything"), "It may be truncated, altered or another file"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named_with_what_is_needed_and_kept(
    experiments: Registry, tmp_path: Path, name: str
) -> None:
    make, kind = FILES[name]
    make(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    message = refused(experiments, tmp_path, tmp_path / name)
    assert kind in message
    assert "Needed is cifar-10-binary.tar.gz, as an archive or unpacked. It was left as it is." in message
    assert "delete" not in message.lower()
    assert (tmp_path / name).read_bytes() == before


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir(parents=True)
    for name in names:
        (path / name).write_bytes(b"x")
    return path


def test_a_folder_of_the_python_version_is_named(experiments: Registry, tmp_path: Path) -> None:
    message = refused(experiments, tmp_path, folder_of(tmp_path / "py", *BATCHES, "batches.meta"))
    assert "it has no data_batch_1.bin" in message
    assert "It is the Python version. Needed is cifar-10-binary.tar.gz" in message
    meta = refused(experiments, tmp_path, folder_of(tmp_path / "py100", "train", "test", "meta"), "cifar100")
    assert "It is the Python version. Needed is cifar-100-binary.tar.gz" in meta


def test_the_folder_above_the_right_one_leads_to_it(experiments: Registry, tmp_path: Path) -> None:
    inner = folder_of(tmp_path / "above/cifar-10-batches-bin", *(f"{name}.bin" for name in BATCHES))
    assert f"give that one, --from {inner}." in refused(experiments, tmp_path, inner.parent)


def test_a_folder_with_the_archive_leads_to_it(experiments: Registry, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "downloads", "cifar-10-binary.tar.gz", "letter.txt")
    assert f"--from {folder}/cifar-10-binary.tar.gz" in refused(experiments, tmp_path, folder)


def test_format_1_of_svhn_is_named(experiments: Registry, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "svhn", "train.tar.gz", "test_32x32.mat")
    assert "It is SVHN's format 1" in refused(experiments, tmp_path, folder, "svhn")


def test_any_other_folder_shows_what_it_holds(experiments: Registry, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "other", *"abcdefg", ".DS_Store")
    assert "It holds a, b, c, d, e and 2 more." in refused(experiments, tmp_path, folder)
    assert "It is empty." in refused(experiments, tmp_path, folder_of(tmp_path / "nothing", ".DS_Store"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("~/a/archive.tar.gz", "{home}/a/archive.tar.gz"),
        ("~nobody-of-this-name/archive", "~nobody-of-this-name/archive"),
        ("file:///data/with%20space", "/data/with space"),
        ("FILE://localhost/data", "/data"),
        ("HTTP://Mirror.example/A.tar.gz", "http://Mirror.example/A.tar.gz"),
        ("https://mirror.example/a", "https://mirror.example/a"),
        ("folder/archive.tar.gz", "folder/archive.tar.gz"),
    ],
)
def test_a_source_is_taken_as_it_is_meant(
    given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert located(given) == meant.format(home=tmp_path)


@pytest.mark.parametrize("address", ["s3://bucket/cifar-10-binary.tar.gz", "ftp://host/a", "gs://bucket/a"])
def test_an_address_that_nothing_here_reads_is_told_so(experiments: Registry, tmp_path: Path, address: str) -> None:
    message = refused(experiments, tmp_path, address)
    assert f"Nothing here reads {address.split(':')[0]}:// addresses" in message
    assert "Copy it to this machine first" in message


def test_an_empty_source_and_a_file_of_another_machine_are_told_so(experiments: Registry, tmp_path: Path) -> None:
    assert "--from names nothing" in refused(experiments, tmp_path, "")
    assert "names a file of server" in refused(experiments, tmp_path, "file://server/data")

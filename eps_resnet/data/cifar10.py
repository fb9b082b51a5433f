"""CIFAR-10 in its official binary layout: cifar-10-batches-bin/{data_batch_1..5,test_batch}.bin."""

import tarfile
from pathlib import Path

import torch
from torch import Tensor

from eps_resnet.data.store import Images
from eps_resnet.errors import UserError
from eps_resnet.registry import Archive

TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_FILES = ("test_batch.bin",)
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS  # one label byte, then the red, green and blue planes


def read(archive: Archive, path: Path | None) -> Images:
    """Reads a verified archive, or the folder it was unpacked to.

    Raises UserError if the number of images is not the one that the registry gives for this copy.
    """
    assert path is not None
    files = _folder(path) if path.is_dir() else _members(path)
    train = parse(b"".join(files[name] for name in TRAIN_FILES))
    test = parse(b"".join(files[name] for name in TEST_FILES))
    for split, (_, labels), expected in (
        ("training", train, archive.train_images),
        ("test", test, archive.test_images),
    ):
        if len(labels) != expected:
            raise UserError(f"{path} has {len(labels)} {split} images, copy {archive.name!r} should have {expected}.")
    return Images(*train, *test)


def parse(records: bytes) -> tuple[Tensor, Tensor]:
    """Records to images (N, 3, 32, 32) and labels (N,), both uint8. Raises UserError if one is cut or mislabelled."""
    if not records or len(records) % RECORD:
        raise UserError(f"CIFAR-10 records have {RECORD} bytes each; {len(records)} bytes are no whole number of them.")
    table = torch.frombuffer(bytearray(records), dtype=torch.uint8).reshape(-1, RECORD)
    labels = table[:, 0].clone()
    if int(labels.max()) > 9:
        raise UserError(f"CIFAR-10 labels are 0 to 9; found {int(labels.max())}.")
    return table[:, 1:].reshape(-1, 3, 32, 32).contiguous(), labels


def _folder(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in TRAIN_FILES + TEST_FILES}


def _members(path: Path) -> dict[str, bytes]:
    wanted, found = set(TRAIN_FILES + TEST_FILES), {}
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            name = Path(member.name).name
            if member.isfile() and name in wanted:
                file = tar.extractfile(member)
                assert file is not None
                found[name] = file.read()
    if missing := wanted - set(found):
        raise UserError(f"{path} has no {', '.join(sorted(missing))}; expected the official binary layout.")
    return found

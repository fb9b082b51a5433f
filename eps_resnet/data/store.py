"""The stored form of a data set: four uint8 tensors in one memory-mapped file, and a manifest with its digest."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from eps_resnet import tensors
from eps_resnet.data.manifest import DataManifest, read, write
from eps_resnet.errors import UserError
from eps_resnet.files import sha256
from eps_resnet.layout import Layout
from eps_resnet.registry import Archive


@dataclass(frozen=True)
class Images:
    """Images (N, C, H, W) and labels (N,) of both splits, all uint8, in stored order."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def save(layout: Layout, dataset: str, images: Images, archive: Archive) -> DataManifest:
    """Stores a data set and writes its manifest. Equal images give equal bytes."""
    path = layout.store(dataset)
    tensors.write(path, vars(images), {"copy": archive.name})
    manifest = DataManifest(
        dataset=dataset,
        copy=archive.name,
        copy_sha256=archive.sha256,
        differs=archive.differs,
        train_images=len(images.train_labels),
        test_images=len(images.test_labels),
        sha256=sha256(path),
    )
    write(layout, manifest)
    return manifest


def load(layout: Layout, dataset: str) -> Images:
    """The stored images, memory-mapped. Raises UserError if they are missing or not what the manifest says."""
    path, expected = layout.store(dataset), read(layout, dataset)
    fetch = f"run `eps-resnet fetch {dataset}`" + ("" if layout.root == Path() else f" with --root {layout.root}")
    if expected is None or not path.exists():
        raise UserError(f"Data set {dataset} is not at {path}; {fetch}.")
    if (found := sha256(path)) != expected.sha256:
        raise UserError(
            f"{path} was altered: SHA-256 {found}, manifest says {expected.sha256}; delete it, then {fetch}."
        )
    return Images(**tensors.read(path, f"delete it, then {fetch}")[0])
